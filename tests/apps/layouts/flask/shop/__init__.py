from flask import Flask


def create_app(settings=None):
    app = Flask(__name__)

    @app.route("/healthz")
    def health():
        return "hello from flask"

    return app

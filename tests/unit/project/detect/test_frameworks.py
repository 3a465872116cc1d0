"""Applications of Flask, FastAPI and the like, as modules offer them."""

from __future__ import annotations

import pytest

from deployer.project.detect.frameworks import applications
from tests.unit.project.django.test_reader import Files

FACTORY = "from flask import Flask\ndef create_app({}):\n    return Flask(__name__)\n"


def found(**modules: str) -> list[tuple[str, str, tuple[str, ...]]]:
    files = Files({f"{name}.py": text for name, text in modules.items()})
    return [(one.kind, one.key, one.args) for one in applications(files, ("app", "shop"))]


@pytest.mark.parametrize(
    ("modules", "kind", "key", "args"),
    [
        ({"app": "app = Flask(__name__)"}, "wsgi", "app:app", ()),
        ({"app/main": "app: FastAPI = FastAPI()"}, "asgi", "app.main:app", ()),
        ({"main": "import litestar\napp = litestar.Litestar([])"}, "asgi", "main:app", ()),
        ({"shop/__init__": FACTORY.format("")}, "wsgi", "shop:create_app()", ()),
        ({"shop/__init__": FACTORY.format("config=None, *, debug=False")}, "wsgi", "shop:create_app()", ()),
        ({"main": "def make_app():\n    return Starlette()"}, "asgi", "main:make_app", ("--factory",)),
        ({"main": FACTORY.format("") + "app = create_app()"}, "wsgi", "main:app", ()),
        ({"main": "def get_application():\n    return FastAPI()\napp = get_application()"}, "asgi", "main:app", ()),
        (
            {
                "autoapp": "from .shop import new_app as n\napp = n(1)",
                "shop/__init__": "def new_app(c):\n    return Flask()",
            },
            "wsgi",
            "autoapp:app",
            (),
        ),
        ({"wsgi": "from shop import create_app\napp = create_app()", "app": "x = Flask()"}, "wsgi", "wsgi:app", ()),
        ({"asgi": "from shop import app"}, "asgi", "asgi:app", ()),
        ({"wsgi": "def application(environ, start_response): ..."}, "wsgi", "wsgi:application", ()),
    ],
)
def test_an_application(modules: dict[str, str], kind: str, key: str, args: tuple[str, ...]) -> None:
    """Instances, annotated or not, functions that make one, and what wsgi.py or asgi.py offers."""
    assert found(**modules) == [(kind, key, args)]


def test_what_is_no_application() -> None:
    """A function that needs arguments, a module that cannot be read, an object of another kind."""
    assert found(main=FACTORY.format("config"), app="app = Shop()", server="def (") == []


def test_several() -> None:
    """All are told, but where a wsgi.py at the top is there to be served."""
    both = {"app": "app = Flask(__name__)", "main": "app = FastAPI()"}
    assert [key for _, key, _ in found(**both)] == ["app:app", "main:app"]
    assert [key for _, key, _ in found(**both, wsgi="from app import app")] == ["wsgi:app"]

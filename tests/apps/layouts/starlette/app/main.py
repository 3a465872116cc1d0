from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def create_app() -> Starlette:
    return Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello from starlette"))])

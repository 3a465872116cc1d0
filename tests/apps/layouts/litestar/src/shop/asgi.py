from litestar import Litestar, get


@get("/")
async def home() -> str:
    return "hello from litestar"


def create_app() -> Litestar:
    return Litestar(route_handlers=[home])


app = create_app()

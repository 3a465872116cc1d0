from litestar import Litestar, get


@get("/ping")
async def ping() -> str:
    return "hello from litestar"


app = Litestar(route_handlers=[ping])

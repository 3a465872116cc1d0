import os

from django.core.asgi import get_asgi_application

from shop import faults

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
faults.apply_to_server()
django = get_asgi_application()


async def application(scope, receive, send):
    """Django, but for the fault that drops the connection: a view cannot reach it, uvicorn's `send` can."""
    if scope["type"] == "http" and scope["path"] == "/healthz" and faults.KIND == "health-close":
        send.__self__.transport.abort()
        return
    await django(scope, receive, send)

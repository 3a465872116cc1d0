from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from shop.version import VERSION


@sync_and_async_middleware
def VersionMiddleware(get_response):
    """Puts the version on every response, errors and refusals included."""
    if iscoroutinefunction(get_response):

        async def middleware(request):
            response = await get_response(request)
            response["X-Version"] = VERSION
            return response
    else:

        def middleware(request):
            response = get_response(request)
            response["X-Version"] = VERSION
            return response

    return middleware

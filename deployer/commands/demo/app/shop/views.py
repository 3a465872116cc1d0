import os
import time

from django.http import HttpResponse, JsonResponse

from shop.version import VERSION


def home(request):
    """Which version of the code answers, and as which release."""
    return JsonResponse({"version": VERSION, "release": os.environ.get("DEPLOYER_RELEASE", "")})


def healthz(request):
    return HttpResponse("ok", content_type="text/plain")


def work(request):
    """Takes 20 ms, as a page with some database queries does."""
    time.sleep(0.02)
    return home(request)

"""Small views that a test or a demo can learn something from."""

import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

import django
from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from shop import faults
from shop.version import VERSION

from catalog.models import Visit

RELEASE = os.environ.get("DEPLOYER_RELEASE", "")


def _who() -> dict:
    return {"version": VERSION, "pid": os.getpid(), "release": RELEASE}


def home(request):
    return JsonResponse(_who())


def healthz(request):
    if faults.KIND == "health-500":
        return HttpResponse("the health check says no\n", status=500, content_type="text/plain")
    if faults.KIND == "health-hang":
        threading.Event().wait()
    if faults.KIND == "health-close":
        request.META["gunicorn.socket"].shutdown(socket.SHUT_RDWR)
    return HttpResponse("ok", content_type="text/plain")


def work(request):
    """Takes `ms` milliseconds."""
    time.sleep(float(request.GET.get("ms", "20")) / 1000)
    return JsonResponse(_who())


def slow(request):
    """Takes `s` seconds."""
    time.sleep(float(request.GET.get("s", "1.5")))
    return JsonResponse(_who())


@csrf_exempt
def echo(request):
    """The length and the SHA-256 of the body that arrived."""
    return JsonResponse({"sha256": hashlib.sha256(request.body).hexdigest(), "length": len(request.body)})


def env(request):
    """The value of one environment variable; only of those made for tests."""
    key = request.GET.get("key", "")
    if not key.startswith("TEST_"):
        return JsonResponse({"error": "only keys that start with TEST_"}, status=403)
    return JsonResponse({"key": key, "value": os.environ.get(key)})


def count(request):
    """Adds a row and says how many there are."""
    Visit.objects.create(release=RELEASE)
    return JsonResponse({"count": Visit.objects.count()})


def whoami(request):
    """What the process is, as the kernel and Python see it."""
    return JsonResponse(
        {
            **_who(),
            "ppid": os.getppid(),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            "cwd": str(Path.cwd()),
            "code": str(faults.BASE_DIR),
            "prefix": sys.prefix,
            "python": sys.version.split()[0],
            "django": django.get_version(),
            "state": os.environ.get("STATE_DIRECTORY", ""),
            "host": request.get_host(),
            "secure": request.is_secure(),
            "remote": request.META.get("REMOTE_ADDR", ""),
            "forwarded_for": request.META.get("HTTP_X_FORWARDED_FOR", ""),
        }
    )

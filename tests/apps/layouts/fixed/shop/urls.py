from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.urls import path


def home(request):
    return HttpResponse(f"hello from fixed, {User.objects.count()} users")


def upload(request):
    """Write a file as a form would, a row, and try to write the code."""
    name = default_storage.save("notes/hello.txt", ContentFile(b"written by a visitor"))
    User.objects.create_user(f"user{User.objects.count()}")
    try:
        (settings.BASE_DIR / "shop" / "urls.py").write_text("")
    except OSError:
        return HttpResponse(f"saved {name}, the code is closed")
    return HttpResponse("the code was written")


def stored(request, name):
    """What lies below MEDIA_ROOT."""
    return HttpResponse(default_storage.open(name).read())


urlpatterns = [path("", home), path("upload", upload), path("stored/<path:name>", stored)]

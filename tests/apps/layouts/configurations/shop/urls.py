from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path


def home(request):
    return HttpResponse(f"hello from configurations, {User.objects.count()} users, DEBUG is {settings.DEBUG}")


urlpatterns = [path("", home)]

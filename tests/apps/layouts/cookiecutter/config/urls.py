from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path


def home(request):
    return HttpResponse(f"hello from cookiecutter, {User.objects.count()} users")


urlpatterns = [path("", home)]

from catalog import views
from django.urls import path

urlpatterns = [
    path("", views.home),
    path("healthz", views.healthz),
    path("work", views.work),
    path("slow", views.slow),
    path("echo", views.echo),
    path("env", views.env),
    path("count", views.count),
    path("whoami", views.whoami),
]

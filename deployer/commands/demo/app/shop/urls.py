from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home),
    path("healthz", views.healthz),
    path("work", views.work),
]

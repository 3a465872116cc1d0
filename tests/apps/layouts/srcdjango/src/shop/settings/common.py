from pathlib import Path

from decouple import Csv, config

BASE_DIR = Path(__file__).resolve().parents[3]
SECRET_KEY = config("SECRET_KEY", default="django-insecure-only-for-development")
ALLOWED_HOSTS = config("ALLOWED_HOSTS", default="shop.example.com", cast=Csv())
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles"]
ROOT_URLCONF = "shop.urls"
STATIC_URL = "/static/"

from pathlib import Path

from configurations import Configuration, values

BASE_DIR = Path(__file__).resolve().parent.parent


class Base(Configuration):
    SECRET_KEY = values.SecretValue()
    DEBUG = values.BooleanValue(False)
    ALLOWED_HOSTS = values.ListValue([])
    INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles"]
    MIDDLEWARE = []
    ROOT_URLCONF = "shop.urls"
    WSGI_APPLICATION = "shop.wsgi.application"
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
    STATIC_URL = "/static/"
    STATIC_ROOT = BASE_DIR / "staticfiles"
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


class Dev(Base):
    DEBUG = True
    SECRET_KEY = "only for a laptop"


class Prod(Base):
    SECURE_REFERRER_POLICY = "same-origin"

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def setting(name, default=None):
    try:
        return os.environ[name]
    except KeyError:
        if default is None:
            raise RuntimeError(f"{name} is not set") from None
        return default


SECRET_KEY = setting("APP_SECRET_KEY")
DEBUG = setting("APP_DEBUG", "0") == "1"
ALLOWED_HOSTS = [name.strip() for name in setting("APP_HOSTS", "shop.example.com").split(",") if name.strip()]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles"]
ROOT_URLCONF = "shop.urls"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": setting("APP_DATABASE", str(BASE_DIR / "db.sqlite3"))}
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static_collected"

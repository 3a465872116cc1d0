import os

from .common import *

DEBUG = config("DEBUG", default=False, cast=bool)
STATIC_ROOT = BASE_DIR / "public" / "static"
if os.environ.get("DATABASE_HOST"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "HOST": os.environ["DATABASE_HOST"]}}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(os.environ.get("STATE_DIRECTORY", BASE_DIR)) / "db.sqlite3",
        }
    }
try:
    from .private import *
except ImportError:
    pass

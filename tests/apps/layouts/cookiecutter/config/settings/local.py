from .base import *  # noqa: F403
from .base import INSTALLED_APPS

DEBUG = True
SECRET_KEY = "local"
ALLOWED_HOSTS = ["localhost"]
INSTALLED_APPS += ["debug_toolbar"]

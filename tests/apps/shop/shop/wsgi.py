import os

from django.core.wsgi import get_wsgi_application

from shop import faults

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
faults.apply_to_server()
application = get_wsgi_application()

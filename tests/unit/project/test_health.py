"""The page that is asked whether an app is well, as its routes have it."""

from __future__ import annotations

import pytest

from deployer.project.detect.health import of_django, of_framework
from deployer.project.django.evaluation.reader import Settings
from deployer.project.django.evaluation.values import Value
from tests.unit.project.django.test_reader import Files


@pytest.mark.parametrize(
    ("urls", "path"),
    [
        ('"""path(\'\', home)"""\nurlpatterns = [path("admin/", admin.site.urls)]', "/admin/login/"),
        ('urlpatterns = [path("admin/", admin.site.urls), path("", home)]', "/"),
        ('urlpatterns = [re_path(r"^healthz/$", health), path("", home)]', "/healthz/"),
        ('urlpatterns = [path("ht/", include("health_check.urls"))]', "/ht/"),
        ('urlpatterns = [path("api/", include([path("status/", status)])), path("", home)]', "/"),
        ("def (", ""),
    ],
)
def test_of_django(urls: str, path: str) -> None:
    """A health page, the first page, the admin's; what is only written in a comment does not count.
    Nothing where nothing tells."""
    settings = Settings({"ROOT_URLCONF": Value(content="shop.urls")}, ())
    assert of_django(Files({"shop/urls.py": urls}), settings) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('app = FastAPI()\n@app.get("/items")\ndef items(): ...', "/openapi.json"),
        ('app = FastAPI()\n@app.get("/")\ndef home(): ...', "/"),
        ("app = FastAPI(openapi_url=None)", "/"),
        ('app = FastAPI(openapi_url=f"{prefix}/openapi.json")', "/docs"),
        ('app = Flask(__name__)\n@app.route("/healthz")\ndef health(): ...', "/healthz"),
        ('app = Starlette(routes=[Route("/ping", ping)])', "/ping"),
        ("app = Flask(__name__)", ""),
    ],
)
def test_of_a_framework(text: str, path: str) -> None:
    """FastAPI describes itself, unless it is told not to."""
    assert of_framework(text) == path

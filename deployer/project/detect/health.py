"""A page by which an app shows that it is well, found in what answers to which URL."""

from __future__ import annotations

import re

from deployer.project.django import Settings, TextFiles, module_text

__all__ = ["of_django", "of_framework"]

_WORDS = r"(?:healthz?|health[-_]?check|livez|readyz|ping|up|status|ht|_health|alive)"
_DJANGO = re.compile(rf"""path\(\s*r?["']\^?(/?{_WORDS}/?)\$?["']""")
_DJANGO_ROOT = re.compile(r"""(?:path\(\s*["']["']|(?:re_path|url)\(\s*r?["']\^?\$?["'])""")
_DJANGO_ADMIN = re.compile(r"""path\(\s*r?["']\^?([\w/-]+/)\$?["']\s*,\s*(?:\w+\.)*site\.urls""")
_ROUTE = re.compile(rf"""(?:get|route|api_route|Route|add_url_rule)\(\s*["'](/{_WORDS}/?)["']""")
_ROOT = re.compile(r"""(?:get|route|api_route|Route|add_url_rule|mount)\(\s*["']/["']""")


def of_django(files: TextFiles, settings: Settings) -> str:
    """A health page, else the first page, else the admin's; the first page where nothing tells."""
    module = settings.get("ROOT_URLCONF").content
    text = module_text(files, module) if isinstance(module, str) else None
    if text is None:
        return "/"
    if match := _DJANGO.search(text):
        return f"/{match[1].lstrip('/')}"
    admin = None if _DJANGO_ROOT.search(text) else _DJANGO_ADMIN.search(text)
    return f"/{admin[1].lstrip('/')}login/" if admin else "/"


def of_framework(text: str) -> str:
    """The same for the text of a module with an application: FastAPI always has a description of itself."""
    if match := _ROUTE.search(text):
        return match[1]
    describes = "FastAPI(" in text and "openapi_url=None" not in text and not _ROOT.search(text)
    return "/openapi.json" if describes else "/"

"""A page by which an app shows that it is well, found in what answers to which URL."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from deployer.project.django import Settings, TextFiles, literal, module_text, tree

__all__ = ["of_django", "of_framework"]

_HEALTH = re.compile(r"healthz?|health[-_]?check|livez|readyz|ping|up|status|ht|_health|alive")
_PATHS = ("path", "re_path", "url")
_ROUTES = ("get", "route", "api_route", "Route", "add_url_rule", "add_api_route", "add_route", "mount", "Mount")


def of_django(files: TextFiles, settings: Settings) -> str:
    """A health page, else the first page, else the admin's; the first page where nothing tells."""
    module = settings.get("ROOT_URLCONF").content
    text = module_text(files, module) if isinstance(module, str) else None
    found = dict(_calls(tree(text), _PATHS))
    if health := _health(found):
        return health
    admin = next((url for url, target in found.items() if target.endswith("site.urls")), "")
    return f"/{admin}login/" if admin and "" not in found else "/"


def of_framework(text: str) -> str:
    """The same for the text of a module with an application: FastAPI always has a description of itself."""
    module = tree(text)
    found = dict(_calls(module, _ROUTES))
    if health := _health(found):
        return health
    described = dict(_calls(module, ("FastAPI",), argument="openapi_url"))
    makes = any(isinstance(node, ast.Call) and _name(node) == "FastAPI" for node in ast.walk(module))
    return "/openapi.json" if makes and "" not in found and not described else "/"


def _calls(module: ast.Module, names: tuple[str, ...], argument: str = "") -> Iterator[tuple[str, str]]:
    """The URL of each call of these names, without the slash in front, and what it leads to; or an argument of it."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or _name(node) not in names:
            continue
        if argument:
            yield from ((one.arg, "") for one in node.keywords if one.arg == argument)
            continue
        url = literal(node.args[0]) if node.args else None
        if isinstance(url, str):
            plain = url.removeprefix("^").removesuffix("$").lstrip("/")
            yield plain, ast.unparse(node.args[1]) if len(node.args) > 1 else ""


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _health(found: dict[str, str]) -> str:
    return next((f"/{url}" for url in found if _HEALTH.fullmatch(url.rstrip("/"))), "")

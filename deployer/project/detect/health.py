"""A page by which an app shows that it is well, found in what answers to which URL."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from deployer.project.django import Settings, TextFiles, literal, module_text, tree
from deployer.wire.lazyre import pattern

__all__ = ["of_django", "of_framework"]

_HEALTH = pattern(r"healthz?|health[-_]?check|livez|readyz|ping|up|status|ht|_health|alive")
_PATHS = ("path", "re_path", "url")
_ROUTES = ("get", "route", "api_route", "Route", "add_url_rule", "add_api_route", "add_route", "mount", "Mount")


def of_django(files: TextFiles, settings: Settings) -> str:
    """A health page, else the first page, else the admin's; empty where nothing tells."""
    module = settings.get("ROOT_URLCONF").content
    text = module_text(files, module) if isinstance(module, str) else None
    found = dict(_calls(tree(text), _PATHS))
    if health := _health(found):
        return health
    admin = next((url for url, target in found.items() if target.endswith("site.urls")), "")
    return "/" if "" in found else f"/{admin}login/" if admin else ""


def of_framework(text: str) -> str:
    """The same for the text of a module with an application: FastAPI always has a description of itself; empty
    where nothing tells."""
    module = tree(text)
    found = dict(_calls(module, _ROUTES))
    if health := _health(found):
        return health
    made = next((node for node in ast.walk(module) if isinstance(node, ast.Call) and _name(node) == "FastAPI"), None)
    return "/" if "" in found else _description(made) if made is not None else ""


def _description(fastapi: ast.Call) -> str:
    """The page on which FastAPI describes itself; the first page when it is told not to."""
    given = {one.arg: ast.unparse(one.value) for one in fastapi.keywords}
    if "openapi_url" not in given:
        return "/openapi.json"
    return "/" if given["openapi_url"] == "None" or "docs_url" in given else "/docs"


def _calls(module: ast.Module, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The URL of each call of these names, without the slash in front, and what it leads to. Those that are given to
    another one (``include([path(…)])``) are below that one's URL, and left out."""
    for node in _outermost(module, names):
        url = literal(node.args[0]) if node.args else None
        if isinstance(url, str):
            plain = url.removeprefix("^").removesuffix("$").lstrip("/")
            yield plain, ast.unparse(node.args[1]) if len(node.args) > 1 else ""


def _outermost(node: ast.AST, names: tuple[str, ...]) -> Iterator[ast.Call]:
    waiting = [node]  # and no recursion: an expression may be deeper than Python's own limit
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Call) and _name(one) in names:
            yield one
        else:
            waiting += reversed(list(ast.iter_child_nodes(one)))


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _health(found: dict[str, str]) -> str:
    return next((f"/{url}" for url in found if _HEALTH.fullmatch(url.rstrip("/"))), "")

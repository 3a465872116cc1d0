"""Which WSGI or ASGI application a project has: found by reading its files, never by importing them."""

from __future__ import annotations

import ast
import json

import msgspec

from deployer.config import Config
from deployer.errors import ConfigError
from deployer.project.django import (
    Below,
    TextFiles,
    literal,
    settings_module,
    settings_values,
    tree,
)
from deployer.wire.advice import do
from deployer.wire.causes import Cause
from deployer.wire.protocol import WEB

__all__ = ["CAUSES", "choices", "complete", "find_callables"]

SEVERAL_APPS = Cause(
    "several-apps",
    "deploy.toml names no application, and the files that ship have several",
    "several applications are among the files that ship: {several}",
    do("write one of them into deploy.toml: [web] {first}"),
)


NO_APP = Cause(
    "no-app",
    "deploy.toml names no application, and none is found in the files that ship",
    "no WSGI or ASGI application was found in the files that ship",
    do('write it into deploy.toml: [web] wsgi = "shop.wsgi:application" (or asgi, or command){without}'),
)


CAUSES = (SEVERAL_APPS, NO_APP)


FRAMEWORKS = {"Flask": "wsgi", "FastAPI": "asgi", "Starlette": "asgi", "Litestar": "asgi", "Quart": "asgi"}


MODULES = ("wsgi.py", "asgi.py", "app.py", "main.py")


def complete(config: Config, files: TextFiles) -> Config:
    """The config with ``wsgi`` or ``asgi`` filled in from the files that ship, when no callable is set and one is
    needed.

    Raises ConfigError saying what to write when the files do not tell.
    """
    if not config.runs_web or config.web.wsgi or config.web.asgi or config.web.command:
        return config
    files = Below(files, config.directory) if config.directory else files
    settings = settings_module(files)
    found = find_callables(files, settings_values(files, settings) if settings else {}, settings)
    if several := choices(found, settings):
        raise ConfigError(
            **SEVERAL_APPS.told(several=", ".join(several), first=several[0]),
            state="nothing was touched",
        )
    kind = choose_kind(found, config.web.server)
    if kind is None:
        raise ConfigError(
            **NO_APP.told(without=without(config)),
            state="nothing was touched",
        )
    return msgspec.structs.replace(config, web=msgspec.structs.replace(config.web, **{kind: found[kind][0]}))


def without(config: Config) -> str:
    """How to say that a host has no web process, where something else could run there."""
    others = [name for name in config.roles.names if name != WEB]
    host = next(iter(config.hosts), "HOST")
    return f'; or that there is none: [hosts."{host}"] processes = {json.dumps(others)}' if others else ""


def choose_kind(found: dict[str, list[str]], server: str | None) -> str | None:
    """``wsgi`` or ``asgi``: what the server asks for, else WSGI, which any Django app can do; or None."""
    order = ("asgi", "wsgi") if server in ("uvicorn", "hypercorn") else ("wsgi", "asgi")
    allowed = order[:1] if server else order
    return next((kind for kind in allowed if kind in found), None)


def find_callables(files: TextFiles, values: dict[str, ast.expr], settings: str | None) -> dict[str, list[str]]:
    """``wsgi`` and ``asgi``, as far as found: as the settings say, beside them, or those of a framework."""
    package = (settings or "").partition(".")[0]
    found: dict[str, list[str]] = {}
    for kind in ("wsgi", "asgi"):
        named = literal(values.get(f"{kind.upper()}_APPLICATION"))
        if isinstance(named, str) and "." in named and settings:
            found[kind] = [":".join(named.rsplit(".", 1))]
        elif package and files.read_text(f"{package}/{kind}.py") is not None:
            found[kind] = [f"{package}.{kind}:application"]
    return found or framework_applications(files)


def framework_applications(files: TextFiles) -> dict[str, list[str]]:
    """The applications that the usual modules at the top assign: ``app = Flask(__name__)`` and its like."""
    found: dict[str, list[str]] = {}
    for name in MODULES:
        for node in tree(files.read_text(name)).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called, target = node.value.func, node.targets[0]
                kind = FRAMEWORKS.get(getattr(called, "id", getattr(called, "attr", "")))
                if kind and isinstance(target, ast.Name):
                    found.setdefault(kind, []).append(f"{name.removesuffix('.py')}:{target.id}")
    return found


def choices(found: dict[str, list[str]], settings: str | None) -> list[str]:
    """All of a framework's applications, when there is more than one. A Django project's are two faces of one."""
    several = not settings and sum(map(len, found.values())) > 1
    return [f"{kind} = {json.dumps(name)}" for kind, names in found.items() for name in names] if several else []

"""Which WSGI or ASGI application a project has: found by reading its files, never by importing them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from deployer.config import Config
from deployer.errors import ConfigError
from deployer.project.detect.frameworks import PACKAGES, Application, applications
from deployer.project.django import (
    SETTINGS,
    Below,
    Settings,
    TextFiles,
    Value,
    choose_settings,
    module_path,
    read_settings,
)
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.protocol import WEB

__all__ = ["CAUSES", "choices", "complete", "find_applications", "of_django"]

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


def complete(config: Config, files: TextFiles) -> Config:
    """The config with ``wsgi`` or ``asgi`` filled in from the files that ship, when no callable is set and one is
    needed.

    Raises ConfigError saying what to write when the files do not tell.
    """
    if not config.runs_web or config.web.wsgi or config.web.asgi or config.web.command:
        return config
    files = Below(files, config.directory) if config.directory else files
    found = find_applications(files, config.env)
    if several := choices(found):
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
    one = found[kind][0]
    args = (*(arg for arg in one.args if arg not in config.web.args), *config.web.args)
    return msgspec.structs.replace(config, web=msgspec.structs.replace(config.web, args=args, **{kind: one.key}))


def without(config: Config) -> str:
    """How to say that a host has no web process, where something else could run there."""
    others = [name for name in config.roles.names if name != WEB]
    host = next(iter(config.hosts), "HOST")
    return f'; or that there is none: [hosts."{host}"] processes = {json.dumps(others)}' if others else ""


def choose_kind(found: Mapping[str, Sequence[Application]], server: str | None) -> str | None:
    """``wsgi`` or ``asgi``: what the server asks for, else WSGI, which any Django app can do; or None."""
    order = ("asgi", "wsgi") if server in ("uvicorn", "hypercorn") else ("wsgi", "asgi")
    allowed = order[:1] if server else order
    return next((kind for kind in allowed if found.get(kind)), None)


def find_applications(
    files: TextFiles, env: Mapping[str, str], packages: Sequence[str] = PACKAGES
) -> dict[str, list[Application]]:
    """``wsgi`` and ``asgi``, as far as found: those of Django as its settings say, else those of a framework.

    ``env`` is what a host sets; ``packages`` are the directories in which a framework's are looked for.
    """
    chosen = choose_settings(files)
    module = env.get(SETTINGS) or (chosen.module if chosen else "")
    values = {name: Value(content=text, variables=(name,)) for name, text in env.items()}
    found = of_django(files, module, read_settings(files, module, values)) if module else {}
    if not found:
        for one in applications(files, packages):
            found.setdefault(one.kind, []).append(one)
    return found


def of_django(files: TextFiles, module: str, settings: Settings) -> dict[str, list[Application]]:
    """The applications that the settings name, else those of wsgi.py and asgi.py near the settings."""
    parts = module.split(".")
    near = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    found: dict[str, list[Application]] = {}
    for kind in ("wsgi", "asgi"):
        named = settings.get(f"{kind.upper()}_APPLICATION").content
        places = [named.rpartition(".")[0]] if isinstance(named, str) and "." in named else []
        name = named.rpartition(".")[2] if places else "application"
        beside = [f"{package}.{kind}" for package in near if module_path(files, f"{package}.{kind}") is not None]
        if target := next(iter([*places, *beside]), None):
            found[kind] = [Application(kind=kind, target=f"{target}:{name}", django=True)]
    return found


def choices(found: Mapping[str, Sequence[Application]]) -> list[str]:
    """All applications, when there is more than one. A Django project's are two faces of one."""
    all_of_them = [one for several in found.values() for one in several]
    several = all_of_them[1:] and not any(one.django for one in all_of_them)
    return [f"{one.kind} = {json.dumps(one.key)}" for one in all_of_them] if several else []

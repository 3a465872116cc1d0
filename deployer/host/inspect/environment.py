"""The environment of the app on this host: of the release that serves, and of what the host keeps for the next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.inspect.status import readable
from deployer.host.processes import commands
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.host.state.operator import environment
from deployer.wire.environment import HOST, SERVICE, mark


def report(ctx: Context, salt: str) -> dict[str, Any]:
    """The answer to ``environment``: each variable with its sources, the one that wins first, and no secret value.

    Instead of values there are marks, by which the laptop that made up the ``salt`` sees which are the same.
    """
    release, kept = readable(ctx), environment.stored(ctx)
    values = commands.read_environment(ctx, release) if release else {}
    sources = environment.sources_of(ctx.paths, release.number) if release else {}
    secret = set(masking.stored_names(ctx.paths, release.number)) if release else set()

    def row(name: str) -> dict[str, Any]:
        one = kept.variables.get(name)
        hidden = one is not None or name in secret
        return {
            "name": name,
            "sources": list(sources.get(name, ())),
            "secret": hidden,
            "value": "" if hidden else values.get(name, ""),
            "serves": mark(salt, values[name]) if name in values else "",
            "kept": mark(salt, one.value) if one else "",
            "by": one.by if one else "",
            "at": one.at if one else 0.0,
        }

    return {
        "current": release.name if release else "",
        "version": kept.version,
        "variables": [row(name) for name in sorted({*values, *kept.variables})],
    }


def values(ctx: Context, names: Iterable[str]) -> dict[str, Any]:
    """The answer to ``variables``: what the host keeps, with its values; ``names`` are those that are asked for, none
    for all. ``serves`` holds what the release that serves has for these names: it may be another, or from elsewhere."""
    asked = tuple(names)
    release, kept = readable(ctx), environment.stored(ctx)
    serves = commands.read_environment(ctx, release) if release and asked else {}
    return {
        "version": kept.version,
        "kept": {name: value for name, value in kept.values.items() if name in asked or not asked},
        "serves": {name: serves[name] for name in asked if name in serves},
    }


def names(ctx: Context) -> dict[str, dict[str, Any]]:
    """The variables that a new release gets from this host, by name: from where, and whether they are empty. Not
    secret."""
    kept: dict[str, str] = {}
    with contextlib.suppress(Damaged):  # a release is refused then, and says why
        kept = environment.stored(ctx).values
    found = {**dict.fromkeys(ctx.settings.environment, SERVICE), **dict.fromkeys(kept, HOST)}
    both = {**ctx.settings.environment, **kept}
    return {name: {"source": source, "empty": not both[name]} for name, source in found.items()}

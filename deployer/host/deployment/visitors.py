"""What a deploy does for visitors besides the switch: it shows media to the proxy, and asks for the app as they do."""

from __future__ import annotations

from deployer.host.assets import media
from deployer.host.deployment.failures import Failures
from deployer.host.proxy.proof import proof
from deployer.host.state.app import Context
from deployer.host.state.releases import Release

_PATIENCE = 2.0
_NAMED = 3


def show_media(ctx: Context) -> list[str]:
    """Mount the media for the proxy where that is missing: a boot unmounts them, and the app may replace a directory.

    Returns why visitors may get none. Never raises: what serves has no better media.
    """
    if ctx.settings.proxy and ctx.settings.site is None:  # settings of another version: what it mounted stays
        return []
    failures = Failures(ctx)
    with failures.kept("showing the media to the proxy"):
        media.provide(ctx.paths, media.directories(ctx.settings.site))
    return [failure.message for failure in failures.found]


def warn(ctx: Context, release: Release) -> None:
    """Warn when visitors do not reach what serves. That is no reason to roll back: the release did not cause it, or
    nobody knows. Never raises."""
    failures = Failures(ctx)
    with failures.kept("asking for the app through the proxy"):
        found = proof.problems(ctx, proof.visits(ctx, patience=_PATIENCE))
        for text, repair in found[:_NAMED]:
            ctx.emit("warn", text=f"{release.name} serves, and visitors may not reach it: {text}; {repair}")
        if len(found) > _NAMED:
            ctx.emit("warn", text=f"and {len(found) - _NAMED} more such problems: fab doctor names them")
    for failure in failures.found:
        ctx.emit("warn", text=f"whether visitors reach {release.name} is not known: {failure.message}")

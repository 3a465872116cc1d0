"""The last thing that a deploy does: it asks for the app as a visitor would, through the proxy."""

from __future__ import annotations

from deployer.host.deployment.failures import Failures
from deployer.host.proxy.proof import proof
from deployer.host.state.app import Context
from deployer.host.state.releases import Release

_PATIENCE = 2.0
_NAMED = 3


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

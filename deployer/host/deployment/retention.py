"""What goes when a release has come: old releases, and content that no release names."""

from __future__ import annotations

import contextlib

from deployer.host.processes import background
from deployer.host.state.app import Context
from deployer.host.state.ledger import PRUNED
from deployer.host.state.retention import to_prune
from deployer.host.state.retention import used_keys as used_by
from deployer.host.system import files


def prune(ctx: Context, keep: int) -> None:
    """Remove releases beyond ``keep`` and content no release names. Never what serves, what served before it, or what
    was last known to be good."""
    releases = ctx.catalog.all()
    number = ctx.catalog.current()
    current = ctx.catalog.find(number) if number else None
    protected = {number, current.previous} if current else {number}
    protected |= background.finishing_numbers(ctx)  # their code is still in use
    gone = to_prune(releases, protected, keep)
    for one in gone:
        files.remove_tree(ctx.paths.release(one))
    if gone:
        with contextlib.suppress(OSError):
            ctx.ledger.add(PRUNED, ctx.clock(), releases=[f"v{one}" for one in gone])
    ctx.trees.keep_only(used(ctx, "tree"))
    ctx.venvs.keep_only(used(ctx, "venv"))


def used(ctx: Context, what: str) -> set[str]:
    """The keys of trees or virtual environments that must stay: of releases with content, and of dead ones that still
    finish a job. Raises HostError."""
    releases, finishing = ctx.catalog.all(), background.finishing_numbers(ctx)
    return used_by(releases, what) | ({getattr(one, what) for one in releases if one.number in finishing} - {""})

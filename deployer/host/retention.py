"""What goes when a release has come: old releases, and content that no release names."""

from __future__ import annotations

from deployer.host import catalog, files
from deployer.host.context import Context


def prune(ctx: Context, keep: int) -> None:
    """Remove releases beyond ``keep`` and content no release names. Never what serves, nor what served before it."""
    releases = ctx.catalog.all()
    number = ctx.catalog.current()
    current = ctx.catalog.find(number) if number else None
    protected = {number, current.previous} if current else set()
    for gone in catalog.to_prune(releases, protected, keep):
        files.remove_tree(ctx.paths.release(gone))
    left = ctx.catalog.all()
    ctx.trees.keep_only(catalog.used(left, "tree"))
    ctx.venvs.keep_only(catalog.used(left, "venv"))

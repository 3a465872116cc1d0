"""What a laptop needs to know before it sends anything: what this host has, what runs, which number comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer import host
from deployer.host.build.code import shipped
from deployer.host.build.disk import free_bytes
from deployer.host.build.upload import partials
from deployer.host.deployment.reuse import rollback_target
from deployer.host.errors import HostError
from deployer.host.inspect import environment, logs
from deployer.host.inspect.status import held_report, lock_report, readable
from deployer.host.job import lock
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.state.seal import known_damage
from deployer.wire.advice import run
from deployer.wire.protocol import PROTOCOL
from deployer.wire.tree.entry import pack_ids


def look(ctx: Context) -> dict[str, Any]:
    """The answer to ``ask``."""
    current = readable(ctx)
    return {
        "protocol": PROTOCOL,
        "program": _digest_of_this_program(),
        "app": ctx.app,
        "current": ctx.catalog.serving_name(),
        "spec": current.spec.as_json() if current else None,
        "busy": lock.running(ctx),
        "lock": lock_report(ctx),
        "held": held_report(ctx),
        "base": _base(ctx, current),
        "partials": partials(ctx.paths.incoming),
        "free": free_bytes(str(ctx.paths.home)),
        "processes": logs.kinds(ctx),
        "environment": environment.names(ctx),
        **_history(ctx),
    }


def _history(ctx: Context) -> dict[str, Any]:
    """What a fleet must agree on: the next number, and the releases that a rollback can go back to.

    ``passed`` are good releases newer than the target that a rollback skips, each with its damage.
    """
    releases = [one for one in ctx.catalog.all() if one.usable]
    target, passed = rollback_target(ctx)
    return {
        "next": ctx.catalog.next_number(),
        "target": target.name if target else "",
        "passed": passed,
        "usable": {one.name: one.spec.source.digest for one in releases if not known_damage(ctx, one)},
    }


def _base(ctx: Context, current: Release | None) -> dict[str, Any]:
    """The tree that an upload should build on: the one that serves, else any sealed one."""
    keys = ([current.tree] if current else []) + ctx.trees.all_keys()
    for key in keys:
        record = ctx.trees.record(key)
        if record is not None:
            return shipped.told(ctx.trees, key, record)
    return {"key": "", "digest": "", "altered": "", "ids": ""}


def ids(ctx: Context, key: str) -> str:
    """The answer to ``base``: the ids of what an upload may build on. Raises HostError when the tree is gone."""
    record = ctx.trees.record(key)
    if record is None:
        raise HostError(
            "the tree that this upload would build on is gone from the host", next=run("fab deploy", "again")
        )
    return pack_ids(shipped.base(ctx.trees, key, record).ids)


def _digest_of_this_program() -> str:
    """The digest of this program: ``fab setup`` installs it in a directory of that name."""
    return Path(host.__file__).resolve().parents[2].name

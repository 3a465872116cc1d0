"""What only the host knows of a request: which parts a reload or a rollback takes, and what stands in its way."""

from __future__ import annotations

from dataclasses import replace

from deployer.host.build import builder
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.state import masking, seal
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.state.retention import migrations_since, rollback_targets
from deployer.host.system import files
from deployer.wire.advice import Next, run
from deployer.wire.protocol import Exit

_NAMED = 5
"""Migrations that a message names."""


def complete(ctx: Context, request: Request) -> Request:
    """The request with all its parts. Raises HostError (exit 2) when there is nothing to reload or to go back to."""
    if request.kind == "deploy":
        return replace(request, of=0)
    number = ctx.catalog.current()
    if not number:
        raise HostError("nothing is deployed here yet", exit=Exit.USAGE, next=run("fab deploy"))
    current = ctx.catalog.get(number)
    return _reload(request, current) if request.kind == "reload" else _rollback(ctx, request, current)


def _reload(request: Request, current: Release) -> Request:
    old = current.spec
    parts = replace(request.spec, source=old.source, lock=old.lock, python=old.python, build=old.build)
    return replace(request, of=current.number, spec=parts, delta=None)


def _rollback(ctx: Context, request: Request, current: Release) -> Request:
    target = ctx.catalog.get(request.of) if request.of else _chosen(ctx)
    if not target.usable:
        raise HostError(
            f"{target.name} is {target.result}: it never served well",
            exit=Exit.USAGE,
            next=run("fab releases"),
        )
    _warn_of_migrations(ctx, target, current, request.yes)
    seal.refuse_changed_environment(ctx, target)
    environment = files.read_object(ctx.paths.release(target.number) / "env.json") or {}
    secret = masking.stored_names(ctx.paths, target.number)
    return replace(request, of=target.number, spec=target.spec, environment=environment, secret=secret, delta=None)


def rollback_target(ctx: Context) -> tuple[Release | None, dict[str, str]]:
    """What a rollback goes back to: the newest older release with no known damage. Beside it those that were passed by,
    each with its damage."""
    passed: dict[str, str] = {}
    for release in rollback_targets(ctx.catalog.all(), ctx.catalog.current()):
        damage = seal.known_damage(ctx, release)
        if not damage:
            return release, passed
        passed[release.name] = damage
    return None, passed


def _chosen(ctx: Context) -> Release:
    target, passed = rollback_target(ctx)
    told = [f"{name} is passed by: {damage}" for name, damage in passed.items()]
    if target is None:
        text = "; ".join(["there is no good release before the one that serves", *told])
        again = run("fab deploy") if passed else Next()
        raise HostError(text, exit=Exit.REFUSED if passed else Exit.USAGE, next=again + run("fab releases"))
    for text in told:
        ctx.emit("warn", text=text)
    return target


def _warn_of_migrations(ctx: Context, target: Release, current: Release, accepted: bool) -> None:
    """Raises HostError unless the rollback behind migrations was ``accepted``."""
    trees = [ctx.trees.record(release.tree) for release in (target, current)]
    lists = [
        [f"{entry.path} {entry.digest}" for entry in builder.entries_of(tree or {"entries": []})] for tree in trees
    ]
    added = migrations_since(lists[0], lists[1])
    if not added or target.number > current.number:
        return
    text = f"{len(added)} migrations were applied since {target.name} and stay applied: {', '.join(added[:_NAMED])}"
    if not accepted:
        raise HostError(
            text + (", …" if len(added) > _NAMED else ""),
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run(f"fab rollback --to {target.name} --yes", f"if the code of {target.name} can live with that"),
        )
    ctx.emit("warn", text=text)

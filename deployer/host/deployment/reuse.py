"""What a release takes from an older one: a reload, a restart, a scale, a rollback; and which one a rollback takes."""

from __future__ import annotations

from dataclasses import replace

from deployer.host.build.code import shipped
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.state import masking, seal
from deployer.host.state.app import Context
from deployer.host.state.operator.environment import sources_of
from deployer.host.state.releases import Release
from deployer.host.state.retention import migrations_since, rollback_targets
from deployer.host.system import files
from deployer.wire.advice import Next, run
from deployer.wire.protocol import Exit

_NAMED = 5
"""Migrations that a message names."""


def complete(ctx: Context, request: Request) -> Request:
    """Fill in the parts that a reload, a restart or a rollback reuses. Raises HostError (exit 2) when no release has
    them."""
    if request.kind == "deploy":
        return replace(request, of=0)
    current = ctx.catalog.require_serving()
    if request.kind == "reload":
        return _complete_reload(request, current)
    if request.kind == "restart":
        return _parts_of(ctx, request, current)
    if request.kind == "scale":
        counted = current.spec.counted(request.spec.counts()).scaled(dict(request.spec.scale))
        return replace(_parts_of(ctx, request, current), spec=counted)
    return _complete_rollback(ctx, request, current)


def _complete_reload(request: Request, current: Release) -> Request:
    old = current.spec
    parts = replace(
        request.spec,
        source=old.source,
        lock=old.lock,
        python=old.python,
        build=old.build,
        directory=old.directory,
        shared=old.shared,
    )
    return replace(request, of=current.number, spec=parts, delta=None)


def _complete_rollback(ctx: Context, request: Request, current: Release) -> Request:
    target = ctx.catalog.get(request.of) if request.of else _choose_target(ctx)
    if not target.usable:
        raise HostError(
            f"{target.name} is {target.result}: it never served well",
            exit=Exit.USAGE,
            next=run("fab releases"),
        )
    _warn_of_migrations(ctx, target, current, request.yes)
    parts = _parts_of(ctx, request, target)
    return replace(parts, spec=target.spec.scaled({**dict(target.spec.scale), **dict(current.spec.scale)}))


def _parts_of(ctx: Context, request: Request, target: Release) -> Request:
    """With all that ``target`` is made of: its environment, too. Raises HostError when that was changed."""
    seal.refuse_changed_environment(ctx, target)
    environment = files.read_object(ctx.paths.release(target.number) / "env.json") or {}
    return replace(
        request,
        of=target.number,
        spec=target.spec,
        environment=environment,
        secret=masking.stored_names(ctx.paths, target.number),
        sources=sources_of(ctx.paths, target.number),
        delta=None,
        inherits=True,
    )


def rollback_target(ctx: Context) -> tuple[Release | None, dict[str, str]]:
    """What a rollback goes back to: the newest older release without known damage. And the newer ones that were
    skipped, each with its damage."""
    passed: dict[str, str] = {}
    for release in rollback_targets(ctx.catalog.all(), ctx.catalog.current()):
        damage = seal.known_damage(ctx, release)
        if not damage:
            return release, passed
        passed[release.name] = damage
    return None, passed


def _choose_target(ctx: Context) -> Release:
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
    added = migrations_since(*(shipped.migrations(ctx.trees, release.tree) for release in (target, current)))
    if not added or target.number > current.number:
        return
    text = f"{len(added)} migrations were applied since {target.name} and stay applied: {', '.join(added[:_NAMED])}"
    if not accepted:
        raise HostError(
            text + (", …" if len(added) > _NAMED else ""),
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run(f"fab rollback --to {target.name} --yes", f"if the code of {target.name} works with them"),
        )
    ctx.emit("warn", text=text)

"""How a release ends: its record, its line in the ledger, and which content is removed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from deployer.host.assets import links
from deployer.host.deployment.failures import Failures
from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.state import cleanup
from deployer.host.state.app import Context
from deployer.host.state.ledger import ENDED, PRUNED
from deployer.host.state.operator import environment
from deployer.host.state.releases import DEAD, GOOD, ROLLING_BACK, Release
from deployer.host.state.retention import to_prune, used_keys
from deployer.host.system import files
from deployer.wire.protocol import Exit


def record_good(ctx: Context, release: Release, reason: str = "") -> bool:
    """Record that the release serves and stays. False when that cannot be written: the host tries again later.

    ``reason`` says what was unusual. Old releases may be removed to make room for the record.
    """
    if release.result == ROLLING_BACK:
        raise HostError(f"{release.name} is being rolled back, and cannot be good", exit=Exit.BUG)
    changes = {"result": GOOD, "phase": "watch", "reason": reason, "ended": ctx.clock(), "held": None}
    try:
        kept = _write(ctx, release, changes)
    except OSError as error:
        text = f"{release.name} serves and is healthy, but that could not be recorded: {error}"
        ctx.emit("warn", text=f"{text}; the host records it as soon as it can")
        return False
    add_to_ledger(ctx, kept)
    with Failures(ctx).kept("storing the changed variables"):  # they count all the same, and are stored at the next job
        environment.settle(ctx)
    return True


def _write(ctx: Context, release: Release, changes: dict[str, object]) -> Release:
    try:
        return ctx.catalog.update(release, **changes)
    except OSError:
        with Failures(ctx).kept("removing old releases"):
            prune(ctx, release.spec.keep)
        return ctx.catalog.update(release, **changes)


def record_rollback(ctx: Context, release: Release, reason: str) -> Release:
    """Record that a rollback of the release begins, before it does: a recovery then finishes it. Never raises."""
    with Failures(ctx).kept(f"recording that {release.name} is rolled back"):
        return ctx.catalog.update(release, result=ROLLING_BACK, reason=reason, held=None)
    return release


def remove_content(ctx: Context, release: Release, result: str, reason: str) -> None:
    """Record how a dead release ended, and remove everything but its record. The content goes first, to free space.

    A release that still finishes a job, or in which somebody runs a command, keeps its code and environment until then.
    Never raises: the next recovery does what is left.
    """
    failures, directory = Failures(ctx), ctx.paths.release(release.number)
    unused: Collection[str] = ()
    with failures.kept("looking at its assets"):
        unused = () if release.switched else links.names(ctx, release)
    with failures.kept(f"looking for what {release.name} still runs"):
        if release.number not in background.finishing_numbers(ctx) and not files.is_locked(directory):
            for name in files.names(directory):
                if name != "release.json":
                    with failures.kept(f"removing {directory / name}"):
                        files.remove_tree(directory / name)
    with failures.kept(f"recording how {release.name} ended"):
        changes = {"result": result, "reason": reason, "ended": ctx.clock(), "held": None, "sealed": None}
        add_to_ledger(ctx, ctx.catalog.update(release, **changes))
    with failures.kept("removing old releases"):
        serving = ctx.catalog.serving()
        prune(ctx, (serving or release).spec.keep, unused)


def add_to_ledger(ctx: Context, release: Release) -> None:
    """Add how the release ended. Never raises: the next recovery adds a missing line."""
    with Failures(ctx).kept("adding to the ledger"):
        ctx.ledger.add(
            ENDED,
            release.ended,
            release=release.name,
            result=release.result,
            phase=release.phase,
            reason=release.reason,
            serving=ctx.catalog.serving_name(),
        )


def prune(ctx: Context, keep: int, unused: Collection[str] = (), *, later: bool = False) -> None:
    """Remove releases beyond ``keep``, and content that no release names: at once, to make room, or ``later``, when
    :mod:`deployer.host.state.cleanup` is started.

    What serves, what served before it, and the last release known to be good always stay, as does one in which somebody
    runs a command. ``unused`` are hashed assets that no page has ever named.
    """
    gone = [one for one in prunable(ctx, keep) if _remove_unused(ctx.paths.release(one))]
    if gone:
        with contextlib.suppress(OSError):
            ctx.ledger.add(PRUNED, ctx.clock(), releases=[f"v{one}" for one in gone])
    ctx.trees.keep_only(used(ctx, "tree"), later=later)
    ctx.venvs.keep_only(used(ctx, "venv"), later=later)
    serving = ctx.catalog.serving()
    ctx.trees.put_away_clones(serving.tree if serving is not None else "")
    links.prune(ctx, (one for one in ctx.catalog.all() if one.result not in DEAD), unused)
    if not later:
        cleanup.finish(ctx)


def prunable(ctx: Context, keep: int) -> list[int]:
    """The releases that :func:`prune` removes. Raises HostError."""
    releases = ctx.catalog.all()
    number = ctx.catalog.current()
    current = ctx.catalog.find(number) if number else None
    protected = {number, current.previous} if current else {number}
    gone = to_prune(releases, protected, keep)
    in_use = {one for one in gone if files.is_locked(ctx.paths.release(one))}
    may_finish = any(background.may_finish(one) for one in releases if one.number in gone)
    finishing = background.finishing_numbers(ctx) if may_finish else set()
    return [one for one in gone if one not in in_use | finishing]


def _remove_unused(directory: Path) -> bool:
    """Remove a release, unless a command has begun to run in it, which holds a lock. Whether it was removed."""
    with files.alone(directory) as unused:
        if unused:
            files.remove_tree(directory)
        return unused


def used(ctx: Context, what: str) -> set[str]:
    """The keys of trees (or virtual environments) in use: by releases with content, and by dead ones that still finish
    a job, or in which somebody runs a command. Raises HostError."""
    releases = ctx.catalog.all()
    keys = used_keys(releases, what)
    dead = [one for one in releases if getattr(one, what) not in {"", *keys}]
    finishing = background.finishing_numbers(ctx) if dead else set()
    running = {one.number for one in dead if files.is_locked(ctx.paths.release(one.number))}
    return keys | {getattr(one, what) for one in dead if one.number in finishing | running}

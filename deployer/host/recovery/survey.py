"""What a dead job left on a host, and a plan of what to finish, roll back or remove. Changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from deployer.host.deployment.failures import Failures
from deployer.host.recovery import debris
from deployer.host.state import jobs, lease
from deployer.host.state.app import Context
from deployer.host.state.paths import parse_unit, unit_name
from deployer.host.state.releases import CONDEMNED, SERVED, Release
from deployer.host.system import files, systemd
from deployer.host.units import install
from deployer.wire.protocol import PHASES, WEB

DISCARD, REMOVE, FINISH, ROLL_BACK, COMPLETE_LEDGER, START, REMOVE_DEBRIS, STOP = (
    "discard",
    "remove",
    "finish",
    "roll back",
    "complete ledger",
    "start",
    "remove debris",
    "stop",
)
"""What a step does. DISCARD is for a release that never served, REMOVE for one that did and has no traffic now."""


@dataclass(frozen=True)
class Survey:
    """What is on the host. ``held`` are the releases under lease; ``wanted`` is False when root has stopped the app.

    ``units`` are the numbers of releases that have units, except units that finish a job; ``open`` are the numbers of
    releases without an end in the ledger.
    """

    current: int
    releases: tuple[Release, ...]
    held: frozenset[int]
    units: frozenset[int]
    debris: tuple[Path, ...]
    open: frozenset[int]
    down: bool
    wanted: bool


@dataclass(frozen=True)
class Repair:
    """One step of a recovery, and why, for people. ``number`` is the release, ``path`` what is removed."""

    do: str
    why: str
    number: int = 0
    path: Path | None = None


def inspect(ctx: Context, *, leases: bool = True, failures: Failures | None = None) -> Survey:
    """Inspect the host. With ``leases``, a candidate between two phases is left alone while its lease lasts.

    With ``failures``, what cannot be read is collected there, and no step is planned for it. Raises HostError, OSError
    when the records or ``current`` cannot be read; without ``failures``, when anything cannot.
    """
    catalog = ctx.catalog
    releases = tuple(catalog.all())
    current = catalog.current()
    known = {one.number for one in releases} | {current}
    found: dict[str, Any] = {"units": frozenset(), "debris": (), "open": frozenset(), "down": False, "wanted": True}
    readers: dict[str, Callable[[], object]] = {
        "units": lambda: frozenset(debris.units(ctx)),
        "debris": lambda: tuple(debris.find(ctx, known)),
        "open": lambda: frozenset(ctx.ledger.open_numbers()),
        "down": lambda: bool(current) and _is_down(ctx, current, releases),
        "wanted": lambda: not systemd.was_stopped(f"{ctx.app}.service"),
    }
    for name, read in readers.items():
        with failures.kept(f"inspecting the host ({name})") if failures is not None else contextlib.nullcontext():
            found[name] = read()
    held = frozenset(one.number for one in releases if leases and one.unfinished and lease.left(one.held))
    return Survey(current=current, releases=releases, held=held, **found)


def _is_down(ctx: Context, number: int, releases: Iterable[Release]) -> bool:
    """Whether a unit of the current release is down. When its record cannot be read, only its socket is checked."""
    release = next((one for one in releases if one.number == number), None)
    socket = unit_name(ctx.app, WEB, number, "socket")
    states = systemd.show_all(install.standing(ctx.app, release) if release else [socket]).values()
    return any(state.active in ("inactive", "failed") and not state.queued for state in states)


def plan(found: Survey) -> list[Repair]:
    """The steps to take, in order. Pure; empty when there is nothing to do."""
    by_number = {release.number: release for release in found.releases}
    steps = [step for release in found.releases if release.unfinished for step in _plan_release(found, release)]
    kept = _with_units(found, by_number)
    steps += [Repair(STOP, f"units of v{one}, which does not serve", number=one) for one in sorted(found.units - kept)]
    steps += [
        Repair(REMOVE_DEBRIS, f"{path}: left by something that was interrupted", path=path) for path in found.debris
    ]
    unfinished = {release.number for release in found.releases if release.unfinished}
    steps += [
        Repair(COMPLETE_LEDGER, f"the ledger does not say how v{one} ended", number=one)
        for one in sorted(found.open - unfinished - found.held)
    ]
    if found.down and found.wanted and found.current not in unfinished:
        steps.append(Repair(START, f"v{found.current} is current and does not run", number=found.current))
    return sorted(steps, key=lambda step: _ORDER.index(step.do))


_ORDER = (START, DISCARD, REMOVE, STOP, REMOVE_DEBRIS, COMPLETE_LEDGER, ROLL_BACK, FINISH)
"""What serves first, long steps last."""


def _plan_release(found: Survey, release: Release) -> Iterable[Repair]:
    if release.number in found.held or (release.number == found.current and not found.wanted):
        return
    if release.number != found.current:
        do = REMOVE if release.result in (SERVED, CONDEMNED) else DISCARD
        yield Repair(do, f"{release.name} was {_how(release)} and has no traffic", number=release.number)
    elif release.result == CONDEMNED:
        yield Repair(ROLL_BACK, f"{release.name} failed, and its rollback was interrupted", number=release.number)
    else:
        yield Repair(FINISH, f"{release.name} serves, but was {_how(release)}", number=release.number)


def _how(release: Release) -> str:
    if release.held is not None:
        return f"left alone after {release.phase}"
    return f"interrupted at {release.next_phase or PHASES[-1]}"


def _with_units(found: Survey, by_number: dict[int, Release]) -> set[int]:
    """The releases that may have units: the current one, its standby while it is watched, and unfinished ones."""
    kept = {release.number for release in found.releases if release.unfinished} | {found.current}
    current = by_number.get(found.current)
    if current is not None and current.unfinished:
        kept.add(current.previous)
    return kept


def is_needed(ctx: Context) -> bool:
    """Whether a release is unfinished and not under lease, or the newest job never reported its end.

    Cheap: does not search for leftover files. To be asked when no job runs.
    """
    unfinished = [release for release in ctx.catalog.all() if release.unfinished]
    if any(_needs_recovery(ctx, release) for release in unfinished):
        return True
    newest = jobs.latest(ctx.paths.jobs)
    if jobs.abandoned(ctx.paths.jobs) or (newest is not None and not jobs.glance(newest).finished):
        return True
    if set(ctx.ledger.open_numbers()) - {release.number for release in unfinished}:
        return True
    return _has_finished_units(ctx, unfinished)


def _has_finished_units(ctx: Context, unfinished: list[Release]) -> bool:
    """Whether an older release still has units whose last jobs are done."""
    found = {unit.number for name in files.names(ctx.paths.units) if (unit := parse_unit(ctx.app, name))}
    if unfinished or not found - {ctx.catalog.current()}:
        return False
    return bool(set(debris.units(ctx)) - {ctx.catalog.current()})


def _needs_recovery(ctx: Context, release: Release) -> bool:
    """Not while it is under lease, nor, once it was switched to, while an admin has the app stopped."""
    if lease.left(release.held):
        return False
    return release.number != ctx.catalog.current() or not systemd.was_stopped(f"{ctx.app}.service")

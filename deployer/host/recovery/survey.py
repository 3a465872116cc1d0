"""What a dead job left on a host, and a plan of what to finish, roll back or remove. Changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

from deployer.host.deployment.failures import Failures
from deployer.host.recovery import debris
from deployer.host.state import jobs, lease
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import parse_unit, unit_name
from deployer.host.state.releases import ROLLING_BACK, SERVED, Release
from deployer.host.system import files, systemd
from deployer.host.units import install
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
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

_UNFINISHED = "{release} was {how} and has no traffic"
CAUSES = {
    DISCARD: Cause(
        "interrupted-before-switch",
        "a release has neither an end nor traffic, never served, and no lease holds it",
        _UNFINISHED,
        do("its candidate is removed; what serves is not touched"),
    ),
    REMOVE: Cause(
        "interrupted-after-traffic",
        "a release has no end and no traffic now, and had some",
        _UNFINISHED,
        do("requests that wait for it are answered, then it is removed"),
    ),
    FINISH: Cause(
        "interrupted-after-switch",
        "the release that serves was switched to, and nobody has judged it",
        "{release} serves, but was {how}",
        do("it is watched: healthy, it stays; else the release before it serves again"),
    ),
    ROLL_BACK: Cause(
        "interrupted-rollback",
        "the release that serves was being rolled back",
        "{release} failed, and its rollback was interrupted",
        do("the release before it serves again"),
    ),
    STOP: Cause(
        "units-left",
        "there are units of a release that neither serves nor stands by, nor is under way",
        "units of {release}, which does not serve",
        do("they are stopped and removed"),
    ),
    REMOVE_DEBRIS: Cause(
        "files-left",
        "there are files of a job, an upload or a release that nobody works on",
        "{path}: left by something that was interrupted",
        do("it is removed"),
    ),
    COMPLETE_LEDGER: Cause(
        "ledger-without-end",
        "the ledger has the begin of a release, and no end",
        "the ledger does not say how {release} ended",
        do("the line is added"),
    ),
    START: Cause(
        "release-down",
        "units of the current release are down, and nobody has stopped the app",
        "{release} is current and does not run",
        do("it is started"),
    ),
}
"""Why each step is taken, and what it does: findings of ``fab doctor``, which ``fab doctor --fix`` repairs."""


@dataclass(frozen=True)
class Survey:
    """What is on the host. ``held`` are the releases under lease; ``wanted`` is False when root has stopped the app,
    and something would start it.

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
        "wanted": lambda: not _would_start(found["down"], releases) or not systemd.was_stopped(f"{ctx.app}.service"),
    }
    for name, read in readers.items():
        with failures.kept(f"inspecting the host ({name})") if failures is not None else contextlib.nullcontext():
            found[name] = read()
    held = frozenset(one.number for one in releases if leases and one.unfinished and lease.seconds_left(one.held))
    return Survey(current=current, releases=releases, held=held, **found)


def _would_start(down: bool, releases: Iterable[Release]) -> bool:
    """Whether a step may start the app."""
    return down or any(release.unfinished for release in releases)


def _is_down(ctx: Context, number: int, releases: Iterable[Release]) -> bool:
    """Whether a unit of the current release is down. When its record cannot be read, only its socket is checked. What
    maintenance has stopped is not down."""
    release = next((one for one in releases if one.number == number), None)
    socket = unit_name(ctx.app, WEB, number, "socket")
    names = install.required_units(ctx.app, release) if release else [socket]
    if maintenance.workers_stopped(ctx.paths):
        names = [name for name in names if name == socket]
    states = systemd.show_all(names).values()
    return any(state.active in ("inactive", "failed") and not state.queued for state in states)


def plan(found: Survey) -> list[Repair]:
    """The steps to take, in order. Pure; empty when there is nothing to do."""
    by_number = {release.number: release for release in found.releases}
    steps = [step for release in found.releases if release.unfinished for step in _plan_release(found, release)]
    kept = _with_units(found, by_number)
    steps += [_repair(STOP, one) for one in sorted(found.units - kept)]
    steps += [
        Repair(REMOVE_DEBRIS, CAUSES[REMOVE_DEBRIS].message.format(path=path), path=path) for path in found.debris
    ]
    unfinished = {release.number for release in found.releases if release.unfinished}
    steps += [_repair(COMPLETE_LEDGER, one) for one in sorted(found.open - unfinished - found.held)]
    if found.down and found.wanted and found.current not in unfinished:
        steps.append(_repair(START, found.current))
    return sorted(steps, key=lambda step: _ORDER.index(step.do))


_ORDER = (START, DISCARD, REMOVE, STOP, REMOVE_DEBRIS, COMPLETE_LEDGER, ROLL_BACK, FINISH)
"""What serves first, long steps last."""


def _plan_release(found: Survey, release: Release) -> Iterable[Repair]:
    if release.number in found.held or (release.number == found.current and not found.wanted):
        return
    if release.number != found.current:
        step = REMOVE if release.result in (SERVED, ROLLING_BACK) else DISCARD
    else:
        step = ROLL_BACK if release.result == ROLLING_BACK else FINISH
    yield _repair(step, release.number, how=_how(release))


def _repair(step: str, number: int, **values: str) -> Repair:
    return Repair(step, CAUSES[step].message.format(release=f"v{number}", **values), number=number)


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
    if jobs.abandoned(ctx.paths.jobs) or (newest is not None and not jobs.status_of(newest).finished):
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
    if lease.seconds_left(release.held):
        return False
    return release.number != ctx.catalog.current() or not systemd.was_stopped(f"{ctx.app}.service")

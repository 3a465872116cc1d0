"""What is on a host, and what of it must be finished, taken back or cleared away. Looks and plans, and that is all."""

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
from deployer.host.state.releases import ROLLING_BACK, SERVED, Release
from deployer.host.system import files, systemd
from deployer.host.units import install
from deployer.wire.protocol import PHASES, WEB

DISCARD, CLEAR, FINISH, TAKE_BACK, CLOSE, START, REMOVE, STOP = (
    "discard",
    "clear",
    "finish",
    "take back",
    "close",
    "start",
    "remove",
    "stop",
)


@dataclass(frozen=True)
class Survey:
    """What is on the host. ``held`` are the releases under lease; ``wanted`` says that root has not stopped the app.

    ``units`` are the numbers of releases that have units, but for those that finish by themselves; ``open`` those of
    attempts without an end in the ledger.
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
class Step:
    """One thing to do, and why, for people. ``number`` is the release it is about, ``path`` what is removed."""

    do: str
    why: str
    number: int = 0
    path: Path | None = None


def look(ctx: Context, *, leases: bool = True, failures: Failures | None = None) -> Survey:
    """Look. With ``leases`` a candidate between two phases is left in peace as long as its lease lasts.

    What cannot be seen is an error, or kept in ``failures``: then nothing is planned of it, and all else is. Of what
    serves and of the records nothing can be left out. Raises HostError, OSError.
    """
    catalog = ctx.catalog
    releases = tuple(catalog.all())
    current = catalog.current()
    known = {one.number for one in releases} | {current}
    found: dict[str, Any] = {"units": frozenset(), "debris": (), "open": frozenset(), "down": False, "wanted": True}
    looks: dict[str, Callable[[], object]] = {
        "units": lambda: frozenset(debris.units(ctx)),
        "debris": lambda: tuple(debris.find(ctx, known)),
        "open": lambda: frozenset(ctx.ledger.open_numbers()),
        "down": lambda: bool(current) and _is_down(ctx, current, releases),
        "wanted": lambda: not systemd.was_stopped(f"{ctx.app}.service"),
    }
    for name, see in looks.items():
        with failures.kept(f"looking at the host ({name})") if failures is not None else contextlib.nullcontext():
            found[name] = see()
    held = frozenset(one.number for one in releases if leases and one.unfinished and lease.seconds_left(one.held))
    return Survey(current=current, releases=releases, held=held, **found)


def _is_down(ctx: Context, number: int, releases: Iterable[Release]) -> bool:
    """Whether something of what serves does not run. Of one whose record cannot be read, its web process tells."""
    release = next((one for one in releases if one.number == number), None)
    socket = unit_name(ctx.app, WEB, number, "socket")
    states = systemd.show_all(install.required_units(ctx.app, release) if release else [socket]).values()
    return any(state.active in ("inactive", "failed") and not state.queued for state in states)


def plan(found: Survey) -> list[Step]:
    """What must happen, in this order. Pure; empty when all is as it should be."""
    by_number = {release.number: release for release in found.releases}
    steps = [step for release in found.releases if release.unfinished for step in _plan_release(found, release)]
    kept = _with_units(found, by_number)
    steps += [Step(STOP, f"units of v{one}, which does not serve", number=one) for one in sorted(found.units - kept)]
    steps += [Step(REMOVE, f"{path}: the rest of something that was cut short", path=path) for path in found.debris]
    unfinished = {release.number for release in found.releases if release.unfinished}
    steps += [
        Step(CLOSE, f"the ledger does not tell how v{one} ended", number=one)
        for one in sorted(found.open - unfinished - found.held)
    ]
    if found.down and found.wanted and found.current not in unfinished:
        steps.append(Step(START, f"v{found.current} is current and does not run", number=found.current))
    return sorted(steps, key=lambda step: _ORDER.index(step.do))


_ORDER = (START, DISCARD, CLEAR, STOP, REMOVE, CLOSE, TAKE_BACK, FINISH)
"""What serves comes first, what takes long last."""


def _plan_release(found: Survey, release: Release) -> Iterable[Step]:
    if release.number in found.held or (release.number == found.current and not found.wanted):
        return
    if release.number != found.current:
        do = CLEAR if release.result in (SERVED, ROLLING_BACK) else DISCARD
        yield Step(do, f"{release.name} was {_how(release)} and has no traffic", number=release.number)
    elif release.result == ROLLING_BACK:
        yield Step(TAKE_BACK, f"{release.name} failed, and its way back was interrupted", number=release.number)
    else:
        yield Step(FINISH, f"{release.name} serves, but was {_how(release)}", number=release.number)


def _how(release: Release) -> str:
    if release.held is not None:
        return f"left alone after {release.phase}"
    return f"interrupted at {release.next_phase or PHASES[-1]}"


def _with_units(found: Survey, by_number: dict[int, Release]) -> set[int]:
    """The releases that may have units: what serves, its standby as long as it is watched, and what has a step."""
    kept = {release.number for release in found.releases if release.unfinished} | {found.current}
    current = by_number.get(found.current)
    if current is not None and current.unfinished:
        kept.add(current.previous)
    return kept


def is_needed(ctx: Context) -> bool:
    """Whether some attempt has not ended and no lease holds it, or the newest job never came to its last word.

    Cheap, and without looking for what it has left. For when no job runs.
    """
    unfinished = [release for release in ctx.catalog.all() if release.unfinished]
    if any(_needs_care(ctx, release) for release in unfinished):
        return True
    newest = jobs.latest(ctx.paths.jobs)
    if jobs.abandoned(ctx.paths.jobs) or (newest is not None and not jobs.status_of(newest).finished):
        return True
    if set(ctx.ledger.open_numbers()) - {release.number for release in unfinished}:
        return True
    return _has_strays(ctx, unfinished)


def _has_strays(ctx: Context, unfinished: list[Release]) -> bool:
    """Whether an older release still has units that have ended: what it had in hand at the switch is done."""
    found = {unit.number for name in files.names(ctx.paths.units) if (unit := parse_unit(ctx.app, name))}
    if unfinished or not found - {ctx.catalog.current()}:
        return False
    return bool(set(debris.units(ctx)) - {ctx.catalog.current()})


def _needs_care(ctx: Context, release: Release) -> bool:
    """What was switched to waits as long as an admin has the app stopped."""
    if lease.seconds_left(release.held):
        return False
    return release.number != ctx.catalog.current() or not systemd.was_stopped(f"{ctx.app}.service")

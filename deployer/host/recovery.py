"""Make what runs match ``current``; finish what was switched to; clear away the rest.

A survey of the host, a pure plan of what must happen, and its execution, which is only ever done under the app's lock.
Every step can be repeated: whoever is killed on the way is followed by somebody who begins again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deployer.host import debris, ending, handover, jobs, lease, resume, systemd
from deployer.host.attempt import Attempt, Ended
from deployer.host.catalog import CONDEMNED, INTERRUPTED, ROLLED_BACK, SERVED, Release
from deployer.host.context import Context
from deployer.host.errors import Damaged
from deployer.host.paths import unit_name
from deployer.host.protocol import PHASES
from deployer.host.request import Request

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

    ``units`` are the numbers of releases that have units; ``open`` those of attempts without an end in the ledger.
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


def survey(ctx: Context, *, leases: bool = True) -> Survey:
    """Look. With ``leases`` a candidate between two phases is left in peace as long as its lease lasts."""
    catalog = ctx.catalog
    releases = tuple(catalog.all())
    current = catalog.current()
    return Survey(
        current=current,
        releases=releases,
        held=frozenset(one.number for one in releases if leases and one.unfinished and lease.left(one.held)),
        units=frozenset(debris.unit_numbers(ctx)),
        debris=tuple(debris.find(ctx, {one.number for one in releases} | {current})),
        open=frozenset(ctx.ledger.open_numbers()),
        down=bool(current) and _is_down(ctx, current),
        wanted=systemd.show(f"{ctx.app}.service").active in ("active", "activating", "reloading"),
    )


def _is_down(ctx: Context, number: int) -> bool:
    return systemd.show(unit_name(ctx.app, "web", number, "socket")).active != "active"


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
    if release.number in found.held:
        return
    phase = release.next_phase or PHASES[-1]
    if release.number != found.current:
        do = CLEAR if release.result in (SERVED, CONDEMNED) else DISCARD
        yield Step(do, f"{release.name} was interrupted at {phase} and has no traffic", number=release.number)
    elif release.result == CONDEMNED:
        yield Step(TAKE_BACK, f"{release.name} failed, and its way back was interrupted", number=release.number)
    else:
        yield Step(FINISH, f"{release.name} serves, but was interrupted at {phase}", number=release.number)


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
    if any(one.unfinished and not lease.left(one.held) for one in ctx.catalog.all()):
        return True
    newest = jobs.latest(ctx.paths.jobs)
    if newest is not None and not jobs.glance(newest).finished:
        return True
    return bool(set(ctx.ledger.open_numbers()) - {one.number for one in ctx.catalog.all() if one.unfinished})


def recover(ctx: Context, why: str, *, leases: bool = True) -> Ended | None:
    """Carry the plan out; how what was switched to ended, or None when nothing had been. Only under the app's lock.

    ``why`` says what ended the attempt before its time. Raises HostError, OSError: what is left is tried again.
    """
    ended = None
    for step in plan(survey(ctx, leases=leases)):
        if step.do in (FINISH, TAKE_BACK):
            ended = _finish(ctx, ctx.catalog.get(step.number), why)
        else:
            _carry_out(ctx, step, why)
    return ended


def _carry_out(ctx: Context, step: Step, why: str) -> None:
    if step.do == START:
        _start(ctx, ctx.catalog.get(step.number))
    elif step.do in (DISCARD, CLEAR):
        _end(ctx, ctx.catalog.get(step.number), why)
    elif step.do == STOP:
        _stop(ctx, step.number)
    elif step.do == CLOSE:
        _close(ctx, step.number)
    elif step.path is not None:
        with contextlib.suppress(FileNotFoundError):
            debris.remove(ctx, step.path)


def _start(ctx: Context, release: Release) -> None:
    handover.ensure_units(ctx, release)
    systemd.systemctl("start", *reversed(_units(ctx, release.number)))


def _end(ctx: Context, release: Release, why: str) -> None:
    """An attempt that died without traffic. One that had some has its queue answered first."""
    debris.stop_commands(ctx)
    if release.result in (SERVED, CONDEMNED):
        resume.clear(ctx, release)
    else:
        handover.remove_units(ctx, release, unused=True)
    if release.result == CONDEMNED:
        ending.close(ctx, release, ROLLED_BACK, release.reason)
        return
    reason = f"interrupted at {release.next_phase}: {why}"
    if (release.phases or {}).get("migrate"):
        reason += "; its migration ran, and stays applied"
    ending.close(ctx, release, INTERRUPTED, reason)
    ctx.emit("note", text=f"{release.name} was {reason}; what it left is cleared away")


def _stop(ctx: Context, number: int) -> None:
    """Units of a release that neither serves nor stands by: what came in late is answered first."""
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(number)
    if release is not None and release.unfinished is False and release.sealed:
        handover.wait_for_queue(ctx, release, release.spec.drain)
    names = _units(ctx, number)
    systemd.systemctl("stop", *reversed(names), timeout=(release.spec.drain if release else 30) + 60)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (ctx.paths.units / name).unlink()
    systemd.ensure_forgotten(names)


def _units(ctx: Context, number: int) -> list[str]:
    return [unit_name(ctx.app, "web", number, kind) for kind in ("service", "socket")]


def _close(ctx: Context, number: int) -> None:
    """Make up for a line that the ledger lacks."""
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(number)
    if release is not None:
        ending.write_end(ctx, release)
        return
    current = ctx.catalog.current()
    serving = f"v{current}" if current else ""
    fields = {"result": INTERRUPTED, "phase": "", "reason": "interrupted before it began", "serving": serving}
    ctx.ledger.add("ended", ctx.clock(), release=f"v{number}", **fields)


def _finish(ctx: Context, release: Release, why: str) -> Ended:
    """What was switched to and not yet judged: do what is left to do, with the verdict that goes with it."""
    text = f"its deploy was interrupted at {release.next_phase}: {why}"
    phases = PHASES[max(PHASES.index(release.next_phase or PHASES[-1]), PHASES.index("switch")) :]
    attempt = Attempt(ctx, _request(release, phases, f"{text}; the host found it healthy"))
    return attempt.go_back(release) if release.result == CONDEMNED else attempt.go_on()


def _request(release: Release, phases: tuple[str, ...], reason: str) -> Request:
    return Request(
        kind=release.kind,
        by=release.by,
        phases=phases,
        of=release.of,
        release=release.number,
        spec=release.spec,
        environment={},
        secret=(),
        delta=None,
        yes=False,
        no_migrate=True,
        reason=reason,
    )

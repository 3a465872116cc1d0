"""``fab timer.run``: one run of a timer now, in the unit in which it always runs, followed to its end."""

from __future__ import annotations

import time
from typing import Callable

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.host.state.paths import unit_name
from deployer.host.system import journald, runner, systemd
from deployer.wire.advice import run as command
from deployer.wire.protocol import Exit

_POLL = 0.1
_UNDER_WAY = ("active", "activating", "deactivating", "reloading")


def run(ctx: Context, timer: str) -> int:
    """Start a run, and report what it prints as ``output`` events; its exit status (128 plus a signal that ended it).

    It goes on when this program ends. It waits for a run of an older release, as every run does. Raises HostError when
    the release that serves has no such timer here, or a run is under way.
    """
    release = ctx.catalog.require_serving()
    unit = unit_name(ctx.app, timer, release.number, "service")
    if unit not in background.units_of(ctx, release.number).runs:
        raise _unknown(ctx, timer, [one.name for one in release.spec.timers])
    shown = systemd.properties([unit], "ActiveState", "InvocationID")[0]
    if shown.get("ActiveState") in _UNDER_WAY:
        raise HostError(
            f"a run of {timer} is under way",
            exit=Exit.BUSY,
            state="no second one was started: runs of a timer never overlap",
            next=command(f"fab logs --process {timer} -f", "follows it"),
        )
    systemd.require("start", "--no-block", unit)
    emit = masking.masked(ctx.emit, masking.stored_values(ctx.paths, release.number))
    if not _follow(unit, shown.get("InvocationID", ""), lambda line: emit("output", phase="run", line=line)):
        raise HostError(
            f"the run of {timer} was cancelled before it began",
            exit=Exit.MIXED,
            state="nothing was run",
            next=command("fab status", "shows what serves now: a deploy stops the timers of the release before it"),
        )
    end = systemd.end_of(unit)
    if end.status is not None:
        exitstatus.refuse_if_not_started(f"the run of {timer}", unit, end.status)
    if end.result == "timeout":
        raise HostError(
            f"the run of {timer} did not end within its timeout, and was stopped",
            exit=Exit.MIXED,
            state="what it did stays",
            next=command(f"fab logs --process {timer}"),
        )
    return end.status if end.status is not None else 128 + (end.signal or 0)


def _follow(unit: str, before: str, tell: Callable[[str], object]) -> bool:
    """Tell each line that the run prints, to its end. False when it never began."""
    while (start := _start_of(unit)) == before or not start:
        if not _is_under_way(unit) and _start_of(unit) in ("", before):
            return False
        time.sleep(_POLL)
    wanted, place = f"_SYSTEMD_INVOCATION_ID={start}", ["--no-tail"]
    argv = [*journald.COMMAND, "-f", *place, wanted]
    for portion in journald.portions(argv, runner.ENVIRONMENT, over=lambda: not _is_under_way(unit)):
        place = _tell(portion, tell) or place
    _tell_rest([wanted] if place == ["--no-tail"] else [*place, wanted], tell)
    return True


def _tell(portion: list[bytes], tell: Callable[[str], object]) -> list[str]:
    """How to go on behind what was told."""
    place: list[str] = []
    for entry in filter(None, map(journald.parse, portion)):
        for line in entry.lines:
            tell(line)
        place = [f"--after-cursor={entry.cursor}"] if entry.cursor else place
    return place


def _tell_rest(arguments: list[str], tell: Callable[[str], object]) -> None:
    """What journald had not written when the run ended."""
    for entry in journald.entries(arguments):
        for line in entry.lines:
            tell(line)


def _start_of(unit: str) -> str:
    return systemd.properties([unit], "InvocationID")[0].get("InvocationID", "")


def _is_under_way(unit: str) -> bool:
    state = systemd.show(unit)
    return state.active in _UNDER_WAY or state.queued


def _unknown(ctx: Context, timer: str, known: list[str]) -> HostError:
    has = f"there are: {', '.join(sorted(known))}" if known else "it has none"
    return HostError(
        f"{ctx.catalog.serving_name()} of {ctx.app} has no timer {timer!r} on this host; {has}",
        exit=Exit.USAGE,
        state="nothing was touched",
        next=command("fab timer.list"),
    )

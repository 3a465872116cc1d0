"""What runs on a host, in few words: is it up, what is it, what still finishes of older releases. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployer.remote.answers import Lingering, Status, TimerRow, UnitRow
from deployer.ui.text import age, clean, seconds
from deployer.wire.protocol import WEB

__all__ = ["condition", "failed", "finishing", "runs", "troubles"]


def condition(status: Status) -> tuple[bool | None, str]:
    """Whether all that runs on a host is well (None: nothing runs), and what is to be said about it.

    The web process is judged by what it answers, any other by whether it is up.
    """
    down = list(_down(status.units))
    health = clean(status.health)
    if down:
        return False, "; ".join([health] * (status.healthy is False and bool(health)) + down)
    if status.healthy and not health:
        return True, "all up"
    return status.healthy, health


def _down(units: Sequence[UnitRow]) -> Iterator[str]:
    """``worker is down``, or ``worker: 1 of 2 down``."""
    kinds = dict.fromkeys(unit.process for unit in units if unit.process != WEB)
    for kind in kinds:
        oks = [unit.ok for unit in units if unit.process == kind]
        if False in oks:
            yield clean(kind) + (f": {oks.count(False)} of {len(oks)} down" if True in oks else " is down")


def runs(status: Status, width: int) -> str:
    """``web, worker x2, 1 timer``, in so many columns: the rest is counted."""
    kinds = [unit.process for unit in status.units]
    parts = [clean(kind) + (f" x{kinds.count(kind)}" if kinds.count(kind) > 1 else "") for kind in dict.fromkeys(kinds)]
    timers = len(status.timers)
    parts += [f"{timers} timer" + ("s" if timers > 1 else "")] if timers else []
    for kept in range(len(parts), 1, -1):
        text = ", ".join(parts[:kept]) + (f" +{len(parts) - kept}" if kept < len(parts) else "")
        if len(text) <= width:
            return text
    return (parts[0] + (f" +{len(parts) - 1}" if len(parts) > 1 else "")) if parts else ""


def troubles(status: Status, now: float) -> Iterator[str]:
    """A sentence for each process that is not up, and each timer that does not do what it should."""
    for unit in status.units:
        if not unit.ok:
            sub = f" ({clean(unit.sub)})" if unit.sub not in ("", unit.active) else ""
            yield f"{clean(unit.name)} is {clean(unit.active)}{sub}"
    for timer in status.timers:
        if failed(timer):
            when = f", {age(timer.last, now)}" if timer.last else ""
            yield f"the last run of {clean(timer.process)} failed{when} ({clean(timer.result)})"
        elif not timer.ok:
            yield f"the timer {clean(timer.process)} is stopped"


def failed(timer: TimerRow) -> bool:
    """Whether its last run did."""
    return timer.result not in ("", "success")


def finishing(lingering: Sequence[Lingering], now: float) -> Iterator[str]:
    """``worker of v41 still finishes its job, since 12 s``: a sentence for each process of each release."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in lingering:
        found.setdefault((one.process, one.release), []).append(one.since)
    for (process, release), times in found.items():
        first = min((since for since in times if since), default=0.0)
        took = seconds(max(now - first, 0.0)) if first else ""
        what = "its job" if len(times) == 1 else f"{len(times)} jobs"
        since = f", {'since' if len(times) == 1 else 'the first since'} {took}" if took else ""
        yield f"{clean(process)} of {clean(release)} still finishes {what}{since}"

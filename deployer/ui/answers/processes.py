"""What runs on a host: its processes and timers as tables, and in few words whether all is up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from deployer.remote.answers import Lingering, Status, TimerRow, UnitRow
from deployer.ui.answers.table import light_table
from deployer.ui.style.text import age, ahead, clean, seconds, size
from deployer.wire.protocol import WEB

__all__ = ["condition", "finishing", "process_table", "runs", "timer_table", "troubles"]


def condition(status: Status) -> tuple[bool | None, str]:
    """Whether everything that runs on a host is up (None: nothing runs), and a remark on it.

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
        if has_failed(timer):
            when = f", {age(timer.last, now)}" if timer.last else ""
            yield f"the last run of {clean(timer.process)} failed{when} ({clean(timer.result)})"
        elif not timer.ok:
            yield f"the timer {clean(timer.process)} is stopped"


def has_failed(timer: TimerRow) -> bool:
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


def process_table(units: Sequence[UnitRow], now: float, *, names: bool) -> Table:
    """A row for each instance; with ``names`` also the unit that it is."""
    table = light_table("~process", "state", ">pid", ">memory", ">restarts", "since", *(["~unit"] if names else []))
    for unit in units:
        style = "bold red" if not unit.ok else "green" if unit.active == "active" else "yellow"
        state = Text(clean(unit.sub or unit.active), style=style)
        restarts = Text(str(unit.restarts), style="bold red" if unit.restarts else "dim")
        memory = size(unit.memory_bytes) if unit.memory_bytes else ""
        pid = str(unit.pid) if unit.pid else ""
        name = [Text(clean(unit.name), style="dim", overflow="fold")] if names else []
        table.add_row(clean(unit.instance), state, pid, memory, restarts, age(unit.since, now), *name)
    return table


def timer_table(timers: Sequence[TimerRow], now: float) -> Table:
    """A row for each timer: its next run and how its last one ended."""
    table = light_table("~timer", "next run", "last run", "~how it went")
    for timer in timers:
        last = age(timer.last, now) or "none yet"
        table.add_row(Text(clean(timer.process)), _next_run(timer, now), last, _last_run(timer))
    return table


def _next_run(timer: TimerRow, now: float) -> Text:
    if not (timer.ok or timer.running or has_failed(timer)):
        return Text("none: it is stopped", style="bold red")
    if timer.running and timer.next <= now:
        return Text("after this one", style="dim")
    return Text(ahead(timer.next, now) or "none")


def _last_run(timer: TimerRow) -> Text:
    """How the last run ended."""
    if timer.running:
        return Text("running now", style="yellow")
    if has_failed(timer):
        return Text(f"failed: {clean(timer.result)}", style="bold red")
    return Text("well", style="green") if timer.result else Text("")

"""The answer of ``fab status`` on one host, on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.remote.answers import Status, TimerRow, UnitRow
from deployer.ui import paint
from deployer.ui.answers.processes import condition, failed, finishing
from deployer.ui.answers.table import FAILED, STATES, console_for, light_table, what_of
from deployer.ui.fit import put
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.stream import safe
from deployer.ui.text import age, ahead, clean, seconds, size
from deployer.wire.protocol import WEB

__all__ = ["status_view"]

NARROW = 50
WIDE = 100
"""Columns that leave room for the names of units."""


def status_view(status: Status, *, json: bool = False, stream: TextIO | None = None, now: float | None = None) -> None:
    """What one app does on one host; with ``json`` one object on one line."""
    if json:
        return write_object(safe(stream or sys.stdout), as_object(status))
    now = time.time() if now is None else now
    console = console_for(stream)
    console.print(paint.header(status.app, status.host, console.width))
    _serving(console, status, now)
    _around(console, status, now)
    if status.units:
        put(console, _processes(status.units, now, names=console.width >= WIDE))
    if status.timers:
        put(console, _timers(status.timers, now))
    return None


def _serving(console: Console, status: Status, now: float) -> None:
    if status.current is None:
        _say(console, ("  ○ nothing serves yet", "yellow"), "; the first release: fab deploy")
        return
    since = f"; switched to it {age(status.since, now)}" if status.since else ""
    verb = "serves" if not status.units or any(unit.process == WEB for unit in status.units) else "runs"
    _say(console, ("  ● current  ", "bold green"), (clean(status.current), "bold"), f" {verb}{since}")
    if status.release:
        by = f" by {clean(status.release.by)}" if status.release.by else ""
        made = f", {age(status.release.at, now)}" if status.release.at else ""
        _say(console, "             ", what_of(status.release).plain.replace("\n", "; "), (f"{by}{made}", "dim"))
    healthy, text = condition(status)
    if healthy is not None:
        style, word = ("green", "healthy") if healthy else ("bold red", "not healthy")
        _say(console, "    health   ", (word, style), f": {text}" if text else "")
    if status.standby:
        _say(console, ("  ○ standby  ", "cyan"), clean(status.standby), (", served before", "dim"))


def _around(console: Console, status: Status, now: float) -> None:
    """What is there beside the release that serves: the last attempt when it came to nothing, one held, one at work."""
    if status.last and (status.last.state in FAILED or not (status.busy or status.held)):
        style = STATES.get(status.last.state, ("", "yellow"))[1]
        made = f", {age(status.last.at, now)}" if status.last.at else ""
        by = f" by {clean(status.last.by)}" if status.last.by else ""
        what = f" {clean(status.last.number)}, a {clean(status.last.kind) or 'deploy'}{by}{made}"
        _say(console, ("  ✗ last     ", style), (clean(status.last.state), style), what)
        if status.last.reason:
            _say(console, "             ", clean(status.last.reason))
    for sentence in finishing(status.lingering, now):
        _say(console, ("  … lingers  ", "yellow"), sentence)
    if status.held:
        left = f"has no traffic, and is held for {seconds(status.held.seconds)} more; then it is discarded"
        _say(console, ("  … held     ", "yellow"), (clean(status.held.release), "bold"), f" {left}")
    if status.busy:
        _say(console, ("  … busy     ", "bold yellow"), clean(str(status.busy)))
    for note in status.notes:
        _say(console, ("  ! note     ", "yellow"), clean(note))


def _say(console: Console, *parts: str | tuple[str, str]) -> None:
    """A label of 13 columns, and what there is to say of it."""
    paint.say(console, *parts, hang=13 if console.width > NARROW else 4)


def _processes(units: Sequence[UnitRow], now: float, *, names: bool) -> Table:
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


def _timers(timers: Sequence[TimerRow], now: float) -> Table:
    table = light_table("~timer", "next run", "last run", "~how it went")
    for timer in timers:
        table.add_row(Text(clean(timer.process)), _next(timer, now), age(timer.last, now) or "none yet", _ended(timer))
    return table


def _next(timer: TimerRow, now: float) -> Text:
    if not (timer.ok or timer.running or failed(timer)):
        return Text("none: it is stopped", style="bold red")
    if timer.running and timer.next <= now:
        return Text("after this one", style="dim")
    return Text(ahead(timer.next, now) or "none")


def _ended(timer: TimerRow) -> Text:
    """What became of the last run."""
    if timer.running:
        return Text("running now", style="yellow")
    if failed(timer):
        return Text(f"failed: {clean(timer.result)}", style="bold red")
    return Text("well", style="green") if timer.result else Text("")

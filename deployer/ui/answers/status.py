"""The answer of ``fab status``, on standard output: of one host everything, of several a row for each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import Maintenance, ReleaseRow, Status
from deployer.ui.answers.processes import condition, finishing, process_table, runs, timer_table, troubles
from deployer.ui.answers.table import (
    FAILED,
    STATES,
    begin,
    light_table,
    numbered,
    refer,
    what_of,
    write_answer,
)
from deployer.ui.plain.jsonlines import as_object
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names
from deployer.ui.style.text import age, clean, counted, seconds, size
from deployer.wire.protocol import WEB

__all__ = ["show_status"]

NARROW = 50
WIDE = 100
"""Columns that leave room for the names of units."""
MANY = 5
"""More hosts than these are counted by release before they are listed."""
NAMED = 3
"""Hosts that are named before a remark; more are counted."""
RUNS = (12, 26)
"""Columns for what a host runs: at least, at most."""
OTHERS = 62
"""Columns that the other cells of a row need beside the host's name."""


def show_status(
    statuses: Sequence[Status],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    hosts: Sequence[str] = (),
    next: str = "fab deploy",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """What an app does on each host; with ``json`` one object on one line.

    ``hosts`` says in which order they were named (left out: those that answered, then the others); ``next`` is what
    to type when they do not all serve the same release.
    """
    order = list(hosts) or [*(status.host for status in statuses), *(end.host for end in unreachable)]
    if json:
        return write_answer([*map(as_object, statuses)], unreachable, stream, order=order)
    now = time.time() if now is None else now
    console = begin(app or (statuses[0].app if statuses else ""), order, stream)
    if len(order) == 1 and statuses:
        return _one(console, statuses[0], now)
    return _several(console, statuses, unreachable, order, next, now)


# One host


def _one(console: Console, status: Status, now: float) -> None:
    _serving(console, status, now)
    if last := _last_attempt(status):
        _last(console, last, now)
    for sentence in finishing(status.lingering, now):
        _labelled(console, ("  … lingers  ", "yellow"), sentence)
    for label, style, text in _remarks(status):
        _labelled(console, (f"  {label:<11}", style), text)
    if status.units:
        put(console, process_table(status.units, now, names=console.width >= WIDE))
    if status.timers:
        put(console, timer_table(status.timers, now))


def _serving(console: Console, status: Status, now: float) -> None:
    if status.current is None:
        _labelled(console, ("  ○ nothing serves yet", "yellow"), "; the first release: fab deploy")
        return
    since = f"; switched to it {age(status.since, now)}" if status.since else ""
    verb = "serves" if not status.units or any(unit.process == WEB for unit in status.units) else "runs"
    _labelled(console, ("  ● current  ", "bold green"), (clean(status.current), "bold"), f" {verb}{since}")
    if status.release:
        what = what_of(status.release).plain.replace("\n", "; ")
        _labelled(console, "             ", what, (_made(status.release, now), "dim"))
    healthy, text = condition(status)
    if healthy is not None:
        style, word = ("green", "healthy") if healthy else ("bold red", "not healthy")
        _labelled(console, "    health   ", (word, style), f": {text}" if text else "")
    if status.standby:
        _labelled(console, ("  ○ standby  ", "cyan"), clean(status.standby), (", served before", "dim"))


def _last(console: Console, last: ReleaseRow, now: float) -> None:
    style = STATES.get(last.state, ("", "yellow"))[1]
    what = f" {clean(last.number)}, a {clean(last.kind) or 'deploy'}{_made(last, now)}"
    _labelled(console, ("  ✗ last     ", style), (clean(last.state), style), what)
    if last.reason:
        _labelled(console, "             ", clean(last.reason))


def _made(row: ReleaseRow, now: float) -> str:
    """`` by ada, 5 min ago``."""
    return (f" by {clean(row.by)}" if row.by else "") + (f", {age(row.at, now)}" if row.at else "")


def _labelled(console: Console, *parts: str | tuple[str, str]) -> None:
    """A label of 13 columns, and its text."""
    paint.say(console, *parts, hang=13 if console.width > NARROW else 4)


# Several hosts


def _several(
    console: Console,
    statuses: Sequence[Status],
    unreachable: Sequence[HostEnd],
    order: Sequence[str],
    next: str,
    now: float,
) -> None:
    names, usual = Names(order), _usual([status.current or "" for status in statuses])
    if len(order) > MANY:
        paint.say(console, "  ", *_by_release(statuses, unreachable, usual))
    _table(console, statuses, unreachable, order, names, usual, now)
    _remarks_below(console, statuses, names, now)
    for end in unreachable:
        paint.say(console, "  ", (refer(end, names), "red"))
    if difference := _difference(statuses, usual, names):
        busy = any(status.busy for status in statuses)
        command, does = ("fab attach", "follows what runs") if busy else (clean(next), "brings them in line")
        paint.say(console, ("! ", "bold yellow"), (f"{difference}: ", "bold red"), (command, "cyan"), f" {does}")


def _table(
    console: Console,
    statuses: Sequence[Status],
    unreachable: Sequence[HostEnd],
    order: Sequence[str],
    names: Names,
    usual: str,
    now: float,
) -> None:
    room = min(max(console.width - names.width - OTHERS, RUNS[0]), RUNS[1])
    roles = {status.host: runs(status, room) for status in statuses}
    alike = {role for role in roles.values() if role} <= {WEB}
    table = light_table("host", "release", "since", *([] if alike else ["runs"]), "~health", ">restarts", ">memory")
    rows = {one.host: list(_row(one, usual, None if alike else roles[one.host], now)) for one in statuses}
    rows |= {end.host: [Text(f"? {clean(end.result)}", style="bold red")] for end in unreachable}
    for host in order:
        table.add_row(Text(names(host)), *rows.get(host, []))
    put(console, table, names=0)


def _row(status: Status, usual: str, role: str | None, now: float) -> Iterator[Text]:
    """The cells of a host; ``role`` is what it runs (None: left out, as it is the same everywhere)."""
    current = clean(status.current or "")
    yield Text(f"● {current}" if current else "○ none", style="bold green" if status.current == usual else "bold red")
    yield Text(age(status.since, now))
    if role is not None:
        yield Text(role)
    healthy, text = condition(status)
    text = text or ("healthy" if healthy else "not healthy")
    style = "green" if healthy else "bold red"
    yield Text("") if healthy is None else Text(f"{'✓' if healthy else '✗'} {text}", style=style)
    restarts = sum(unit.restarts for unit in status.units)
    memory = sum(unit.memory_bytes for unit in status.units)
    yield Text(str(restarts) if status.units else "", style="bold red" if restarts else "dim")
    yield Text(size(memory) if memory else "")


def _remarks_below(console: Console, statuses: Sequence[Status], names: Names, now: float) -> None:
    """What there is beside the releases that serve, each remark once for all hosts that it is true of."""
    remarks: dict[tuple[str, str], list[str]] = {}
    lingering: dict[tuple[str, str], list[Status]] = {}
    for status in statuses:
        for remark in _short_remarks(status, now):
            remarks.setdefault(remark, []).append(status.host)
        for kind in dict.fromkeys((one.process, one.release) for one in status.lingering):
            lingering.setdefault(kind, []).append(status)
    for remark, on in remarks.items():
        paint.say(console, f"  {names.few(on, NAMED)}: ", remark)
    for kind, on_hosts in lingering.items():
        where = names.few([status.host for status in on_hosts], NAMED)
        left = [one for status in on_hosts for one in status.lingering if (one.process, one.release) == kind]
        for sentence in finishing(left, now):
            paint.say(console, f"  {where}: ", (sentence, "yellow"))


def _short_remarks(status: Status, now: float) -> Iterator[tuple[str, str]]:
    """Remarks on one of several hosts, with their styles."""
    for trouble in troubles(status, now):
        yield trouble, "bold red"
    for _, _, text in _remarks(status):
        yield text, "yellow"
    if last := _last_attempt(status):
        why = f": {clean(last.reason)}" if last.reason else ""
        yield f"{clean(last.number)} {clean(last.state)}{why}", "red"


def _usual(values: Sequence[str]) -> str:
    """The most common; of several the newest."""
    counts = Counter(value for value in values if value)
    return max(counts, key=lambda value: (counts[value], numbered(value)), default="")


def _by_release(statuses: Sequence[Status], unreachable: Sequence[HostEnd], usual: str) -> Iterator[tuple[str, str]]:
    """``v43: 19 hosts · v41: 1 host``."""
    counts = Counter(status.current or "" for status in statuses)
    for at, (release, count) in enumerate(counts.most_common()):
        style = "bold" if release == usual else "bold red"
        yield " · " if at else "", "dim"
        yield f"{clean(release) or 'nothing'}: {counted(count, 'host')}", style
    if unreachable:
        yield " · " if counts else "", "dim"
        yield f"not known: {counted(len(unreachable), 'host')}", "bold red"


def _difference(statuses: Sequence[Status], usual: str, names: Names) -> str:
    """``web3 serves v41, the others v43``; empty when all serve the same."""
    groups: dict[str, list[str]] = {}
    for status in statuses:
        groups.setdefault(status.current or "", []).append(status.host)
    if len(groups) < 2:
        return ""
    parts = [
        f"{names.few(hosts, NAMED)} {'serves' if len(hosts) == 1 else 'serve'} {clean(release) or 'nothing'}"
        for release, hosts in groups.items()
        if release != usual
    ]
    others = groups[usual]
    return ", ".join(parts) + (f", {names(others[0])}" if len(others) == 1 else ", the others") + f" {clean(usual)}"


# Both


def _last_attempt(status: Status) -> ReleaseRow | None:
    """The last attempt when it is worth a line: it failed, or nothing else shows what became of it."""
    last = status.last
    return last if last and (last.state in FAILED or not (status.busy or status.held)) else None


def _remarks(status: Status) -> Iterator[tuple[str, str, str]]:
    """Label, style and sentence for each thing beside the release that serves."""
    if status.maintenance:
        yield "! page", "bold yellow", _maintenance(status.maintenance)
        if not status.maintenance.up:
            yield "✗ page", "bold red", "it is not served: fab maintenance on, again, starts it"
    if status.held:
        left = seconds(status.held.seconds)
        text = f"{clean(status.held.release)} has no traffic, and is held for {left} more; then it is discarded"
        yield "… held", "yellow", text
    if status.busy:
        yield "… busy", "bold yellow", clean(str(status.busy))
    if status.lock:
        yield "! locked", "bold yellow", f"deploys are {clean(str(status.lock))}"
    for note in status.notes:
        yield "! note", "yellow", clean(note)


def _maintenance(found: Maintenance) -> str:
    """``maintenance is on since 12:03 by ada@laptop; …``."""
    since = time.strftime(" since %d %b %H:%M", time.localtime(found.since)) if found.since else ""
    by = f" by {clean(found.by)}" if found.by else ""
    but = f", but for {', '.join(map(clean, found.allow))}" if found.allow else ""
    stopped = "; processes and timers are stopped" if found.workers_stopped else ""
    return f"maintenance is on{since}{by}: visitors get its page{but}{stopped}"

"""The answer of ``fab status`` on a fleet, on standard output."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import Status
from deployer.ui import paint
from deployer.ui.answers.hoststatus import status_view
from deployer.ui.answers.processes import condition, finishing, runs, troubles
from deployer.ui.answers.releases import NAMED, counted, numbered, told
from deployer.ui.answers.table import FAILED, console_for, light_table
from deployer.ui.fit import put
from deployer.ui.names import Names
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.stream import safe
from deployer.ui.text import age, clean, seconds, size
from deployer.wire.protocol import WEB

__all__ = ["fleet_status"]

MANY = 5
"""More hosts than these are counted by release before they are listed."""
RUNS = (12, 26)
"""Columns for what a host runs: at least, at most."""
OTHERS = 62
"""Columns that the other cells of a row need beside the host's name."""


def fleet_status(
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
    """What an app does on each host of a fleet; with ``json`` one object on one line. One host alone is shown as ever.

    ``hosts`` says in which order they were named (left out: those that answered, then the others); ``next`` is what
    is to be typed when they do not all serve the same release.
    """
    if len(statuses) == 1 and not unreachable:
        return status_view(statuses[0], json=json, stream=stream, now=now)
    order = list(hosts) or [*(status.host for status in statuses), *(end.host for end in unreachable)]
    if json:
        objects = {one["host"]: one for one in (*map(as_object, statuses), *map(asdict, unreachable))}
        return write_object(safe(stream or sys.stdout), {"hosts": [objects[host] for host in order if host in objects]})
    now = time.time() if now is None else now
    console, names = console_for(stream), Names(order)
    app = app or (statuses[0].app if statuses else "")
    console.print(paint.header(app, f"{len(order)} hosts", console.width))
    usual = _usual([status.current or "" for status in statuses])
    if len(order) > MANY:
        paint.say(console, "  ", *_by_release(statuses, unreachable, usual))
    room = min(max(console.width - names.width - OTHERS, RUNS[0]), RUNS[1])
    roles = {status.host: runs(status, room) for status in statuses}
    alike = {role for role in roles.values() if role} <= {WEB}
    table = light_table("host", "release", "since", *([] if alike else ["runs"]), "~health", ">restarts", ">memory")
    rows = {one.host: list(_status(one, usual, None if alike else roles[one.host], now)) for one in statuses}
    rows |= {end.host: list(_unreachable(end)) for end in unreachable}
    for host in order:
        table.add_row(Text(names(host)), *rows.get(host, []))
    put(console, table, names=0)
    remarks: dict[tuple[str, str], list[str]] = {}
    for status in statuses:
        for remark in _remarks(status, now):
            remarks.setdefault(remark, []).append(status.host)
    for remark, on in remarks.items():
        paint.say(console, f"  {names.few(on, NAMED)}: ", remark)
    _linger(console, statuses, names, now)
    for end in unreachable:
        paint.say(console, "  ", (told(end, names), "red"))
    if skew := _skew(statuses, usual, names):
        busy = any(status.busy for status in statuses)
        command, does = ("fab attach", "follows what runs") if busy else (clean(next), "brings them in line")
        paint.say(console, ("! ", "bold yellow"), (f"{skew}: ", "bold red"), (command, "cyan"), f" {does}")
    return None


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
        yield f"{clean(release) or 'nothing'}: {counted(count)}", style
    if unreachable:
        yield " · " if counts else "", "dim"
        yield f"not known: {counted(len(unreachable))}", "bold red"


def _status(status: Status, usual: str, role: str | None, now: float) -> Iterator[Text]:
    """The cells of a host; ``role`` is what it runs (None: not told, as it is the same everywhere)."""
    current = clean(status.current or "")
    yield Text(f"● {current}" if current else "○ none", style="bold green" if status.current == usual else "bold red")
    yield Text(age(status.since, now))
    if role is not None:
        yield Text(role)
    healthy, text = condition(status)
    if healthy is None:
        yield Text("")
    else:
        text = text or ("healthy" if healthy else "not healthy")
        yield Text(f"{'✓' if healthy else '✗'} {text}", style="green" if healthy else "bold red")
    restarts = sum(unit.restarts for unit in status.units)
    memory = sum(unit.memory_bytes for unit in status.units)
    yield Text(str(restarts) if status.units else "", style="bold red" if restarts else "dim")
    yield Text(size(memory) if memory else "")


def _remarks(status: Status, now: float) -> Iterator[tuple[str, str]]:
    """What there is beside the release that serves."""
    for trouble in troubles(status, now):
        yield trouble, "bold red"
    if status.busy:
        yield clean(str(status.busy)), "yellow"
    if status.held:
        left = seconds(status.held.seconds)
        yield f"{clean(status.held.release)} is held for {left} more, without traffic", "yellow"
    for note in status.notes:
        yield clean(note), "yellow"
    if status.last and (status.last.state in FAILED or not (status.busy or status.held)):
        why = f": {clean(status.last.reason)}" if status.last.reason else ""
        yield f"{clean(status.last.number)} {clean(status.last.state)}{why}", "red"


def _linger(console: Console, statuses: Sequence[Status], names: Names, now: float) -> None:
    """What still finishes of older releases: told once for all hosts on which it is the same."""
    hosts: dict[tuple[str, str], list[Status]] = {}
    for status in statuses:
        for kind in dict.fromkeys((one.process, one.release) for one in status.lingering):
            hosts.setdefault(kind, []).append(status)
    for (process, release), on in hosts.items():
        where = names.few([status.host for status in on], NAMED)
        left = [one for status in on for one in status.lingering if (one.process, one.release) == (process, release)]
        for sentence in finishing(left, now):
            paint.say(console, f"  {where}: ", (sentence, "yellow"))


def _unreachable(end: HostEnd) -> Iterator[Text]:
    yield Text(f"? {clean(end.result)}", style="bold red")


def _skew(statuses: Sequence[Status], usual: str, names: Names) -> str:
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

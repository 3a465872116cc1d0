"""The answers of ``fab status`` and ``fab releases`` on a fleet, on standard output."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from rich.text import Text

from deployer.events import HostEnd
from deployer.report import ReleaseRow, Status
from deployer.ui import paint
from deployer.ui.jsonlines import write_object
from deployer.ui.names import Names
from deployer.ui.outcome import detail
from deployer.ui.stream import safe
from deployer.ui.tables import FAILED, STATES, console_for, light_table, releases_table, status_view, what_of
from deployer.ui.text import age, clean, seconds, size

__all__ = ["counted", "fleet_releases", "fleet_status"]

MANY = 5
"""More hosts than these are counted by release before they are listed."""
WIDEST = 30
"""Columns that names of hosts may take in a cell."""
NAMED = 3
"""Hosts that are named where their releases differ; more are counted."""


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
        objects = {one["host"]: one for one in (*map(asdict, statuses), *map(asdict, unreachable))}
        return write_object(safe(stream or sys.stdout), {"hosts": [objects[host] for host in order if host in objects]})
    now = time.time() if now is None else now
    console, names = console_for(stream), Names(order)
    app = app or (statuses[0].app if statuses else "")
    console.print(paint.header(app, f"{len(order)} hosts", console.width))
    usual = _usual([status.current or "" for status in statuses])
    if len(order) > MANY:
        paint.say(console, "  ", *_by_release(statuses, unreachable, usual))
    table = light_table("~host", "release", "since", "~health", ">restarts", ">memory")
    rows = {status.host: list(_status(status, usual, now)) for status in statuses}
    rows |= {end.host: list(_unreachable(end)) for end in unreachable}
    for host in order:
        table.add_row(Text(names(host)), *rows.get(host, []))
    console.print(table)
    for status in statuses:
        for remark in _remarks(status):
            paint.say(console, f"  {names(status.host)}: ", remark)
    for end in unreachable:
        paint.say(console, "  ", (_of(end, names), "red"))
    if skew := _skew(statuses, usual, names):
        runs = any(status.busy for status in statuses)
        what = (("fab attach", "cyan"), " follows what runs") if runs else ((clean(next), "cyan"), " makes them one")
        paint.say(console, ("! ", "bold yellow"), (f"{skew}: ", "bold red"), *what)
    return None


def fleet_releases(
    rows_by_host: Mapping[str, Sequence[ReleaseRow]],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """All releases of an app on the hosts of a fleet, the newest first; with ``json`` one object on one line.

    One host alone is shown as ever.
    """
    if len(rows_by_host) == 1 and not unreachable:
        (host, rows), *_ = rows_by_host.items()
        return releases_table(rows, app=app, host=host, json=json, stream=stream, now=now)
    if json:
        found = [
            {"app": app, "host": host, "releases": [asdict(row) for row in rows]} for host, rows in rows_by_host.items()
        ]
        return write_object(safe(stream or sys.stdout), {"hosts": [*found, *map(asdict, unreachable)]})
    now = time.time() if now is None else now
    console, names = console_for(stream), Names([*rows_by_host, *(end.host for end in unreachable)])
    console.print(paint.header(app, f"{len(rows_by_host) + len(unreachable)} hosts", console.width))
    releases = _merged(rows_by_host)
    if releases:
        table = light_table("  release", "~state", "made", "~what", "~hosts")
        table.columns[1].max_width = table.columns[4].max_width = WIDEST
        for holders in releases:
            table.add_row(*_release(holders, list(rows_by_host), names, now))
        console.print(table)
    elif rows_by_host:
        paint.say(console, "no releases yet; the first one: fab deploy")
    for end in unreachable:
        paint.say(console, ("✗ ", "bold red"), _of(end, names))
    return None


def _of(end: HostEnd, names: Names) -> str:
    """``web3: busy``; a reason that begins with the host's name says it itself."""
    host, why = names(end.host), detail(end)
    return why if why.startswith((f"{host} ", f"{clean(end.host)} ")) else f"{host}: {why}"


def counted(count: int, noun: str = "host") -> str:
    """``1 host``, ``3 hosts``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _usual(values: Sequence[str]) -> str:
    """The most common; of several the newest."""
    counts = Counter(value for value in values if value)
    return max(counts, key=lambda value: (counts[value], _number(value)), default="")


def _number(release: str) -> int:
    return int(release[1:]) if release[1:].isdigit() else 0


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


def _status(status: Status, usual: str, now: float) -> Iterator[Text]:
    current = clean(status.current or "")
    yield Text(f"● {current}" if current else "○ none", style="bold green" if status.current == usual else "bold red")
    yield Text(age(status.since, now))
    health = clean(status.health) or ("healthy" if status.healthy else "not healthy")
    if status.healthy is None:
        yield Text("")
    else:
        yield Text(f"{'✓' if status.healthy else '✗'} {health}", style="green" if status.healthy else "bold red")
    restarts = sum(unit.restarts for unit in status.units)
    memory = sum(unit.memory_bytes for unit in status.units)
    yield Text(str(restarts) if status.units else "", style="bold red" if restarts else "dim")
    yield Text(size(memory) if memory else "")


def _remarks(status: Status) -> Iterator[tuple[str, str]]:
    """What there is beside the release that serves."""
    for unit in status.units:
        if unit.active not in ("active", "activating", "reloading"):
            yield f"{clean(unit.name)} is {clean(unit.sub or unit.active)}", "bold red"
    if status.busy:
        yield clean(status.busy), "yellow"
    if status.held:
        left = seconds(status.held.seconds)
        yield f"{clean(status.held.release)} is held for {left} more, without traffic", "yellow"
    if status.last and (status.last.state in FAILED or not (status.busy or status.held)):
        why = f": {clean(status.last.reason)}" if status.last.reason else ""
        yield f"{clean(status.last.number)} {clean(status.last.state)}{why}", "red"


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


def _merged(rows_by_host: Mapping[str, Sequence[ReleaseRow]]) -> list[dict[str, ReleaseRow]]:
    """The row of each host that has a release, for each release: those with one number and one origin."""
    merged: dict[tuple[object, ...], dict[str, ReleaseRow]] = {}
    for host, rows in rows_by_host.items():
        for row in rows:
            key = (row.number, row.kind, row.commit, row.dirty, row.of)
            merged.setdefault(key, {}).setdefault(host, row)
    return sorted(merged.values(), key=lambda held: -_number(next(iter(held.values())).number))


def _release(held: Mapping[str, ReleaseRow], hosts: Sequence[str], names: Names, now: float) -> Iterator[Text]:
    states: dict[str, list[str]] = {}
    for host, row in held.items():
        states.setdefault(row.state, []).append(host)
    first = next(iter(held.values()))
    mark, style = STATES.get(first.state, (" ", "dim")) if len(states) == 1 else ("!", "bold red")
    yield Text(f"{mark} {clean(first.number)}", style=style)
    if len(states) == 1:
        yield Text(clean(first.state), style=style)
    else:
        usual = max(states, key=lambda state: len(states[state]))
        ways = (f"{clean(state)} on {_few(on, names)}" for state, on in states.items() if state != usual)
        yield Text("\n".join((clean(usual), *ways)), style=style)
    yield Text(age(max(row.at for row in held.values()), now))
    yield what_of(next((row for row in held.values() if row.reason), first))
    missing = [host for host in hosts if host not in held]
    if not missing:
        yield Text("all", style="dim")
    elif len(missing) <= NAMED and len(missing) < len(held):
        yield Text(f"all but {names.few(missing, NAMED)}", style="yellow")
    else:
        yield Text(_few(list(held), names), style="yellow")


def _few(hosts: Sequence[str], names: Names) -> str:
    return names.few(hosts) if len(hosts) <= NAMED else counted(len(hosts))

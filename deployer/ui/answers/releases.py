"""The answer of ``fab releases`` on a fleet, on standard output; and words for hosts that all its answers share."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import ReleaseRow
from deployer.ui import paint
from deployer.ui.answers.table import STATES, console_for, light_table, releases_table, what_of
from deployer.ui.fit import put
from deployer.ui.names import Names
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.progress.outcome import detail
from deployer.ui.stream import safe
from deployer.ui.text import age, clean

__all__ = ["NAMED", "counted", "fleet_releases", "numbered", "told"]

WIDEST = 30
"""Columns that names of hosts may take in a cell."""
ROOMY, NAME = 110, 20
"""Columns of a window that has room for whole names, and those of a name in a narrower one."""
NAMED = 3
"""Hosts that are named where their releases differ; more are counted."""


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
        found = [{"app": app, "host": host, "releases": [*map(as_object, rows)]} for host, rows in rows_by_host.items()]
        return write_object(safe(stream or sys.stdout), {"hosts": [*found, *map(asdict, unreachable)]})
    now = time.time() if now is None else now
    console = console_for(stream)
    longest = NAME if console.is_terminal and console.width < ROOMY else 0
    names = Names([*rows_by_host, *(end.host for end in unreachable)], longest=longest)
    console.print(paint.header(app, f"{len(rows_by_host) + len(unreachable)} hosts", console.width))
    releases = _merged(rows_by_host)
    if releases:
        table = light_table("  release", "~state", "made", "~what", "~hosts")
        table.columns[1].max_width = table.columns[4].max_width = WIDEST
        for holders in releases:
            table.add_row(*_release(holders, list(rows_by_host), names, now))
        put(console, table)
    elif rows_by_host:
        paint.say(console, "no releases yet; the first one: fab deploy")
    for end in unreachable:
        paint.say(console, ("✗ ", "bold red"), told(end, names))
    return None


def told(end: HostEnd, names: Names) -> str:
    """``web3: busy``; a reason that begins with the host's name says it itself."""
    host = names(end.host)
    why = detail(end).replace(clean(end.host), host)
    return why if why.startswith(f"{host} ") else f"{host}: {why}"


def counted(count: int, noun: str = "host") -> str:
    """``1 host``, ``3 hosts``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def numbered(release: str) -> int:
    return int(release[1:]) if release[1:].isdigit() else 0


def _merged(rows_by_host: Mapping[str, Sequence[ReleaseRow]]) -> list[dict[str, ReleaseRow]]:
    """The row of each host that has a release, for each release: those with one number and one origin."""
    merged: dict[tuple[object, ...], dict[str, ReleaseRow]] = {}
    for host, rows in rows_by_host.items():
        for row in rows:
            key = (row.number, row.kind, row.commit, row.dirty, row.of)
            merged.setdefault(key, {}).setdefault(host, row)
    return sorted(merged.values(), key=lambda held: -numbered(next(iter(held.values())).number))


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

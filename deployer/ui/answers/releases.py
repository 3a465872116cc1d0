"""The answer of ``fab releases``, on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import ReleaseRow
from deployer.ui.answers.table import (
    STATES,
    begin,
    light_table,
    numbered,
    say_unreachable,
    what_of,
    write_answer,
)
from deployer.ui.plain.jsonlines import as_object
from deployer.ui.style import paint
from deployer.ui.style.fit import put
from deployer.ui.style.names import Names
from deployer.ui.style.text import age, clean, counted, size

__all__ = ["show_releases"]

WIDEST = 30
"""Columns that names of hosts may take in a cell."""
ROOMY, NAME = 110, 20
"""Columns of a window that has room for whole names, and those of a name in a narrower one."""
NAMED = 3
"""Hosts that are named where their releases differ; more are counted."""
LONGEST_BY = 12
"""Columns for who made a release."""


def show_releases(
    rows_by_host: Mapping[str, Sequence[ReleaseRow]],
    unreachable: Sequence[HostEnd] = (),
    *,
    app: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """All releases of an app, the newest first; with ``json`` one object on one line.

    Of one host who made each and its size are shown, of several which of them have it.
    """
    if json:
        found = [{"app": app, "host": host, "releases": [*map(as_object, rows)]} for host, rows in rows_by_host.items()]
        return write_answer(found, unreachable, stream)
    now = time.time() if now is None else now
    hosts = [*rows_by_host, *(end.host for end in unreachable)]
    console = begin(app, hosts, stream)
    names = Names(hosts, longest=NAME if console.is_terminal and console.width < ROOMY else 0)
    one = len(hosts) == 1
    releases = _merged(rows_by_host)
    if releases:
        columns = ("made", "by", "~what", ">size") if one else ("made", "~what", "~hosts")
        table = light_table("  release", "~state", *columns)
        table.columns[1].max_width = WIDEST
        if not one:
            table.columns[-1].max_width = WIDEST
        for held in releases:
            table.add_row(*_release(held, list(rows_by_host), names, now, one=one))
        put(console, table)
    elif rows_by_host:
        paint.say(console, "no releases yet; the first one: fab deploy")
    say_unreachable(console, unreachable, names)
    return None


def _merged(rows_by_host: Mapping[str, Sequence[ReleaseRow]]) -> list[dict[str, ReleaseRow]]:
    """The row of each host that has a release, for each release: those with one number and one origin."""
    merged: dict[tuple[object, ...], dict[str, ReleaseRow]] = {}
    for host, rows in rows_by_host.items():
        for row in rows:
            key = (row.number, row.kind, row.commit, row.dirty, row.of)
            merged.setdefault(key, {}).setdefault(host, row)
    return sorted(merged.values(), key=lambda held: -numbered(next(iter(held.values())).number))


def _release(
    held: Mapping[str, ReleaseRow], hosts: Sequence[str], names: Names, now: float, *, one: bool
) -> Iterator[Text]:
    """The cells of a release; ``held`` is what each host that has it says of it."""
    first = next(iter(held.values()))
    yield from _number_and_state(held, names)
    yield Text(age(max(row.at for row in held.values()), now))
    if one:
        yield _short(first.by)
    yield what_of(next((row for row in held.values() if row.reason), first))
    yield Text(size(first.size) if first.size else "") if one else _holders(held, hosts, names)


def _number_and_state(held: Mapping[str, ReleaseRow], names: Names) -> Iterator[Text]:
    """Where hosts disagree, which of them are in another state than most."""
    states: dict[str, list[str]] = {}
    for host, row in held.items():
        states.setdefault(row.state, []).append(host)
    first = next(iter(held.values()))
    mark, style = STATES.get(first.state, (" ", "dim")) if len(states) == 1 else ("!", "bold red")
    yield Text(f"{mark} {clean(first.number)}", style=style)
    usual = max(states, key=lambda state: len(states[state]))
    others = (f"{clean(state)} on {_few(on, names)}" for state, on in states.items() if state != usual)
    yield Text("\n".join((clean(usual), *others)), style=style)


def _holders(held: Mapping[str, ReleaseRow], hosts: Sequence[str], names: Names) -> Text:
    missing = [host for host in hosts if host not in held]
    if not missing:
        return Text("all", style="dim")
    if len(missing) <= NAMED and len(missing) < len(held):
        return Text(f"all but {names.few(missing, NAMED)}", style="yellow")
    return Text(_few(list(held), names), style="yellow")


def _few(hosts: Sequence[str], names: Names) -> str:
    return names.few(hosts) if len(hosts) <= NAMED else counted(len(hosts), "host")


def _short(by: str) -> Text:
    short = Text(clean(by))
    short.truncate(LONGEST_BY, overflow="ellipsis")
    return short

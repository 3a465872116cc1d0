"""What all answers share: the console, headings, tables, unreachable hosts, and one JSON object for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.events import HostEnd
from deployer.remote.answers import ReleaseRow
from deployer.ui.live.reporter import console_on
from deployer.ui.plain.jsonlines import write_object
from deployer.ui.progress.outcome import detail
from deployer.ui.stream import safe
from deployer.ui.style import paint
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, commit, counted

__all__ = [
    "FAILED", "STATES", "begin", "console_for", "light_table", "numbered", "refer", "say_unreachable", "what_of",
    "write_answer",
]  # fmt: skip

STATES = {
    "current": ("●", "bold green"),
    "standby": ("○", "cyan"),
    "preparing": ("…", "yellow"),
    "failed": ("✗", "red"),
    "rolled back": ("✗", "red"),
    "interrupted": ("✗", "red"),
    "unfinished": ("✗", "yellow"),
}
FAILED = ("failed", "rolled back", "interrupted")
PIPED_WIDTH = 200


def console_for(stream: TextIO | None) -> Console:
    """Standard output; when it is not a terminal, wide enough that nothing is folded."""
    stream = stream or sys.stdout
    return console_on(stream, width=None if stream.isatty() else PIPED_WIDTH)


def begin(app: str, hosts: Sequence[str], stream: TextIO | None) -> Console:
    """The console, with the heading of the answer: the app, and its host or how many they are."""
    console = console_for(stream)
    console.print(paint.header(app, hosts[0] if len(hosts) == 1 else counted(len(hosts), "host"), console.width))
    return console


def write_answer(
    found: Sequence[dict[str, Any]], unreachable: Sequence[HostEnd], stream: TextIO | None, *, order: Sequence[str] = ()
) -> None:
    """One line of JSON: of one host its object, of several ``{"hosts": [...]}``, in ``order`` if that is given."""
    objects = [*found, *map(asdict, unreachable)]
    if order:
        place = {host: at for at, host in enumerate(order)}
        objects = sorted((one for one in objects if one["host"] in place), key=lambda one: place[one["host"]])
    write_object(safe(stream or sys.stdout), objects[0] if len(objects) == 1 else {"hosts": objects})


def refer(end: HostEnd, names: Names) -> str:
    """``web3: busy``; a reason that begins with the host's name names it itself."""
    host = names(end.host)
    why = detail(end).replace(clean(end.host), host)
    return why if why.startswith(f"{host} ") else f"{host}: {why}"


def say_unreachable(console: Console, unreachable: Sequence[HostEnd], names: Names) -> None:
    for end in unreachable:
        paint.say(console, ("✗ ", "bold red"), (refer(end, names), "red"))


def light_table(*columns: str) -> Table:
    """A light table; ``>`` before a heading sets the column to the right, ``~`` lets it wrap."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.lstrip(">~"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=not column.startswith("~"),
            overflow="fold",
        )
    return table


def what_of(row: ReleaseRow) -> Text:
    """What a release is made of; in a second line why it failed, or a remark on a good one."""
    parts = [clean(row.kind), clean(row.ref), commit(row.commit)]
    text = Text(" ".join(part for part in parts if part), overflow="fold")
    text.append(" + local changes" if row.dirty else "", style="yellow")
    text.append(f", parts of {clean(row.of)}" if row.of else "", style="dim")
    if row.reason:
        text.append(f"\n{clean(row.reason)}", style="red" if row.state in FAILED else "yellow")
    return text


def numbered(release: str) -> int:
    """43 of ``v43``; 0 of what is no release."""
    return int(release[1:]) if release[1:].isdigit() else 0

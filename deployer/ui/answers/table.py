"""The answer of ``fab releases`` on one host, on standard output, and what tables share."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.remote.answers import ReleaseRow
from deployer.ui import paint
from deployer.ui.fit import put
from deployer.ui.live.reporter import console_on
from deployer.ui.plain.jsonlines import as_object, write_object
from deployer.ui.stream import safe
from deployer.ui.text import age, clean, commit, size

__all__ = ["FAILED", "STATES", "console_for", "light_table", "releases_table", "what_of"]

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


def releases_table(
    rows: Sequence[ReleaseRow],
    *,
    app: str = "",
    host: str = "",
    json: bool = False,
    stream: TextIO | None = None,
    now: float | None = None,
) -> None:
    """All releases of an app on one host, in the order given; with ``json`` one object on one line."""
    if json:
        answer = {"app": app, "host": host, "releases": [as_object(row) for row in rows]}
        return write_object(safe(stream or sys.stdout), answer)
    console = console_for(stream)
    if app or host:
        console.print(paint.header(app, host, console.width))
    if not rows:
        return paint.say(console, "no releases yet; the first one: fab deploy")
    table = light_table("  release", "state", "made", "by", "~what", ">size")
    for row in rows:
        mark, style = STATES.get(row.state, (" ", "dim"))
        state = Text(clean(row.state), style=style)
        made = age(row.at, time.time() if now is None else now)
        name = Text(f"{mark} {clean(row.number)}", style=style)
        table.add_row(name, state, made, _short(row.by, 12), what_of(row), size(row.size) if row.size else "")
    return put(console, table)


def what_of(row: ReleaseRow) -> Text:
    """What a release is made of, and on a line of its own why it failed, or what befell one that is good."""
    parts = [clean(row.kind), clean(row.ref), commit(row.commit)]
    text = Text(" ".join(part for part in parts if part), overflow="fold")
    text.append(" + local changes" if row.dirty else "", style="yellow")
    text.append(f", parts of {clean(row.of)}" if row.of else "", style="dim")
    if row.reason:
        text.append(f"\n{clean(row.reason)}", style="red" if row.state in FAILED else "yellow")
    return text


def _short(text: str, width: int) -> Text:
    short = Text(clean(text))
    short.truncate(width, overflow="ellipsis")
    return short


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


def console_for(stream: TextIO | None) -> Console:
    """Standard output; when it is not a terminal, wide enough that nothing is folded."""
    stream = stream or sys.stdout
    return console_on(stream, width=None if stream.isatty() else PIPED_WIDTH)

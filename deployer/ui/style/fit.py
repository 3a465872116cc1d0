"""What fits into a window: words that are not broken, names shortened in the middle, tables that become lists."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.ui.style.text import middle
from deployer.wire.lazyre import pattern

__all__ = ["flowing", "put"]

NARROWEST_NAME = 14
"""Columns that a shortened name has at least."""
WRAPPED = 20
"""Columns that text which is wrapped is given at least."""

ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)
"""A rule below the headings, where a terminal knows no other."""

_WORD = pattern(r"\s*\S+")


def flowing(text: Text, width: int, hang: int = 2) -> Text:
    """The text in rows of ``width`` columns, no word broken that fits into one; further rows are indented.

    It stays one line: rows are filled up with blanks, and the terminal goes on in the next. So a command in it is
    copied without a line break, which would run the first half of it.
    """
    if width <= hang + 1 or text.cell_len <= width:
        return text
    parts: list[Text] = []
    column = 0
    for found in _WORD.finditer(text.plain):
        word = text[found.start() : found.end()]
        bare = found[0].lstrip()
        if column and column + word.cell_len > width and hang + cell_len(bare) <= width:
            parts.append(Text(" " * (width - column + hang)))
            column = hang
            word = text[found.end() - len(bare) : found.end()]
        parts.append(word)
        column = column + word.cell_len
        column = column if column <= width else column % width
    return Text.assemble(*parts)


def put(console: Console, table: Table, *, names: int | None = None) -> None:
    """The table; where it would have to break words or lose columns, a list with one row below the other.

    ``names`` is the column that has names of hosts: before that they are shortened.
    """
    if console.options.ascii_only:
        table.box = ASCII_HEAD
    if console.is_terminal and names is not None:
        _shorten(table, names, _needs(table) - console.width)
    if not console.is_terminal or _needs(table) <= console.width:
        console.print(table)
        return
    headings = [_plain(column.header) for column in table.columns]
    margin = max(map(cell_len, headings), default=0) + 2
    for cells in zip(*(list(column.cells) for column in table.columns), strict=True):
        for line in _stacked(headings, [_text(cell) for cell in cells], margin, console.width):
            console.print(line, soft_wrap=True)


def _shorten(table: Table, at: int, excess: int) -> None:
    """Take so many columns off the names, if they are long enough for that."""
    column = table.columns[at]
    widest = max((_text(cell).cell_len for cell in column.cells), default=0)
    room = widest - max(excess, 0)
    if excess > 0 and room >= NARROWEST_NAME:
        column._cells[:] = [Text(middle(_plain(cell), room), style=_text(cell).style) for cell in column._cells]


def _needs(table: Table) -> int:
    """Columns that a table needs: of text that may be wrapped the longest word and some more, else all of it."""
    widths = []
    for column in table.columns:
        lines = [line for cell in (column.header, *column.cells) for line in _text(cell).plain.splitlines()]
        whole = max(map(cell_len, lines), default=0)
        word = max((cell_len(word) for line in lines for word in line.split()), default=0)
        widths.append(whole if column.no_wrap else max(word, min(whole, WRAPPED)))
    return sum(widths) + sum(table.padding[1:4:2]) * len(widths) + 1


def _stacked(headings: list[str], cells: list[Text], margin: int, width: int) -> Iterator[Text]:
    first, *more = cells
    for at, line in enumerate(first.split("\n")):
        line.stylize("bold")
        yield flowing(Text.assemble("  " if at else "", line), width)
    for heading, cell in zip(headings[1:], more, strict=True):
        for at, line in enumerate(cell.split("\n") if cell.plain.strip() else ()):
            title = Text(f"  {'' if at else heading:<{margin}}", style="dim")
            yield flowing(Text.assemble(title, line), width, min(margin + 2, width // 3))


def _text(value: object) -> Text:
    return value if isinstance(value, Text) else Text(str(value))


def _plain(value: object) -> str:
    return _text(value).plain.strip()

"""The matrix as people read it: a table for each command, a row for each boundary, a column for each accident."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.support.faults.case import Cell

TITLES = {
    "laptop": "the laptop dies",
    "job": "the host program dies",
    "session": "the session dies",
    "abort": "`fab abort`",
    "network": "the network is cut",
    "plug": "the plug is pulled",
    "full": "the disk is full",
    "kill": "the host program dies",
}


AT_WRITES = ("full", "kill")
"""Accidents at the writes of a job; the others are at its events, and have rows of their own."""


def markdown(cells: Iterable[Cell]) -> str:
    """All cells, as Markdown. A cell says what served afterwards and how many requests failed of how many."""
    tables: dict[tuple[str, bool], list[Cell]] = {}
    for cell in cells:
        tables.setdefault((cell.command, cell.fault in AT_WRITES), []).append(cell)
    return "\n".join(_table(command, found) for (command, _), found in tables.items())


def _table(command: str, cells: Sequence[Cell]) -> str:
    found = {(cell.boundary, cell.fault): cell for cell in cells}
    columns = [fault for fault in TITLES if any(cell.fault == fault for cell in cells)]
    rows = max(([cell.boundary for cell in cells if cell.fault == fault] for fault in columns), key=len)
    lines = [
        f"| `fab {command}`, right after | {' | '.join(TITLES[fault] for fault in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    for row in rows:
        shown = (_cell(found.get((row, fault))) for fault in columns)
        lines.append(f"| {row} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    mark = " ✗" if cell.problems else ""
    return f"{cell.serves}, {cell.failed} of {cell.sent}{mark}"


def line(cell: Cell) -> str:
    """One case, as it ends, with all that was not as it must be."""
    told = f"{cell.command} / {cell.boundary} / {cell.fault}: {_cell(cell)}, {cell.seconds:.1f} s, exit {cell.exit}\n"
    return told + "".join(f"    {what}\n" for what in cell.problems)


def problems(cells: Iterable[Cell]) -> str:
    """All that was not as it must be, for people."""
    return "\n".join(
        f"{cell.command} / {cell.boundary} / {cell.fault}: {what}" for cell in cells for what in cell.problems
    )

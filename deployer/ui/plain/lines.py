"""Plain lines of events, failures and ends. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from deployer import events as ev
from deployer.ui.progress.outcome import FleetOutcome, detail, last_lines, served
from deployer.ui.stream import can_unicode
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, clean_lines, seconds
from deployer.wire.advice import Next

__all__ = ["MARKS", "end_lines", "failure_lines", "log_lines", "marks_for", "phase_lines"]

MARKS = {"done": "✓", "skipped": "–", "failed": "✗", "warn": "!"}
WORDS = {"done": "ok", "skipped": "--", "failed": "FAILED", "warn": "WARNING"}


def marks_for(stream: TextIO) -> Mapping[str, str]:
    """Marks that ``stream`` can carry, or words in their place."""
    return MARKS if can_unicode(stream) else WORDS


def phase_lines(event: ev.Event, marks: Mapping[str, str]) -> Iterator[str]:
    """A line where a phase begins and one where it ends: ``✓ build (1.2 s): 3 packages``."""
    match event:
        case ev.Connected():
            yield _done(marks["done"], "connect", event.seconds, event.detail)
        case ev.PhaseStarted():
            yield f"{clean(event.phase)} ... {clean(event.detail)}"
        case ev.PhaseDone():
            yield _done(marks["done"], event.phase, event.seconds, event.detail)
        case ev.PhaseFailed():
            yield _done(marks["failed"], event.phase, event.seconds, event.detail)
        case ev.PhaseSkipped():
            yield f"{marks['skipped']} {clean(event.phase)}" + (f": {clean(event.detail)}" if event.detail else "")


def _done(mark: str, name: str, took: float, detail: str) -> str:
    return f"{mark} {clean(name)} ({seconds(took)})" + (f": {clean(detail)}" if detail else "")


def failure_lines(
    event: ev.Failed,
    logs: ev.Logs | None = None,
    *,
    shown: Sequence[str] = (),
    mark: str = "✗",
    whole: bool = False,
) -> Iterator[str]:
    """Message, log lines (in short; unless they are the end of ``shown``), state, next command."""
    message = clean_lines(event.message) or ["failed"]
    yield f"{mark} {message[0]}"
    yield from (f"  {line}" for line in message[1:])
    if last := last_lines(logs, event.logs, shown=shown, whole=whole):
        yield from log_lines(last)
    yield from _advice_lines(event.state, event.next)


def _advice_lines(state: str, next: Next) -> Iterator[str]:
    """The state that everything is in, and what to type next."""
    yield from (f"state: {line}" for line in clean_lines(state))
    yield from (f"next: {line}" for line in clean_lines(str(next)))


def log_lines(logs: ev.Logs) -> Iterator[str]:
    """Lines of a journal, below a heading."""
    yield f"--- {clean(logs.unit) or 'last log lines'} ---"
    yield from map(clean, logs.lines)


def end_lines(outcome: FleetOutcome, names: Names, marks: Mapping[str, str] = MARKS) -> Iterator[str]:
    """One line when all agree; else every host's outcome, what explains the failures, and what to type now."""
    end, pace = outcome.end, outcome.pace(names)
    if outcome.rows and not outcome.agreed:
        yield from _table(outcome, names)
    elif pace:
        yield pace
    for panel in outcome.panels:
        yield from log_lines(panel)
    if outcome.panels:
        yield "---"
    if outcome.left_out:
        yield f"the lines of {names.few(outcome.left_out)} are not shown here"
    after = f" ({seconds(end.seconds)})" if end.seconds else ""
    if verdict := clean_lines(outcome.verdict):
        first, *more = verdict
        yield f"{marks['failed' if end.exit else 'done']} {first}{after}"
        yield from more
    yield from _advice_lines(end.state, end.next)


def _table(outcome: FleetOutcome, names: Names) -> Iterator[str]:
    """Columns as wide as they need be; none that is empty."""
    serves = any(row.serving for row in outcome.rows)
    rows = [
        (
            names(row.host),
            clean(row.result),
            served(row) if serves else "",
            seconds(row.seconds) if row.seconds else "",
            detail(row),
        )
        for row in outcome.rows
    ]
    columns = zip(("host", "outcome", "serves", "time", "detail"), zip(*rows, strict=True), strict=True)
    kept = [(heading, *cells) for heading, cells in columns if any(cells)]
    widths = [max(map(len, column)) for column in kept]
    for cells in zip(*kept, strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))

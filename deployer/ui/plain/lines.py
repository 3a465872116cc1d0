"""The words of plain lines, for one host and for a fleet. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from deployer import events as ev
from deployer.ui.progress.digest import excerpt
from deployer.ui.stream import can_unicode
from deployer.ui.text import clean, clean_lines
from deployer.wire.advice import Next

__all__ = ["advice_lines", "failure_lines", "log_lines", "marks_for", "phase_line"]

MARKS = {"done": "✓", "skipped": "–", "failed": "✗", "warn": "!"}
WORDS = {"done": "ok", "skipped": "--", "failed": "FAILED", "warn": "WARNING"}


def marks_for(stream: TextIO) -> Mapping[str, str]:
    """Marks that ``stream`` can carry, or words in their place."""
    return MARKS if can_unicode(stream) else WORDS


def phase_line(mark: str, name: str, took: str, detail: str) -> str:
    """``✓ build (1.2 s): 3 packages``."""
    return f"{mark} {clean(name)}" + (f" ({took})" if took else "") + (f": {clean(detail)}" if detail else "")


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
    lines = event.logs or (logs.lines if logs else ())
    if lines and tuple(shown[-len(lines) :]) != tuple(lines):
        title, short = excerpt(logs.unit if logs else "", lines, whole=whole)
        yield from log_lines(ev.Logs(unit=title, lines=tuple(short)))
    yield from advice_lines(event.state, event.next)


def advice_lines(state: str, next: Next) -> Iterator[str]:
    """The state everything is in, and what to type now."""
    yield from (f"state: {line}" for line in clean_lines(state))
    yield from (f"next: {line}" for line in clean_lines(str(next)))


def log_lines(logs: ev.Logs) -> Iterator[str]:
    """Lines of a journal, below a heading."""
    yield f"--- {clean(logs.unit) or 'last log lines'} ---"
    yield from map(clean, logs.lines)

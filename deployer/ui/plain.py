"""Plain lines for logs and pipes: one a thing that happened, no colours, no cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TextIO

from deployer import events as ev
from deployer.ui.board import Board, Section
from deployer.ui.question import Part, Pause
from deployer.ui.stream import can_unicode, safe
from deployer.ui.text import clean, clean_lines, queue, seconds, size

__all__ = ["PlainReporter", "failure_lines"]

_MARKS = {"done": "✓", "skipped": "–", "failed": "✗", "warn": "!"}
_WORDS = {"done": "ok", "skipped": "--", "failed": "FAILED", "warn": "WARNING"}

STEP_PERCENT = 10
STEP_SECONDS = 5.0


class PlainReporter:
    """Writes a line an event that matters; a failing phase brings the whole output of its command."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        title: str = "",
        hosts: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._verbose, self._title, self._clock = safe(stream), verbose, clean(title), clock
        self._marks = _MARKS if can_unicode(stream) else _WORDS
        self._board = Board(hosts)
        self._progress: dict[str, tuple[float, int]] = {}
        self._lock = Lock()

    def __call__(self, event: ev.Event) -> None:
        with self._lock:
            known = event.host in self._board.sections
            self._board.apply(event, self._clock())
            section = self._board.section(event.host)
            lines = [*(() if known else self._header(event.host)), *self._lines(event, section)]
            prefix = f"[{clean(event.host)}] " if event.host and self._board.many() else ""
            self._stream.write("".join(f"{prefix}{line}".rstrip() + "\n" for line in lines))
            self._stream.flush()
            if self._board.settled():
                self._board.sections.clear()

    def close(self) -> None:
        """Print log lines that no failure followed."""
        with self._lock:
            for section in self._board.sections.values():
                if section.logs:
                    self._stream.write("".join(f"{line}\n" for line in _log_lines(section.logs)))
            self._stream.flush()

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """Lines are lines: nothing has to stand still."""
        yield Pause(self._put)

    def _put(self, end: str, *parts: Part) -> None:
        self._stream.write("".join(part if isinstance(part, str) else part[0] for part in parts) + end)
        self._stream.flush()

    def _header(self, host: str) -> Iterator[str]:
        if self._title and host:
            yield f"{self._title} → {clean(host)}"

    def _lines(self, event: ev.Event, section: Section) -> Iterator[str]:
        match event:
            case ev.Connected():
                yield self._line("done", "connect", event.seconds, event.detail)
            case ev.PhaseStarted():
                yield f"{clean(event.phase)} ... {clean(event.detail)}"
            case ev.PhaseDone():
                yield self._line("done", event.phase, event.seconds, event.detail)
            case ev.PhaseSkipped():
                yield self._line("skipped", event.phase, 0.0, event.detail)
            case ev.PhaseFailed():
                yield self._line("failed", event.phase, event.seconds, event.detail)
            case ev.Progress():
                yield from self._progress_line(event)
            case ev.Waiting():
                yield f"wait ... {clean(queue(event))}"
            case ev.Output() if self._verbose:
                yield f"  {clean(event.phase)} | {clean(event.line)}"
            case ev.Switched():
                yield f"{clean(event.to)} serves" + (f", after {clean(event.previous)}" if event.previous else "")
            case ev.Note():
                yield from clean_lines(event.text)
            case ev.Warn():
                yield from (f"{self._marks['warn']} {line}" for line in clean_lines(event.text))
            case ev.Logs() if not section.in_phase():
                section.logs = None
                yield from map(clean, event.lines)
            case ev.Failed():
                yield from self._failed(event, section)
            case ev.Finished() if ending := section.ending():
                mark = self._marks["failed" if event.exit else "done"]
                after = f" ({seconds(event.seconds)})" if event.seconds else ""
                yield f"{mark} {clean(ending)}{after}"

    def _line(self, state: str, name: str, took: float, detail: str) -> str:
        time_taken = f" ({seconds(took)})" if state != "skipped" else ""
        what = f": {clean(detail)}" if detail else ""
        return f"{self._marks[state]} {clean(name)}{time_taken}{what}"

    def _progress_line(self, event: ev.Progress) -> Iterator[str]:
        """A line when both enough time and enough bytes have passed since the last one."""
        now, percent = self._clock(), 100 * event.done // max(event.total, 1)
        key = f"{event.host}\0{event.phase}"
        since, last = self._progress.setdefault(key, (now, percent))
        if percent < last:
            self._progress[key] = (now, percent)
        elif now - since >= STEP_SECONDS and percent - last >= STEP_PERCENT:
            self._progress[key] = (now, percent)
            yield f"{clean(event.phase)} ... {percent} % of {size(event.total)}"

    def _failed(self, event: ev.Failed, section: Section) -> Iterator[str]:
        shown: list[str] = []
        for row in section.rows:
            if row.state == "failed" and row.output and not self._verbose:
                shown += row.output
                yield f"--- output of {clean(row.name)} ---"
                yield from map(clean, row.output)
            row.output.clear()
        logs, section.logs = section.logs, None
        yield from failure_lines(event, logs, shown=shown, mark=self._marks["failed"])


def failure_lines(
    event: ev.Failed, logs: ev.Logs | None = None, *, shown: Sequence[str] = (), mark: str = "✗"
) -> Iterator[str]:
    """Message, log lines (unless they are the end of ``shown``), state, next command."""
    message = clean_lines(event.message) or ["failed"]
    yield f"{mark} {message[0]}"
    yield from (f"  {line}" for line in message[1:])
    lines = event.logs or (logs.lines if logs else ())
    if lines and tuple(shown[-len(lines) :]) != tuple(lines):
        yield from _log_lines(ev.Logs(unit=logs.unit if logs else "", lines=tuple(lines)))
    yield from (f"state: {line}" for line in clean_lines(event.state))
    yield from (f"next: {line}" for line in clean_lines(event.next))


def _log_lines(logs: ev.Logs) -> Iterator[str]:
    yield f"--- {clean(logs.unit) or 'last log lines'} ---"
    yield from map(clean, logs.lines)

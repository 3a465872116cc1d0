"""The live view for terminals: what each host is doing, in place; what was said stays above it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer import events as ev
from deployer.ui import paint
from deployer.ui.board import Board, Section
from deployer.ui.question import Part, Pause
from deployer.ui.stream import safe
from deployer.ui.text import clean, clean_lines

__all__ = ["ConsoleReporter", "console_on"]


def console_on(stream: TextIO, *, width: int | None = None) -> Console:
    """A console that interprets nothing in the text it is given."""
    return Console(file=safe(stream), width=width, markup=False, highlight=False, emoji=False)


class ConsoleReporter:
    """Draws the phases of every host in place; when all have ended, leaves them, the failures and a summary.

    Two locks, always taken in this order: ``_turn`` for one event at a time, ``_state`` around the board,
    which the drawing thread reads. Nothing is printed under ``_state``.
    """

    def __init__(
        self,
        console: Console,
        *,
        verbose: bool = False,
        title: str = "",
        hosts: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._verbose, self._title, self._clock = console, verbose, title, clock
        self._hosts = hosts
        self._board = Board(hosts)
        self._live: Live | None = None
        self._closed = self._paused = False
        self._turn, self._state = Lock(), Lock()

    def __call__(self, event: ev.Event) -> None:
        with self._turn:
            if self._closed:
                return
            with self._state:
                self._board.apply(event, self._clock())
                section = self._board.section(event.host)
            if isinstance(event, (ev.Connecting, ev.PhaseStarted)):
                self._start()
            self._say(event, section)
            if self._board.settled():
                self._settle()

    def close(self) -> None:
        """Give the terminal back, and print all that was held."""
        with self._turn:
            self._closed = True
            self._settle()

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """The view stands still, and the terminal is somebody else's; afterwards what they said is wiped away."""
        pause = Pause(self._put)
        with self._turn:
            was_live = self._live is not None
            self._stop()
            self._paused = True
            frame = self._frame()
            for line in frame:
                self._put("\n", line)
        try:
            yield pause
        finally:
            with self._turn:
                self._paused = False
                self._console.file.write(f"\x1b[{len(frame) + pause.lines}A\r\x1b[J")
                if was_live:
                    self._start()

    def _put(self, end: str, *parts: Part | Text) -> None:
        self._console.print(Text.assemble(*parts), end=end, no_wrap=True, overflow="ellipsis")

    def draw(self) -> RenderableType:
        """What is on the screen now: all of it, or what is running when the window is too low."""
        return Group(*self._frame())

    def _frame(self) -> list[Text]:
        with self._state:
            lines = self._lines(running_only=False)
            if len(lines) >= self._console.height:
                lines = self._lines(running_only=True)
        return lines[: max(self._console.height - 1, 1)]

    def _lines(self, *, running_only: bool) -> list[Text]:
        lines: list[Text] = []
        for section in self._board.sections.values():
            blocks = zip(section.rows, paint.rows(section, self._clock(), self._console.width), strict=True)
            kept = [block for row, block in blocks if not running_only or row.state == "running"]
            if section.rows:
                lines.append(paint.header(self._title, section.host, self._console.width))
            lines += [line for block in kept for line in block]
        return lines

    def _start(self) -> None:
        if self._live is None and not self._paused:
            self._live = Live(
                get_renderable=self.draw,
                console=self._console,
                refresh_per_second=12.5,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=self._console.file is sys.stderr,
            )
            self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _say(self, event: ev.Event, section: Section) -> None:
        """What is said at once, above the live part."""
        where = f"{clean(event.host)}: " if self._board.many() and event.host else ""
        match event:
            case ev.Note():
                for line in clean_lines(event.text):
                    paint.say(self._console, (where, "cyan"), line)
            case ev.Warn():
                for line in clean_lines(event.text):
                    paint.say(self._console, ("! ", "bold yellow"), (f"{where}{line}", "yellow"))
            case ev.Output() if self._verbose:
                paint.say(self._console, (f"  {where}{clean(event.phase)} │ ", "dim"), clean(event.line))
            case ev.Logs() if not section.in_phase():
                section.logs = None
                self._stop()
                for line in event.lines:
                    paint.say(self._console, (where, "cyan"), clean(line))

    def _settle(self) -> None:
        """Replace the live part by what is to stay, and begin anew."""
        self._stop()
        now = self._clock()
        for section in self._board.sections.values():
            section.end_running("left", now)
            if section.worth_keeping() and section.rows:
                self._console.print(paint.header(self._title, section.host, self._console.width))
                for block in paint.rows(section, now, self._console.width):
                    self._console.print(Group(*block))
        for section in self._board.sections.values():
            self._end(section)
        self._board = Board(self._hosts)

    def _end(self, section: Section) -> None:
        shown: list[str] = []
        for row in section.rows:
            if row.state == "failed" and row.output and not self._verbose:
                shown += row.output
                left_out = row.printed - len(row.output)
                title = f"output of {row.name}" + (f", without its first {left_out} lines" if left_out else "")
                paint.panel(self._console, title, row.output)
        host = section.host if self._board.many() else ""
        for failed in section.failures:
            self._console.print()
            paint.failure(self._console, failed, section.logs, shown=shown, host=host)
        if section.logs and not section.failures:
            paint.panel(self._console, section.logs.unit, section.logs.lines)
        if section.failures and section.finished:
            self._console.print()
        if section.finished:
            paint.summary(self._console, section, section.finished, many=self._board.many())

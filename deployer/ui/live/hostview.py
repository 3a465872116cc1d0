"""The live view of a command on one host: a row for each phase."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.text import Text

from deployer import events as ev
from deployer.ui import paint
from deployer.ui.progress.host import Board, Section
from deployer.ui.text import clean, clean_lines

__all__ = ["HostView"]


class HostView:
    """Draws the phases; when all have ended, leaves them, the failure and a summary."""

    def __init__(self, *, title: str = "", hosts: Sequence[str] = (), verbose: bool = False) -> None:
        self._title, self._hosts, self._verbose = title, hosts, verbose
        self._board = Board(hosts)

    def apply(self, event: ev.Event, now: float) -> None:
        self._board.apply(event, now)

    def settled(self) -> bool:
        return self._board.settled()

    def frame(self, now: float, width: int, height: int) -> list[Text]:
        """All of it, or what is running when the window is too low."""
        lines = self._lines(now, width, running_only=False)
        if len(lines) >= height:
            lines = self._lines(now, width, running_only=True)
        return lines[: max(height - 1, 1)]

    def _lines(self, now: float, width: int, *, running_only: bool) -> list[Text]:
        lines: list[Text] = []
        for section in self._board.sections.values():
            blocks = zip(section.rows, paint.rows(section, now, width), strict=True)
            kept = [block for row, block in blocks if not running_only or row.state == "running"]
            if section.rows:
                lines.append(paint.header(self._title, section.host, width))
            lines += [line for block in kept for line in block]
        return lines

    def ends_live(self, event: ev.Event) -> bool:
        """Log lines are the answer of a host that does not work at anything."""
        return isinstance(event, ev.Logs) and not self._board.section(event.host).in_phase()

    def say(self, event: ev.Event, console: Console) -> None:
        section = self._board.section(event.host)
        match event:
            case ev.Note():
                for line in clean_lines(event.text):
                    paint.say(console, line)
            case ev.Warn():
                for line in clean_lines(event.text):
                    paint.say(console, ("! ", "bold yellow"), (line, "yellow"))
            case ev.Output() if self._verbose:
                paint.raw(console, (f"  {clean(event.phase)} │ ", "dim"), clean(event.line))
            case ev.Logs() if not section.in_phase():
                section.logs = None
                for line in event.lines:
                    paint.raw(console, clean(line))

    def settle(self, console: Console, now: float) -> None:
        for section in self._board.sections.values():
            section.end_running("left", now)
            if section.worth_keeping() and section.rows:
                console.print(paint.header(self._title, section.host, console.width))
                for block in paint.rows(section, now, console.width):
                    console.print(Group(*block))
        for section in self._board.sections.values():
            self._end(section, console)
        self._board = Board(self._hosts)

    def _end(self, section: Section, console: Console) -> None:
        shown: list[str] = []
        for title, lines in () if self._verbose else section.failed_output():
            shown += lines
            paint.panel(console, title, lines)
        for failed in section.failures:
            console.print()
            paint.failure(console, failed, section.logs, shown=shown, whole=self._verbose)
        if section.logs and not section.failures:
            paint.panel(console, section.logs.unit, section.logs.lines)
        if section.failures and section.finished:
            console.print()
        if section.finished:
            paint.summary(console, section, section.finished)

"""The live view of a command on a fleet: how many hosts are at what, and a line for each that is worth one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from deployer import events as ev
from deployer.ui import paint
from deployer.ui.live import hosts as paintfleet
from deployer.ui.names import Names
from deployer.ui.progress.command import Roster
from deployer.ui.progress.outcome import outcome_of, unfinished
from deployer.ui.progress.said import Said
from deployer.ui.text import clean, clean_lines

__all__ = ["FleetView"]


class FleetView:
    """Draws as many hosts as fit; at the fleet's end leaves every host's outcome, what explains it, and a summary."""

    def __init__(self, *, title: str = "", hosts: Sequence[str], verbose: bool = False) -> None:
        self._title, self._hosts, self._verbose = title, hosts, verbose
        self._names = Names(hosts)
        self._roster, self._said = Roster(hosts), Said()

    def apply(self, event: ev.Event, now: float) -> None:
        self._roster.apply(event, now)

    def settled(self) -> bool:
        return self._roster.end is not None

    def frame(self, now: float, width: int, height: int) -> list[Text]:
        return self._frame(self._roster, now, width, height)

    def _frame(self, roster: Roster, now: float, width: int, height: int) -> list[Text]:
        room = max(height - 1, 1)
        top = [
            paintfleet.header(self._title, roster, now, width),
            paintfleet.counts(roster, width),
            *paintfleet.here(roster, now, width),
        ]
        shown, rest = roster.worth(room - len(top))
        if rest:
            shown, rest = roster.worth(room - len(top) - 1)
        lines = paintfleet.hosts(shown, self._names, now, width)
        return [*top, *lines, *([paintfleet.others(rest, width)] if rest else [])][:room]

    def ends_live(self, event: ev.Event) -> bool:
        return isinstance(event, ev.FleetFinished)

    def say(self, event: ev.Event, console: Console) -> None:
        host = self._names(event.host)
        where = f"{host}: " if host else ""
        match event:
            case ev.Note():
                for line in clean_lines(event.text) if self._said.new(event) else ():
                    paint.say(console, (where, "cyan"), line)
            case ev.Warn():
                for line in clean_lines(event.text) if self._said.new(event) else ():
                    paint.say(console, ("! ", "bold yellow"), (f"{where}{line}", "yellow"))
            case ev.Output() if self._verbose:
                paint.raw(console, (f"  {where}{clean(event.phase)} │ ", "dim"), clean(event.line))

    def settle(self, console: Console, now: float) -> None:
        roster, said = self._roster, self._said
        self._roster, self._said = Roster(self._hosts), Said()
        if roster.begun is None:
            return
        for warning, hosts, text in said.repeated():
            style = "yellow" if warning else "cyan"
            paint.say(
                console, ("! " if warning else "", "bold yellow"), (f"also on {self._names.few(hosts)}: ", style), text
            )
        if roster.end is None:
            self._left(roster, console, now)
            return
        end = replace(roster.end, seconds=max(roster.end.seconds, roster.elapsed(now)))
        outcome = outcome_of(end, roster.board, self._names, verbose=self._verbose)
        console.print(paintfleet.header(self._title, roster, None, console.width))
        paintfleet.outcome(console, outcome, self._names)

    def _left(self, roster: Roster, console: Console, now: float) -> None:
        """The command ends without the end of its fleet: where each host was, and what went wrong."""
        failures = list(unfinished(roster, now))
        for line in self._frame(roster, now, console.width, console.height) if roster.worked() else ():
            console.print(line)
        for failed in failures:
            console.print()
            section = roster.board.section(failed.host)
            for title, lines in () if self._verbose else section.failed_output():
                paint.panel(console, title, lines)
            paint.failure(console, failed, section.logs, host=self._names(failed.host), whole=self._verbose)

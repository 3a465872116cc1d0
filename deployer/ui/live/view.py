"""The live view of a command on N >= 1 hosts: what is drawn while it runs, printed above that, and left at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.text import Text

from deployer import events as ev
from deployer.ui.live import hosts
from deployer.ui.live.phases import phases
from deployer.ui.progress.command import CommandProgress, Dedupe
from deployer.ui.progress.host import HostProgress
from deployer.ui.progress.outcome import outcome_of
from deployer.ui.style import paint
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, clean_lines, seconds

__all__ = ["View"]


class View:
    """Draws each phase of one host, or a line for each of several. At the end it prints what was done, what explains a
    failure, and a summary. Not thread-safe: its owner locks."""

    def __init__(self, *, title: str = "", hosts: Sequence[str] = (), verbose: bool = False) -> None:
        self._title, self._hosts, self._verbose = title, hosts, verbose
        self._names = Names(hosts)
        self._progress, self._dedupe = CommandProgress(hosts), Dedupe()

    def apply(self, event: ev.Event, now: float) -> None:
        self._progress.apply(event, now)

    def settled(self) -> bool:
        """Whether the command has come to its end."""
        return self._progress.end is not None

    def ends_live(self, event: ev.Event) -> bool:
        """Whether the event ends the live part."""
        return isinstance(event, ev.Logs) and self._progress.is_answer(event)

    def frame(self, now: float, width: int, height: int) -> list[Text]:
        """The live part: fewer lines than ``height``, none longer than ``width``."""
        room = max(height - 1, 1)
        draw = self._several if self._progress.many else self._one
        return draw(self._progress, now, width, room)

    def say(self, event: ev.Event, console: Console) -> None:
        """Print what is not drawn: notes, warnings, output and logs."""
        where = self._where(event.host)
        match event:
            case ev.Note() if self._dedupe.is_first(event):
                for line in clean_lines(event.text):
                    paint.say(console, (where, "cyan"), line)
            case ev.Warn() if self._dedupe.is_first(event):
                for line in clean_lines(event.text):
                    paint.say(console, ("! ", "bold yellow"), (f"{where}{line}", "yellow"))
            case ev.Output() if self._verbose:
                paint.raw(console, (f"  {where}{clean(event.phase)} │ ", "dim"), clean(event.line))
            case ev.Logs() if self._progress.is_answer(event):
                self._progress.host(event.host).logs = None
                for line in event.lines:
                    paint.raw(console, clean(line))

    def settle(self, console: Console, now: float) -> None:
        """Print what stays, and be ready for another command."""
        progress, dedupe = self._progress, self._dedupe
        self._progress, self._dedupe = CommandProgress(self._hosts), Dedupe()
        if progress.begun is None:
            return
        for warning, others, text in dedupe.repeats():
            style = "yellow" if warning else "cyan"
            also = f"also on {self._names.few(others)}: "
            paint.say(console, ("! " if warning else "", "bold yellow"), (also, style), text)
        if progress.end and progress.many:
            console.print(self._header(progress, console.width))
        else:
            self._leave(progress, console, now)
        if progress.end:
            outcome = outcome_of(progress.end, progress, self._names, verbose=self._verbose)
            hosts.outcome(console, outcome, self._names)

    def _header(self, progress: CommandProgress, width: int, now: float | None = None) -> Text:
        """What runs, and where; of several hosts also which release they get, and for how long it has run."""
        if not progress.many:
            return paint.header(self._title, next((host.name for host in progress.hosts), ""), width)
        text = paint.header(self._title, f"{len(progress.hosts)} hosts", width)
        text.append(f"  {clean(progress.release)}" if progress.release else "", style="bold")
        text.append(f"  {seconds(progress.elapsed(now))}" if now is not None else "", style="dim")
        return paint.cut(text, width)

    def _one(self, progress: CommandProgress, now: float, width: int, room: int) -> list[Text]:
        """Each phase, or those that are running when the window is too low."""
        blocks = [block for host in progress.by_host.values() for block in phases(host, now, width)]
        lines = [self._header(progress, width), *(line for _, lines in blocks for line in lines)]
        if len(lines) > room:
            lines = [lines[0], *(line for phase, lines in blocks if phase.state == "running" for line in lines)]
        return lines[:room] if blocks else []

    def _several(self, progress: CommandProgress, now: float, width: int, room: int) -> list[Text]:
        """As many hosts as fit; the others are counted."""
        top = [
            self._header(progress, width, now),
            hosts.counts(progress, width),
            *hosts.here(progress, now, width),
        ]
        shown, others = progress.ranked(room - len(top))
        if others:
            shown, others = progress.ranked(room - len(top) - 1)
        rest = [hosts.others(others, width)] if others else []
        return [*top, *hosts.lines(shown, self._names, now, width), *rest][:room]

    def _leave(self, progress: CommandProgress, console: Console, now: float) -> None:
        """Where the hosts are at the end, and what went wrong."""
        progress.leave(now)
        if progress.worked():
            self._print_progress(progress, console, now)
        failed = [host for host in progress.by_host.values() if host.failures and not host.undone]
        for host in failed:
            self._explain(host, console)
        for host in progress.by_host.values():
            if host.logs and not host.failures:
                paint.panel(console, self._where(host.name) + host.logs.unit, host.logs.lines)
        if failed and progress.end:
            console.print()

    def _print_progress(self, progress: CommandProgress, console: Console, now: float) -> None:
        """As it was drawn last; of one host all phases, however low the window is."""
        if progress.many:
            for line in self._several(progress, now, console.width, max(console.height - 1, 1)):
                console.print(line)
            return
        console.print(self._header(progress, console.width))
        for host in progress.by_host.values():
            for _, lines in phases(host, now, console.width):
                console.print(Group(*lines))

    def _explain(self, host: HostProgress, console: Console) -> None:
        """The output of what failed, then each failure with its last lines."""
        shown: list[str] = []
        for logs in () if self._verbose else host.failed_output():
            shown += logs.lines
            paint.panel(console, self._where(host.name) + logs.unit, logs.lines)
        for failed in host.failures:
            console.print()
            where = self._names(host.name) if self._progress.many else ""
            paint.failure(console, failed, host.logs, shown=shown, host=where, whole=self._verbose)

    def _where(self, host: str) -> str:
        """The beginning of a line about one of several hosts."""
        return f"{self._names(host)}: " if host and self._progress.many else ""

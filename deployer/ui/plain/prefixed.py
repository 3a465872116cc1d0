"""Lines of many hosts as they come, each with its host: ``fab logs -f`` and ``fab run``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from deployer import events as ev
from deployer.ui import is_live
from deployer.ui.plain.lines import end_lines, failure_lines, marks_for
from deployer.ui.progress.command import CommandProgress
from deployer.ui.progress.outcome import outcome_of
from deployer.ui.question import Part, Pause
from deployer.ui.stream import safe
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, clean_lines
from deployer.ui.suspendable import SuspendableReporter

__all__ = ["PrefixedReporter"]

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_yellow")

Write = Callable[[str, Sequence[str]], None]
"""Writes lines of a host (empty: of none)."""


class PrefixedReporter(SuspendableReporter):
    """Writes the lines of ``Logs`` and ``Output`` on ``stream``, and what goes wrong on ``errors``.

    One host has no prefix. On a terminal each has a colour, which depends on its place among ``hosts``.
    """

    def __init__(self, stream: TextIO, *, errors: TextIO | None = None, hosts: Sequence[str] = ()) -> None:
        super().__init__()
        errors = errors or sys.stderr
        self._names, self._progress = Names(hosts), CommandProgress(hosts)
        self._many = self._progress.many
        self._marks = marks_for(errors)
        colours = {host: COLOURS[at % len(COLOURS)] for at, host in enumerate(hosts)}
        self._put = self._writer(stream, colours)
        self._complain = self._writer(errors, colours, flows=True)

    def _take(self, event: ev.Event, now: float) -> None:  # noqa: ARG002
        match event:
            case ev.Logs():
                self._put(event.host, event.lines)
            case ev.Output():
                self._put(event.host, [event.line])
            case ev.Note():
                self._complain(event.host, clean_lines(event.text))
            case ev.Warn():
                self._complain(event.host, [f"{self._marks['warn']} {line}" for line in clean_lines(event.text)])
            case ev.Failed():
                self._complain(event.host, list(failure_lines(event, mark=self._marks["failed"])))
            case ev.FleetFinished():
                self._end(event)

    def _end(self, event: ev.FleetFinished) -> None:
        """The lines were the answer: success needs no further line."""
        outcome = outcome_of(event, self._progress, self._names)
        if not outcome.agreed:
            self._complain("", list(end_lines(outcome, self._names, self._marks)))

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """Nothing is written meanwhile."""

        def put(end: str, *parts: Part) -> None:
            sys.stderr.write("".join(part if isinstance(part, str) else part[0] for part in parts) + end)
            sys.stderr.flush()

        with self.aside():
            yield Pause(put)

    def _called(self, host: str) -> str:
        """One host, or several with the same message."""
        return self._names.few(host.split(", "))

    def _writer(self, stream: TextIO, colours: dict[str, str], *, flows: bool = False) -> Write:
        """With ``flows`` a terminal breaks lines between words."""
        if is_live(stream) and (self._many or flows):
            return self._coloured(stream, colours, flows=flows)
        stream = safe(stream)

        def write(host: str, lines: Sequence[str]) -> None:
            where = f"{self._called(host)}: " if host and self._many else ""
            stream.write("".join(f"{where}{clean(line)}\n" for line in lines))
            stream.flush()

        return write

    def _coloured(self, stream: TextIO, colours: dict[str, str], *, flows: bool) -> Write:
        from rich.text import Text

        from deployer.ui.live.reporter import console_on
        from deployer.ui.style.fit import flowing

        console = console_on(stream)

        def write(host: str, lines: Sequence[str]) -> None:
            whole = []
            for line in lines:
                text = Text()
                if host and self._many:
                    text.append(f"{self._called(host):<{self._names.width}} │ ", style=colours.get(host, "dim"))
                text.append(clean(line))
                whole.append(flowing(text, console.width) if flows else text)
            if whole:
                console.print(Text("\n").join(whole), soft_wrap=True)

        return write

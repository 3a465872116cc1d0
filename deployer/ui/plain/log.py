"""The plain lines of a command on a fleet: what matters of each host, and the rest summed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployer import events as ev
from deployer.ui.names import Names
from deployer.ui.plain.lines import MARKS, advice_lines, failure_lines, log_lines, phase_line
from deployer.ui.progress.command import Roster, stage_of
from deployer.ui.progress.host import HOOKS, Section
from deployer.ui.progress.outcome import Outcome, detail, outcome_of, served, unfinished
from deployer.ui.progress.said import Said
from deployer.ui.text import clean, clean_lines, queue, seconds

__all__ = ["FleetLog"]

QUIET = (10.0, 60.0)
"""Seconds of silence after which the log says where the hosts are; doubled while nothing changes, up to the second."""
OWN = ("read", "migrate", "wait")
"""Phases that are not the same on all hosts, or of none: each has its lines."""


@dataclass(slots=True)
class Sum:
    """A phase on all hosts that have done it."""

    hosts: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    details: set[str] = field(default_factory=set)
    told: bool = False

    def add(self, event: ev.PhaseDone | ev.PhaseSkipped) -> None:
        self.hosts.add(event.host)
        self.details.add(event.detail)
        if isinstance(event, ev.PhaseDone):
            self.times.append(event.seconds)

    def line(self, mark: str, name: str, of: int) -> str:
        """``✓ build: 50 of 50 hosts (1.2 s to 4.0 s)``, and what they all say of it."""
        low, high = (seconds(min(self.times)), seconds(max(self.times))) if self.times else ("", "")
        took = f" ({low})" if low == high else f" ({low} to {high})"
        same = f": {clean(next(iter(self.details)))}" if len(self.details) == 1 and self.details != {""} else ""
        return f"{mark} {clean(name)}: {len(self.hosts)} of {of} hosts{took if low else ''}{same}"


class FleetLog:
    """Connections, switches, migrations, hooks, warnings and failures have a line for each host; phases one for all."""

    def __init__(
        self, *, title: str = "", hosts: Sequence[str], verbose: bool = False, marks: Mapping[str, str] = MARKS
    ) -> None:
        self._title, self._hosts, self._verbose, self._marks = clean(title), hosts, verbose, marks
        self._names = Names(hosts)
        self._begin()

    def _begin(self) -> None:
        self._roster, self._said = Roster(self._hosts), Said()
        self._sums: dict[str, Sum] = {}
        self._last, self._quiet, self._counts = 0.0, QUIET[0], ""

    def lines(self, event: ev.Event, now: float) -> Iterator[str]:
        header = self._roster.begun is None
        section = self._roster.board.section(event.host)
        innocent = self._roster.gives_up(section)
        self._roster.apply(event, now)
        lines = list(self._lines(event, innocent, now))
        if header and self._title and not isinstance(event, ev.FleetFinished):
            lines.insert(0, f"{self._title} → {len(self._hosts)} hosts: {self._names.few(self._hosts, 8)}")
        if lines:
            self._last = now
        yield from lines
        if self._roster.end:
            self._begin()

    def beat(self, now: float) -> Iterator[str]:
        """Where the hosts are, when there was no line for a while."""
        if self._roster.begun is None or now - self._last < self._quiet:
            return
        counts = " · ".join(f"{count} {clean(stage.name)}" for stage, count in self._roster.counts())
        self._quiet = min(self._quiet * 2, QUIET[1]) if counts == self._counts else QUIET[0]
        self._counts, self._last = counts, now
        yield f"... {seconds(self._roster.elapsed(now))}: {counts}"

    def rest(self, now: float) -> Iterator[str]:
        """The command ends without the end of its fleet: what was not told yet, and what went wrong."""
        if self._roster.begun is None:
            return
        yield from self._untold()
        for failed in unfinished(self._roster, now):
            if failed.host:
                section = self._roster.board.section(failed.host)
                lines = failure_lines(failed, section.logs, mark=self._marks["failed"], whole=self._verbose)
                yield from (self._of(failed.host, line) for line in (*self._output(section), *lines))

    def _lines(self, event: ev.Event, innocent: bool, now: float) -> Iterator[str]:
        match event:
            case ev.FleetFinished():
                yield from self._untold()
                yield from self._end(event, now)
            case ev.PhaseStarted() if not _own(event.phase):
                if event.phase not in self._sums:
                    self._sums[event.phase] = Sum()
                    yield f"{clean(event.phase)} ..."
            case ev.PhaseDone() | ev.PhaseSkipped() if not _own(event.phase):
                self._sums.setdefault(event.phase, Sum()).add(event)
                yield from self._complete()
            case ev.PhaseFailed() | ev.Failed() if innocent:
                yield from self._complete()
            case ev.Failed() if not event.host:
                yield from failure_lines(event, mark=self._marks["failed"])
            case _:
                yield from (self._of(event.host, line) for line in self._host_lines(event))
                if isinstance(event, (ev.Failed, ev.Finished)):
                    yield from self._complete()

    def _host_lines(self, event: ev.Event) -> Iterator[str]:
        """What is said of one host."""
        match event:
            case ev.Connected():
                yield phase_line(self._marks["done"], "connect", seconds(event.seconds), event.detail)
            case ev.PhaseStarted():
                yield f"{clean(event.phase)} ... {clean(event.detail)}"
            case ev.PhaseDone():
                yield phase_line(self._marks["done"], event.phase, seconds(event.seconds), event.detail)
            case ev.PhaseFailed():
                yield phase_line(self._marks["failed"], event.phase, seconds(event.seconds), event.detail)
            case ev.Waiting():
                yield f"wait ... {clean(queue(event))}"
            case ev.Output() if self._verbose:
                yield f"  {clean(event.phase)} | {clean(event.line)}"
            case ev.Switched():
                yield f"{clean(event.to)} serves" + (f", after {clean(event.previous)}" if event.previous else "")
            case ev.Note() if self._said.new(event):
                yield from clean_lines(event.text)
            case ev.Warn() if self._said.new(event):
                yield from (f"{self._marks['warn']} {line}" for line in clean_lines(event.text))
            case ev.Failed():
                first, *more = clean_lines(event.message) or ["failed"]
                yield f"{self._marks['failed']} {first}"
                yield from (f"  {line}" for line in more)

    def _of(self, host: str, line: str) -> str:
        return f"{self._names.prefix(host)}{line}"

    def _complete(self) -> Iterator[str]:
        """Phases that no host has still before it."""
        alive = {s.host for s in self._roster.sections if stage_of(s).kind not in ("failed", "ended", "done")}
        for name, sum_ in self._sums.items():
            if not sum_.told and sum_.hosts and alive <= sum_.hosts:
                sum_.told = True
                yield sum_.line(self._marks["done" if sum_.times else "skipped"], name, len(self._roster.sections))

    def _untold(self) -> Iterator[str]:
        """Phases that only some hosts have done, and what more than one host said."""
        for name, sum_ in self._sums.items():
            if not sum_.told and sum_.times:
                yield sum_.line(self._marks["done"], name, len(self._roster.sections))
        for warning, hosts, text in self._said.repeated():
            mark = f"{self._marks['warn']} " if warning else ""
            yield f"{mark}also on {self._names.few(hosts)}: {text}"

    def _output(self, section: Section) -> Iterator[str]:
        for title, lines in () if self._verbose else section.failed_output():
            yield from log_lines(ev.Logs(unit=title, lines=tuple(lines)))

    def _end(self, event: ev.FleetFinished, now: float) -> Iterator[str]:
        whole = replace(event, seconds=max(event.seconds, self._roster.elapsed(now)))
        outcome = outcome_of(whole, self._roster.board, self._names, verbose=self._verbose)
        yield from end_lines(outcome, self._names, self._marks)


def _own(phase: str) -> bool:
    return phase in OWN or phase.startswith(HOOKS)


def end_lines(outcome: Outcome, names: Names, marks: Mapping[str, str] = MARKS) -> Iterator[str]:
    """One line when all agree; else every host's outcome, what explains the failures, and what to type now."""
    end, pace = outcome.end, outcome.pace(names)
    if outcome.rows and not outcome.agreed:
        yield from _table(outcome, names)
    elif pace:
        yield pace
    for panel in outcome.panels:
        yield from log_lines(ev.Logs(unit=panel.title, lines=panel.lines))
    if outcome.panels:
        yield "---"
    if outcome.left_out:
        yield f"the lines of {names.few(outcome.left_out)} are not shown here"
    after = f" ({seconds(end.seconds)})" if end.seconds else ""
    first, *more = clean_lines(end.summary) or ["failed" if end.exit else "done"]
    yield f"{marks['failed' if end.exit else 'done']} {first}{after}"
    yield from more
    yield from advice_lines(end.state, end.next)


def _table(outcome: Outcome, names: Names) -> Iterator[str]:
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

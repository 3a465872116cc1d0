"""The plain lines of a command on N >= 1 hosts: all phases of one, of several what matters and a sum of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from deployer import events as ev
from deployer.ui.plain.lines import MARKS, end_lines, failure_lines, log_lines, phase_lines
from deployer.ui.progress.command import CommandProgress, Dedupe
from deployer.ui.progress.host import HOOKS, HostProgress
from deployer.ui.progress.outcome import outcome_of
from deployer.ui.progress.stage import stage_of
from deployer.ui.style.names import Names
from deployer.ui.style.text import clean, clean_lines, queue, seconds, size
from deployer.wire.lazydata import dataclass

__all__ = ["Log"]

QUIET = (10.0, 60.0)
"""Seconds of silence after which the log says where the hosts are; doubled while nothing changes, up to the second."""
STEP_PERCENT = 10
STEP_SECONDS = 5.0
"""What must have passed of an upload since its last line."""
OWN = ("read", "migrate", "wait")
"""Phases that differ between hosts, or belong to none: they are not summed up."""


class Log:
    """Lines for each event. Of several hosts, phases have one line for all; connections, switches, migrations, hooks,
    warnings and failures have one for each host. Not thread-safe: its owner locks."""

    def __init__(
        self, *, title: str = "", hosts: Sequence[str] = (), verbose: bool = False, marks: Mapping[str, str] = MARKS
    ) -> None:
        self._title, self._hosts, self._verbose, self._marks = clean(title), hosts, verbose, marks
        self._names = Names(hosts)
        self._begin()

    def _begin(self) -> None:
        self._progress, self._dedupe = CommandProgress(self._hosts), Dedupe()
        self._totals = _Totals(self._progress, self._marks)
        self._uploads: dict[tuple[str, str], tuple[float, int]] = {}
        self._last, self._quiet, self._counts = 0.0, QUIET[0], ""

    def lines(self, event: ev.Event, now: float) -> Iterator[str]:
        """The lines for an event."""
        progress = self._progress
        first, gives_up = progress.begun is None, progress.gives_up(progress.host(event.host))
        progress.apply(event, now)
        lines = list(self._lines(event, gives_up, now))
        if progress.end:
            lines += [*self._unwritten(), *self._end(progress.end)]
        elif first and self._title:
            lines.insert(0, self._header())
        if lines:
            self._last = now
        yield from lines
        if progress.end:
            self._begin()

    def beat(self, now: float) -> Iterator[str]:
        """Where several hosts are, when nothing was written for a while."""
        progress = self._progress
        if not progress.many or progress.begun is None or now - self._last < self._quiet:
            return
        counts = " · ".join(f"{count} {clean(stage.name)}" for stage, count in progress.counts())
        self._quiet = min(self._quiet * 2, QUIET[1]) if counts == self._counts else QUIET[0]
        self._counts, self._last = counts, now
        yield f"... {seconds(progress.elapsed(now))}: {counts}"

    def rest(self, now: float) -> Iterator[str]:
        """What was not written yet, and what went wrong, when a command was interrupted."""
        if self._progress.begun is None:
            return
        yield from self._unwritten()
        self._progress.leave(now)
        for host in self._progress.by_host.values():
            lines: list[str] = []
            if host.failures and host.name and self._progress.many and not host.undone:
                lines = [line for failed in host.failures for line in self._explanation(host, failed)]
            elif host.logs and not host.failures:
                lines = list(log_lines(host.logs))
            yield from (self._of(host.name, line) for line in lines)

    def _header(self) -> str:
        several = f"{len(self._hosts)} hosts: {self._names.few(self._hosts, 8)}"
        return f"{self._title} → {several if self._progress.many else clean(next(iter(self._hosts), ''))}"

    def _lines(self, event: ev.Event, gives_up: bool, now: float) -> Iterator[str]:
        match event:
            case ev.PhaseStarted() | ev.PhaseDone() | ev.PhaseSkipped() if self._totals.counts(event):
                yield from self._totals.add(event)
            case ev.PhaseFailed() | ev.Failed() if gives_up:
                yield from self._totals.complete()
            case _:
                yield from (self._of(event.host, line) for line in self._of_host(event, now))
                if isinstance(event, (ev.Failed, ev.Finished)):
                    yield from self._totals.complete()

    def _of_host(self, event: ev.Event, now: float) -> Iterator[str]:
        """The lines for an event of one host."""
        match event:
            case ev.Progress() | ev.PhaseSkipped() if self._progress.many:
                return
            case ev.Progress():
                yield from self._upload(event, now)
            case ev.Waiting():
                yield f"wait ... {clean(queue(event))}"
            case ev.Output() if self._verbose:
                yield f"  {clean(event.phase)} | {clean(event.line)}"
            case ev.Switched():
                yield f"{clean(event.to)} serves" + (f", after {clean(event.previous)}" if event.previous else "")
            case ev.Note() if self._dedupe.is_first(event):
                yield from clean_lines(event.text)
            case ev.Warn() if self._dedupe.is_first(event):
                yield from (f"{self._marks['warn']} {line}" for line in clean_lines(event.text))
            case ev.Logs() if self._progress.is_answer(event):
                self._progress.host(event.host).logs = None
                yield from map(clean, event.lines)
            case ev.Failed():
                yield from self._failed(event)
            case _:
                yield from phase_lines(event, self._marks)

    def _of(self, host: str, line: str) -> str:
        return f"{self._names.prefix(host)}{line}" if self._progress.many else line

    def _upload(self, event: ev.Progress, now: float) -> Iterator[str]:
        """A line when both enough time and enough bytes have passed since the last one."""
        percent = 100 * event.done // max(event.total, 1)
        key = (event.phase, event.doing)
        since, last = self._uploads.setdefault(key, (now, percent))
        if percent < last:
            self._uploads[key] = (now, percent)
        elif now - since >= STEP_SECONDS and percent - last >= STEP_PERCENT:
            self._uploads[key] = (now, percent)
            doing = f"{clean(event.doing)} " if event.doing else ""
            yield f"{clean(event.phase)} ... {doing}{percent} % of {size(event.total)}"

    def _failed(self, event: ev.Failed) -> Iterator[str]:
        """All that explains the failure; of several hosts only the message, for the rest follows at the end."""
        if self._progress.many and event.host:
            first, *more = clean_lines(event.message) or ["failed"]
            yield f"{self._marks['failed']} {first}"
            yield from (f"  {line}" for line in more)
        else:
            yield from self._explanation(self._progress.host(event.host), event)

    def _explanation(self, host: HostProgress, failed: ev.Failed) -> Iterator[str]:
        """The output of failed phases, once, then the failure with its last lines."""
        output = list(host.failed_output())
        for printed in () if self._verbose else output:
            yield from log_lines(printed)
        for phase in host.phases:
            phase.output.clear()
        logs, host.logs = host.logs, None
        shown = () if self._verbose else [line for of_phase in output for line in of_phase.lines]
        yield from failure_lines(failed, logs, shown=shown, mark=self._marks["failed"], whole=self._verbose)

    def _unwritten(self) -> Iterator[str]:
        """Phases that only some hosts have done, and notes of more than one host."""
        yield from self._totals.rest()
        for warning, hosts, text in self._dedupe.repeats():
            mark = f"{self._marks['warn']} " if warning else ""
            yield f"{mark}also on {self._names.few(hosts)}: {text}"

    def _end(self, end: ev.FleetFinished) -> Iterator[str]:
        outcome = outcome_of(end, self._progress, self._names, verbose=self._verbose)
        yield from end_lines(outcome, self._names, self._marks)


@dataclass
class _Total:
    """A phase on all hosts that have done it."""

    hosts: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    details: set[str] = field(default_factory=set)
    written: bool = False

    def add(self, event: ev.PhaseDone | ev.PhaseSkipped) -> None:
        self.hosts.add(event.host)
        self.details.add(event.detail)
        if isinstance(event, ev.PhaseDone):
            self.times.append(event.seconds)

    def line(self, mark: str, name: str, of: int) -> str:
        """``✓ build: 50 of 50 hosts (1.2 s to 4.0 s)``, and the detail if it is the same on all."""
        low, high = (seconds(min(self.times)), seconds(max(self.times))) if self.times else ("", "")
        took = f" ({low})" if low == high else f" ({low} to {high})"
        same = f": {clean(next(iter(self.details)))}" if len(self.details) == 1 and self.details != {""} else ""
        return f"{mark} {clean(name)}: {len(self.hosts)} of {of} hosts{took if low else ''}{same}"


class _Totals:
    """A line when a phase begins on the first host, and one when every host that can has done it."""

    def __init__(self, progress: CommandProgress, marks: Mapping[str, str]) -> None:
        self._progress, self._marks = progress, marks
        self._totals: dict[str, _Total] = {}

    def counts(self, event: ev.PhaseStarted | ev.PhaseDone | ev.PhaseSkipped) -> bool:
        """Whether the phase has one line for all hosts."""
        return self._progress.many and event.phase not in OWN and not event.phase.startswith(HOOKS)

    def add(self, event: ev.PhaseStarted | ev.PhaseDone | ev.PhaseSkipped) -> Iterator[str]:
        if isinstance(event, ev.PhaseStarted):
            if event.phase not in self._totals:
                self._totals[event.phase] = _Total()
                yield f"{clean(event.phase)} ..."
            return
        self._totals.setdefault(event.phase, _Total()).add(event)
        yield from self.complete()

    def complete(self) -> Iterator[str]:
        """Phases that every host has done which has not failed or ended."""
        hosts = self._progress.hosts
        alive = {host.name for host in hosts if stage_of(host).kind not in ("failed", "ended", "done")}
        for name, total in self._totals.items():
            if not total.written and total.hosts and alive <= total.hosts:
                total.written = True
                yield total.line(self._marks["done" if total.times else "skipped"], name, len(hosts))

    def rest(self) -> Iterator[str]:
        """Phases that only some hosts have done."""
        for name, total in self._totals.items():
            if not total.written and total.times:
                yield total.line(self._marks["done"], name, len(self._progress.hosts))

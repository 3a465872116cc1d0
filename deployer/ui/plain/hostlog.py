"""The plain lines of a command on one host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deployer import events as ev
from deployer.ui.plain.lines import MARKS, failure_lines, log_lines, phase_line
from deployer.ui.progress.host import Board, Section
from deployer.ui.text import clean, clean_lines, queue, seconds, size

__all__ = ["HostLog"]

STEP_PERCENT = 10
STEP_SECONDS = 5.0


class HostLog:
    """A line an event that matters; a failing phase brings the whole output of its command."""

    def __init__(
        self,
        *,
        title: str = "",
        hosts: Sequence[str] = (),
        verbose: bool = False,
        marks: Mapping[str, str] = MARKS,
    ) -> None:
        self._title, self._verbose, self._marks = clean(title), verbose, marks
        self._board = Board(hosts)
        self._progress: dict[str, tuple[float, int]] = {}

    def lines(self, event: ev.Event, now: float) -> Iterator[str]:
        if event.host not in self._board.sections:
            yield from self._header(event.host)
        self._board.apply(event, now)
        yield from self._lines(event, self._board.section(event.host), now)
        if self._board.settled():
            self._board.sections.clear()

    def beat(self, now: float) -> Iterator[str]:  # noqa: ARG002
        """One host says enough by itself."""
        return iter(())

    def rest(self, now: float) -> Iterator[str]:  # noqa: ARG002
        """Log lines that no failure followed."""
        for section in self._board.sections.values():
            if section.logs:
                yield from log_lines(section.logs)

    def _header(self, host: str) -> Iterator[str]:
        if self._title and host:
            yield f"{self._title} → {clean(host)}"

    def _lines(self, event: ev.Event, section: Section, now: float) -> Iterator[str]:
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
                yield from self._progress_line(event, now)
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
                after = f" ({seconds(section.took)})" if section.took else ""
                yield f"{mark} {clean(ending)}{after}"

    def _line(self, state: str, name: str, took: float, detail: str) -> str:
        return phase_line(self._marks[state], name, "" if state == "skipped" else seconds(took), detail)

    def _progress_line(self, event: ev.Progress, now: float) -> Iterator[str]:
        """A line when both enough time and enough bytes have passed since the last one."""
        percent = 100 * event.done // max(event.total, 1)
        key = f"{event.host}\0{event.phase}\0{event.doing}"
        since, last = self._progress.setdefault(key, (now, percent))
        if percent < last:
            self._progress[key] = (now, percent)
        elif now - since >= STEP_SECONDS and percent - last >= STEP_PERCENT:
            self._progress[key] = (now, percent)
            doing = f"{clean(event.doing)} " if event.doing else ""
            yield f"{clean(event.phase)} ... {doing}{percent} % of {size(event.total)}"

    def _failed(self, event: ev.Failed, section: Section) -> Iterator[str]:
        shown: list[str] = []
        for row in section.rows:
            if row.state == "failed" and row.output and not self._verbose:
                shown += row.output
                yield f"--- output of {clean(row.name)} ---"
                yield from map(clean, row.output)
            row.output.clear()
        logs, section.logs = section.logs, None
        mark = self._marks["failed"]
        yield from failure_lines(event, logs, shown=shown, mark=mark, whole=self._verbose)

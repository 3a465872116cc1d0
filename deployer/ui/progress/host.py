"""What the live view knows: the rows of each host, built up from events. No drawing here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deployer import events as ev
from deployer.ui.text import queue
from deployer.wire.protocol import Exit

__all__ = ["Board", "Row", "Section"]

KEPT_LINES = 10_000
"""Lines of a build that are kept for the case that it fails."""
VERDICTS: dict[int, str] = {
    Exit.USAGE: "nothing was done",
    Exit.BUSY: "busy",
    Exit.REFUSED: "refused",
    Exit.ROLLED_BACK: "rolled back",
    Exit.MIXED: "mixed",
}
HOOKS = "hooks."
"""What the phases that run on the laptop begin with: a host that waits goes on waiting meanwhile."""
SPEED_WINDOW = 5.0
"""Seconds over which the speed of an upload is averaged."""


@dataclass(slots=True)
class Row:
    """One phase: running, done, skipped, failed, or left (the view closed first)."""

    name: str
    started: float
    state: str = "running"
    detail: str = ""
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    doing: str = ""
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    output: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    printed: int = 0

    def end(self, state: str, now: float, seconds: float = 0.0, detail: str = "") -> None:
        self.state, self.seconds = state, seconds or now - self.started
        self.detail = detail or self.detail
        self.samples.clear()

    def elapsed(self, now: float) -> float:
        return now - self.started if self.state == "running" else self.seconds

    def progress(self, done: int, total: int, now: float, doing: str = "") -> None:
        if doing != self.doing:
            self.samples.clear()
        self.done, self.total, self.doing = done, total, doing
        self.samples.append((now, done))
        while len(self.samples) > 2 and now - self.samples[0][0] > SPEED_WINDOW:
            self.samples.popleft()

    def speed(self) -> float:
        """Bytes a second; 0.0 while unknown."""
        if len(self.samples) < 2:
            return 0.0
        (start, first), (end, last) = self.samples[0], self.samples[-1]
        return (last - first) / (end - start) if end > start else 0.0


@dataclass(slots=True)
class Section:
    """One host.

    ``ready`` names the phase before which it waits for its fleet, ``ready_at`` how many rows it had then, and when
    that was; ``serving`` is what it switched to; ``took`` how long the command took here, from its very start.
    """

    host: str
    rows: list[Row] = field(default_factory=list)
    logs: ev.Logs | None = None
    failures: list[ev.Failed] = field(default_factory=list)
    finished: ev.Finished | None = None
    ready: str = ""
    ready_at: tuple[int, float] = (0, 0.0)
    serving: str = ""
    took: float = 0.0
    undone: bool = False

    def row(self, name: str, now: float) -> Row:
        """The latest row of that name, begun when there is none."""
        return next((row for row in reversed(self.rows) if row.name == name), None) or self.start(name, now)

    def start(self, name: str, now: float) -> Row:
        self.rows.append(Row(name, now))
        return self.rows[-1]

    def waiting(self, now: float) -> Row:
        """The row of the line that this command stands in: one for each time."""
        row = self.row("wait", now)
        return row if row.state == "running" else self.start("wait", now)

    def end_running(self, state: str, now: float) -> None:
        for row in self.rows:
            if row.state == "running":
                row.end(state, now)

    def in_phase(self) -> bool:
        """Whether the host has begun to work, rather than only answered."""
        return any(row.name != "connect" for row in self.rows)

    def worth_keeping(self) -> bool:
        """A connection that worked is not news once it is over."""
        return self.in_phase() or any(row.state != "done" for row in self.rows)

    def failed_output(self) -> Iterator[tuple[str, list[str]]]:
        """What the commands of failed phases printed, each with a title."""
        for row in self.rows:
            if row.state == "failed" and row.output:
                left_out = row.printed - len(row.output)
                title = f"output of {row.name}" + (f", without its first {left_out} lines" if left_out else "")
                yield title, list(row.output)

    def ending(self) -> str:
        """The summary for people; when it only repeats the failure above it, what serves instead."""
        end = self.finished
        if end is None:
            return ""
        if end.summary and end.summary not in {failed.message for failed in self.failures}:
            return end.summary
        serves = f"{end.serving} serves" if end.serving else ""
        verdict = VERDICTS.get(end.exit, "failed") if end.exit else ""
        return ": ".join(part for part in (verdict, serves) if part)


class Board:
    """All hosts of the command, in the order in which they were named. Not thread-safe: its owner locks."""

    def __init__(self, hosts: Sequence[str] = ()) -> None:
        self.expected = frozenset(hosts)
        self.sections: dict[str, Section] = {}
        self._begun: float | None = None

    def section(self, host: str) -> Section:
        return self.sections.setdefault(host, Section(host))

    def settled(self) -> bool:
        """Every host has come to its end; the laptop itself (``""``) is none."""
        ended = {host for host, section in self.sections.items() if section.finished}
        return bool(ended) and ended >= (self.expected | self.sections.keys()) - {""}

    def apply(self, event: ev.Event, now: float) -> None:
        section = self.section(event.host)
        self._begun = now if self._begun is None else self._begun
        match event:
            case ev.Connecting():
                section.start("connect", now)
            case ev.Connected():
                section.row("connect", now).end("done", now, event.seconds, event.detail)
            case ev.PhaseStarted():
                section.start(event.phase, now).detail = event.detail
                if not event.phase.startswith(HOOKS):
                    section.ready = ""
            case ev.PhaseDone():
                section.row(event.phase, now).end("done", now, event.seconds, event.detail)
            case ev.PhaseSkipped():
                section.row(event.phase, now).end("skipped", now, detail=event.detail)
            case ev.PhaseFailed():
                section.row(event.phase, now).end("failed", now, event.seconds, event.detail)
            case ev.Progress():
                row = section.row(event.phase, now)
                row.progress(event.done, event.total, now, event.doing)
            case ev.Output():
                row = section.row(event.phase, now)
                row.output.append(event.line)
                row.printed += 1
            case ev.Ready():
                section.ready, section.ready_at = event.phase, (len(section.rows), now)
            case ev.Waiting():
                section.waiting(now).detail = queue(event)
            case ev.Switched():
                self._switched(section, event)
            case ev.Logs():
                section.logs = event
            case ev.Failed():
                section.end_running("failed", now)
                section.failures.append(event)
            case ev.Finished():
                section.end_running("failed" if event.exit else "done", now)
                section.finished = event
                passed = now - self._begun
                section.took = max(event.seconds, passed if passed >= 0.05 else 0.0)

    def _switched(self, section: Section, event: ev.Switched) -> None:
        section.serving = event.to
        for row in section.rows:
            if row.name == "switch" and not row.detail:
                row.detail = f"{event.previous} → {event.to}" if event.previous else event.to

"""How far one host is with a command: its phases, its failures and its end, built up from events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import field

from deployer import events as ev
from deployer.ui.style.text import queue
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit

__all__ = ["HOOKS", "HostProgress", "PhaseProgress"]

HOOKS = "hooks."
"""Prefix of phases that run on the laptop: a host that waits keeps waiting meanwhile."""
KEPT_LINES = 10_000
"""Lines of a build that are kept for the case that it fails."""
SPEED_WINDOW = 5.0
"""Seconds over which the speed of an upload is averaged."""
MOMENT = 0.05
"""Seconds that are shown as none."""
VERDICTS: dict[int, str] = {
    Exit.USAGE: "nothing was done",
    Exit.BUSY: "busy",
    Exit.REFUSED: "refused",
    Exit.ROLLED_BACK: "rolled back",
    Exit.MIXED: "mixed",
}


@dataclass
class PhaseProgress:
    """One phase: running, done, skipped, failed, or left (the command ended first)."""

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

    def advance(self, event: ev.Progress, now: float) -> None:
        if event.doing != self.doing:
            self.samples.clear()
        self.done, self.total, self.doing = event.done, event.total, event.doing
        self.samples.append((now, event.done))
        while len(self.samples) > 2 and now - self.samples[0][0] > SPEED_WINDOW:
            self.samples.popleft()

    def speed(self) -> float:
        """Bytes a second; 0.0 while unknown."""
        if len(self.samples) < 2:
            return 0.0
        (start, first), (end, last) = self.samples[0], self.samples[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def title_of_output(self) -> str:
        left_out = self.printed - len(self.output)
        return f"output of {self.name}" + (f", without its first {left_out} lines" if left_out else "")


@dataclass
class HostProgress:
    """One host; the empty name is the laptop.

    ``ready`` names the phase before which the host waits for its fleet, ``ready_at`` how many phases it had then and
    when that was; ``undone`` says that it gave up because of another host.
    """

    name: str
    phases: list[PhaseProgress] = field(default_factory=list)
    logs: ev.Logs | None = None
    failures: list[ev.Failed] = field(default_factory=list)
    finished: ev.Finished | None = None
    ready: str = ""
    ready_at: tuple[int, float] = (0, 0.0)
    undone: bool = False

    def apply(self, event: ev.Event, now: float) -> None:
        """Take the event in."""
        match event:
            case ev.Output():
                phase = self.phase(event.phase, now)
                phase.output.append(event.line)
                phase.printed += 1
            case ev.Progress():
                self.phase(event.phase, now).advance(event, now)
            case ev.Ready():
                self.ready, self.ready_at = event.phase, (len(self.phases), now)
            case ev.Waiting():
                self._waiting(now).detail = queue(event)
            case ev.Switched():
                self._switched(event)
            case ev.Logs():
                self.logs = event
            case ev.Failed():
                self.end_running("failed", now)
                self.failures.append(event)
            case ev.Finished():
                self.end_running("failed" if event.exit else "done", now)
                self.finished = event
            case _:
                self._apply_phase(event, now)

    def _apply_phase(self, event: ev.Event, now: float) -> None:
        match event:
            case ev.Connecting():
                self.start("connect", now)
            case ev.Connected():
                self.phase("connect", now).end("done", now, event.seconds, event.detail)
            case ev.PhaseStarted():
                self.start(event.phase, now).detail = event.detail
                if not event.phase.startswith(HOOKS):
                    self.ready = ""
            case ev.PhaseDone():
                self.phase(event.phase, now).end("done", now, event.seconds, event.detail)
            case ev.PhaseSkipped():
                self.phase(event.phase, now).end("skipped", now, detail=event.detail)
            case ev.PhaseFailed():
                self.phase(event.phase, now).end("failed", now, event.seconds, event.detail)

    def phase(self, name: str, now: float) -> PhaseProgress:
        """The latest phase of that name, begun when there is none."""
        return next((one for one in reversed(self.phases) if one.name == name), None) or self.start(name, now)

    def start(self, name: str, now: float) -> PhaseProgress:
        self.phases.append(PhaseProgress(name, now))
        return self.phases[-1]

    def running(self) -> PhaseProgress | None:
        """The phase that runs now."""
        return next((phase for phase in reversed(self.phases) if phase.state == "running"), None)

    def end_running(self, state: str, now: float) -> None:
        for phase in self.phases:
            if phase.state == "running":
                phase.end(state, now)

    def in_phase(self) -> bool:
        """Whether the host has begun to work, rather than only answered."""
        return any(phase.name != "connect" for phase in self.phases)

    def worth_keeping(self) -> bool:
        """Whether there is anything to show: a connection that succeeded is not news once it is over."""
        return any(phase.name != "connect" or phase.state != "done" for phase in self.phases)

    def failed_output(self) -> Iterator[ev.Logs]:
        """What the commands of failed phases printed, each under its title."""
        for phase in self.phases:
            if phase.state == "failed" and phase.output:
                yield ev.Logs(unit=phase.title_of_output(), lines=tuple(phase.output))

    def verdict(self) -> str:
        """The summary for people; when it only repeats the failure above it, what serves instead."""
        end = self.finished
        if end is None:
            return ""
        if end.summary and end.summary not in {failed.message for failed in self.failures}:
            return end.summary
        serves = f"{end.serving} serves" if end.serving else ""
        verdict = ("failed" if self._has_changed(end.exit) else VERDICTS.get(end.exit, "failed")) if end.exit else ""
        return ": ".join(part for part in (verdict, serves) if part)

    def _has_changed(self, exit: int) -> bool:
        """Whether a command that ended as one that does nothing had done something: a set-up fails at a later step."""
        return exit == Exit.USAGE and any(phase.state == "done" and phase.name != "connect" for phase in self.phases)

    def _waiting(self, now: float) -> PhaseProgress:
        """The phase in which this command waits in the queue: one for each time."""
        phase = self.phase("wait", now)
        return phase if phase.state == "running" else self.start("wait", now)

    def _switched(self, event: ev.Switched) -> None:
        for phase in self.phases:
            if phase.name == "switch" and not phase.detail:
                phase.detail = f"{event.previous} → {event.to}" if event.previous else event.to

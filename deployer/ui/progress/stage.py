"""What a host is at, in few words, and how many hosts are at what. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from deployer.ui.progress.host import HostProgress
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import PHASES, Exit

__all__ = ["UNDONE", "HostStage", "rank", "stage_of", "tally"]

READY = {
    "migrate": "ready for the migration",
    "check": "ready for the check",
    "switch": "ready for the switch",
    "keep": "found good",
}
ENDED: dict[int, str] = {
    Exit.UNREACHABLE: "unreachable",
    Exit.BUSY: "busy",
    Exit.REFUSED: "discarded",
    Exit.ROLLED_BACK: "rolled back",
    Exit.MIXED: "mixed",
}
UNDONE = (Exit.REFUSED, Exit.ROLLED_BACK)
BEFORE = ("not begun", "connect", "wait")
AFTER = ("hooks.undrain", "found good", "done")
KINDS = ("failed", "ended", "running", "left", "todo", "ready", "done")
"""Kinds of stages, those first that matter most to the reader."""


@dataclass(frozen=True, kw_only=True)
class HostStage:
    """What a host is at: ``name`` for people; ``kind`` is one of ``KINDS``; ``since`` when it came there."""

    name: str
    kind: str
    since: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """How far the host is; failures come last."""
        if self.kind in ("failed", "ended"):
            return (3, -1 if self.kind == "failed" else 0)
        if self.name in BEFORE:
            return (0, BEFORE.index(self.name))
        if self.name in AFTER:
            return (2, AFTER.index(self.name))
        barrier = next((phase for phase, name in READY.items() if name == self.name), "")
        phase = barrier or {"hooks.drain": "switch"}.get(self.name, self.name)
        return (1, 2 * PHASES.index(phase) - bool(barrier) if phase in PHASES else 0)


def stage_of(host: HostProgress) -> HostStage:
    """What the host is at now."""
    if host.finished or host.failures:
        return _ended(host)
    last = host.phases[-1] if host.phases else None
    if host.ready:
        return _ready(host)
    if last is None:
        return HostStage(name="not begun", kind="todo")
    if last.state == "failed":
        return HostStage(name="failed", kind="failed")
    return HostStage(name=last.name, kind="left" if last.state == "left" else "running", since=last.started)


def _ended(host: HostProgress) -> HostStage:
    end = host.finished
    if end and not end.exit:
        return HostStage(name="done", kind="done")
    code = end.exit if end else host.failures[-1].exit
    kind = "ended" if host.undone else "failed"
    return HostStage(name=ENDED.get(code, kind) if host.undone or code not in UNDONE else kind, kind=kind)


def _ready(host: HostProgress) -> HostStage:
    """The host waits for its fleet, or a hook runs for it meanwhile."""
    phases, since = host.ready_at
    hook = next((phase for phase in host.phases[phases:] if phase.state == "running"), None)
    if hook:
        return HostStage(name=hook.name, kind="running", since=hook.started)
    return HostStage(name=READY.get(host.ready, f"ready for {host.ready}"), kind="ready", since=since)


def tally(stages: Iterable[HostStage]) -> list[tuple[HostStage, int]]:
    """Each stage with how often it comes: the furthest first, failures last."""
    found = list(stages)
    counts = Counter((stage.kind, stage.name) for stage in found)
    first = {(stage.kind, stage.name): stage for stage in found}
    order = sorted(first.values(), key=lambda stage: (stage.place[0] == 3, -stage.place[0], -stage.place[1]))
    return [(stage, counts[stage.kind, stage.name]) for stage in order]


def rank(host: HostProgress) -> tuple[int, float]:
    """Failures first, then who has been longest at one thing, then who waits."""
    stage = stage_of(host)
    return KINDS.index(stage.kind), stage.since

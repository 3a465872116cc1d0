"""What each host of a fleet is at, in few words; how many are at what; and which of them are worth a line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployer import events as ev
from deployer.ui.progress.host import Board, Row, Section
from deployer.wire.protocol import PHASES, Exit

__all__ = ["Roster", "Stage", "running", "stage_of", "tally"]

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
ORDER = ("failed", "ended", "running", "left", "todo", "ready", "done")
"""Kinds of stages, those first that are worth a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a host is at: ``name`` for people; ``kind`` is one of ``ORDER``; ``since`` when it came there."""

    name: str
    kind: str
    since: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """How far on the way it is; failures come last."""
        if self.kind in ("failed", "ended"):
            return (3, -1 if self.kind == "failed" else 0)
        if self.name in BEFORE:
            return (0, BEFORE.index(self.name))
        if self.name in AFTER:
            return (2, AFTER.index(self.name))
        barrier = next((phase for phase, name in READY.items() if name == self.name), "")
        phase = barrier or {"hooks.drain": "switch"}.get(self.name, self.name)
        return (1, 2 * PHASES.index(phase) - bool(barrier) if phase in PHASES else 0)


def stage_of(section: Section) -> Stage:
    """What the host is at now."""
    last = section.rows[-1] if section.rows else None
    end = section.finished
    if end and not end.exit:
        return Stage(name="done", kind="done")
    if end or section.failures:
        code = end.exit if end else section.failures[-1].exit
        kind = "ended" if section.undone else "failed"
        return Stage(name=ENDED.get(code, kind) if section.undone or code not in UNDONE else kind, kind=kind)
    if last and last.state == "failed" and not section.ready:
        return Stage(name="failed", kind="failed")
    if section.ready:
        rows, since = section.ready_at
        hook = next((row for row in section.rows[rows:] if row.state == "running"), None)
        if hook:
            return Stage(name=hook.name, kind="running", since=hook.started)
        return Stage(name=READY.get(section.ready, f"ready for {section.ready}"), kind="ready", since=since)
    if last is None:
        return Stage(name="not begun", kind="todo")
    return Stage(name=last.name, kind="left" if last.state == "left" else "running", since=last.started)


class Roster:
    """All hosts of a command, their release and its end. Not thread-safe: its owner locks."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.board = Board(hosts)
        for host in hosts:
            self.board.section(host)
        self.release = ""
        self.end: ev.FleetFinished | None = None
        self.begun: float | None = None

    def apply(self, event: ev.Event, now: float) -> Section:
        """Take the event in; the section of the host that it is about."""
        self.begun = now if self.begun is None else self.begun
        section = self.board.section(event.host)
        if isinstance(event, ev.PhaseFailed) and not self.gives_up(section):
            section.ready = ""
        if isinstance(event, ev.Failed):
            section.undone = section.undone or (event.exit in UNDONE and self.gives_up(section))
        if isinstance(event, ev.FleetFinished):
            self.end = event
        else:
            self.board.apply(event, now)
        self.release = getattr(event, "release", "") or self.release
        return section

    def gives_up(self, section: Section) -> bool:
        """Whether the host, if it failed now, did so only because another one did."""
        others = any(stage_of(other).kind == "failed" for other in self.sections if other is not section)
        return bool(section.ready) and (others or running(section) is None)

    @property
    def sections(self) -> list[Section]:
        """Those of the hosts, as named."""
        return [section for host, section in self.board.sections.items() if host]

    def worked(self) -> bool:
        """Whether any host has anything to show."""
        return any(section.worth_keeping() and section.rows for section in self.sections)

    def elapsed(self, now: float) -> float:
        return 0.0 if self.begun is None else now - self.begun

    def counts(self) -> list[tuple[Stage, int]]:
        """How many hosts are at which stage: the furthest first, failures last."""
        return tally(stage_of(section) for section in self.sections)

    def share(self) -> float | None:
        """How much of the uploads that run is sent, from 0 to 1."""
        rows = [row for section in self.sections if (row := running(section)) and row.total]
        return sum(row.done for row in rows) / max(sum(row.total for row in rows), 1) if rows else None

    def worth(self, most: int) -> tuple[list[Section], list[Section]]:
        """Those ``most`` hosts that are worth a line, and the others. All, as they were named, when they fit."""
        if len(self.sections) <= most:
            return self.sections, []
        ranked = sorted(self.sections, key=_rank)
        return ranked[: max(most, 0)], ranked[max(most, 0) :]


def running(section: Section) -> Row | None:
    """The row that the host works at."""
    return next((row for row in reversed(section.rows) if row.state == "running"), None)


def tally(stages: Iterable[Stage]) -> list[tuple[Stage, int]]:
    """Each stage with how often it comes: the furthest first, failures last."""
    found = list(stages)
    counts = Counter((stage.kind, stage.name) for stage in found)
    first = {(stage.kind, stage.name): stage for stage in found}
    order = sorted(first.values(), key=lambda stage: (stage.place[0] == 3, -stage.place[0], -stage.place[1]))
    return [(stage, counts[stage.kind, stage.name]) for stage in order]


def _rank(section: Section) -> tuple[int, float]:
    """Failures first, then who has been longest at one thing, then who waits."""
    stage = stage_of(section)
    return ORDER.index(stage.kind), stage.since

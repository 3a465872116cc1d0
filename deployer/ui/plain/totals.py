"""Phases that several hosts have done, in one line for each phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deployer import events as ev
from deployer.ui.progress.command import CommandProgress
from deployer.ui.progress.host import HOOKS
from deployer.ui.progress.stage import stage_of
from deployer.ui.text import clean, seconds

__all__ = ["PhaseTotals"]

OWN = ("read", "migrate", "wait")
"""Phases that differ between hosts, or belong to none: they are not summed up."""


@dataclass(slots=True)
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


class PhaseTotals:
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

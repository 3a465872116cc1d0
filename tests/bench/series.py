"""One command, run again and again at several round-trip times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.bed import Run, Way
from tests.bench.stats import kib, median, seconds, slope, spread

RTTS = (0, 50, 150)
"""Milliseconds."""
Command = Callable[[Way], Run]
HEAD = ("command", "trips", "by time", "KiB up", "KiB down", "KiB")


@dataclass(slots=True)
class Series:
    """``runs`` by round-trip time in milliseconds; only at ``rtts``, if any are given.

    A ``peer`` that fails is left out from then on, and ``failed`` says why; a failure of ours is an error.
    """

    name: str
    command: Command
    rtts: tuple[int, ...] = ()
    peer: bool = False
    failed: str = ""
    runs: dict[int, list[Run]] = field(default_factory=dict)

    def take(self, rtt: int, way: Way) -> None:
        """Run it once more, unless this distance is none of its. Raises RuntimeError when ours fails."""
        if self.failed or (self.rtts and rtt not in self.rtts):
            return
        try:
            self.runs.setdefault(rtt, []).append(self.command(way))
        except RuntimeError as error:
            if not self.peer:
                raise
            self.failed = str(error).strip().splitlines()[-1]

    @property
    def every(self) -> list[Run]:
        return [run for runs in self.runs.values() for run in runs]

    def slope(self) -> float:
        """By how much the wall time grows for each unit of round-trip time.

        What the host's own job took by its own account is taken off first, where a command says so.
        """
        return slope([(rtt / 1000, run.wall - run.on_host) for rtt, runs in self.runs.items() for run in runs])

    def row(self) -> list[str]:
        """Cells for HEAD and, behind its first, a wall time for each round-trip time."""
        if self.failed:
            return [f"{self.name}: failed", *["-"] * (len(RTTS) + len(HEAD) - 1)]
        walls = [spread([run.wall for run in self.runs.get(rtt, [])], seconds) for rtt in RTTS]
        trips = median([run.trips for rtt, runs in self.runs.items() for run in runs if rtt])
        up, down = median([run.up for run in self.every]), median([run.down for run in self.every])
        slope = f"{self.slope():.1f}" if len(self.runs) > 2 else "-"
        return [self.name, *walls, f"{trips:.0f}", slope, kib(up), kib(down), kib(up + down)]

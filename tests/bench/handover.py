"""Figures 2 and 3: what clients notice of a handover, and what it costs the host less the app's own boot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from deployer.sandbox.load import Load, Report
from tests.bench.bed import Bed, Run
from tests.bench.boot import boots
from tests.bench.show import progress, table, title
from tests.bench.stats import median, milliseconds, percentile, seconds, spread

CLIENTS = 2
"""As many as the app has workers: none waits for another, so a delay is the handover's."""
PAUSE = 0.02
QUIET = 3.0
"""Seconds of load before a handover, and after it, that are left as they are."""


@dataclass(slots=True)
class Side:
    """Requests of one kind of time, from several turns."""

    latencies: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    failed: int = 0
    turns: int = 0

    def add(self, report: Report) -> None:
        found = [sample.latency for sample in report.samples if not sample.failure]
        self.latencies += found
        self.p99s.append(percentile(found, 99))
        self.failed += report.failed
        self.turns += 1

    def row(self, name: str) -> list[str]:
        shown = [milliseconds(percentile(self.latencies, percent)) for percent in (50, 99, 100)]
        return [name, str(self.turns), str(len(self.latencies)), *shown, spread(self.p99s, milliseconds), str(self.failed)]


def measure(bed: Bed, *, quick: bool) -> None:
    """Print both tables."""
    turns = 2 if quick else 6
    small = bed.small()
    steady, moving, alone = Side(), Side(), Side()
    runs: list[Run] = []
    with bed.way(0) as way, Load(f"{bed.url}/work?ms=20", clients=CLIENTS, pause=PAUSE) as load:
        time.sleep(1)
        for turn in range(turns):
            progress(f"handover under load, {turn + 1} of {turns}")
            first = load.mark("steady")
            time.sleep(QUIET)
            busy = load.mark("busy")
            bed.burn(way, QUIET)
            begin = load.mark("handover")
            runs.append(way.fab(small, "reload"))
            end = load.mark("end")
            seen = load.snapshot()
            steady.add(seen.between(first, busy))
            alone.add(seen.between(busy, begin))
            moving.add(seen.between(begin, end))
    _show_latencies(steady, alone, moving)
    _show_cost(runs, boots(bed, times=3 if quick else 7))

"""Figure 1: what a deploy, a reload and a rollback cost through a link of some length, beside other tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench import peers
from tests.bench.bed import Bed, Run, Way
from tests.bench.show import progress, table, title
from tests.bench.stats import kib, median, seconds, slope, spread

RTTS = (0, 50, 150)
"""Milliseconds."""

Command = Callable[[Way], Run]


@dataclass(slots=True)
class Series:
    """One command at every round-trip time."""

    name: str
    command: Command
    runs: dict[int, list[Run]] = field(default_factory=dict)

    def take(self, rtt: int, way: Way) -> None:
        self.runs.setdefault(rtt, []).append(self.command(way))

    def trips(self, less_host: bool = False) -> float:
        """Sequential round trips: by how much the wall time grows for each unit of round-trip time."""
        points = [
            (rtt / 1000, run.wall - (run.on_host if less_host else 0.0)) for rtt, runs in self.runs.items() for run in runs
        ]
        return slope(points)

    def row(self) -> list[str]:
        walls = [spread([run.wall for run in self.runs[rtt]], seconds) for rtt in sorted(self.runs)]
        every = [run for runs in self.runs.values() for run in runs]
        ours = all(run.events for run in every)
        up, down = median([run.up for run in every]), median([run.down for run in every])
        cleaned = f"{self.trips(less_host=True):.1f}" if ours else "-"
        return [self.name, *walls, f"{self.trips():.1f}", cleaned, kib(up), kib(down), kib(up + down)]


def measure(bed: Bed, *, quick: bool) -> None:
    """Print the table."""
    times = 1 if quick else 3
    series = ours(bed, quick=quick) + peers.series(bed, quick=quick)
    for rtt in RTTS:
        with bed.way(rtt) as way:
            for turn in range(times):
                for one in series:
                    progress(f"{one.name}, {rtt} ms, {turn + 1} of {times}")
                    one.take(rtt, way)
    title(
        "1. One command through a link",
        "Wall time in seconds, from the start of the command to its exit, at three round-trip times;",
        f"{times} run(s) of each at each, the tools taking turns. Trips: sequential round trips, the slope of wall",
        "time over round-trip time (Theil-Sen); 'less host' first takes off what the host's job says it took itself,",
        "which removes the host's noise. KiB on the wire: medians, SSH and connecting included.",
        "The proxy delays but is no TCP: Nagle's waits, which cost Paramiko as it comes one trip a command, do not show.",
        "Targets: at most 12 trips; at most 64 KiB for the one-line change among 5,000 files.",
    )
    head = ["command", *(f"{rtt} ms" for rtt in RTTS), "trips", "less host", "KiB up", "KiB down", "KiB"]
    table(head, [one.row() for one in series])


def ours(bed: Bed, *, quick: bool) -> list[Series]:
    """Our three commands on the small app, and on the 5,000-file project."""
    small, large = bed.small(), bed.large()

    def deploy_small(way: Way) -> Run:
        bed.change(small)
        return way.fab(small, "deploy")

    def deploy_large(way: Way) -> Run:
        bed.change(large)
        return way.fab(large, "deploy")

    found = [
        Series("deploy, small app", deploy_small),
        Series("reload, small app", lambda way: way.fab(small, "reload")),
        Series("rollback, small app", lambda way: way.fab(small, "rollback")),
        Series("deploy, 5,000 files", deploy_large),
    ]
    if quick:
        return found
    return [
        *found,
        Series("reload, 5,000 files", lambda way: way.fab(large, "reload")),
        Series("rollback, 5,000 files", lambda way: way.fab(large, "rollback")),
    ]

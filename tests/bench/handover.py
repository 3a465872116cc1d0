"""Figures 2 and 3: what clients notice of a handover, and what it costs the host less the app's own boot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from deployer.sandbox.load import Load, Report
from tests.bench.bed import Bed, Run
from tests.bench.boot import boots
from tests.bench.projects import SETTLE, WATCH, WORKERS
from tests.bench.show import progress, say, table, title
from tests.bench.stats import median, milliseconds, percentile, spread

QUIET = 3.0
"""Seconds of load with nothing else, in each turn."""
SHOWN = "one client a worker, each sending one 20 ms request after the other, through nginx"


@dataclass(slots=True)
class Side:
    """Requests of one kind of time, from several turns."""

    name: str
    latencies: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, report: Report) -> None:
        found = [sample.latency for sample in report.samples if not sample.failure]
        self.latencies += found
        self.p99s.append(percentile(found, 99))
        self.failed += report.failed

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 99)

    def row(self) -> list[str]:
        shown = [milliseconds(percentile(self.latencies, percent)) for percent in (50, 99, 100)]
        return [
            self.name,
            str(len(self.latencies)),
            *shown,
            spread(self.p99s, milliseconds),
            str(self.failed),
        ]


def measure(bed: Bed, *, quick: bool) -> None:
    """Print both tables."""
    turns = 2 if quick else 6
    small = bed.small()
    steady, alone, moving = Side("steady"), Side("the app boots beside, no handover"), Side("handover")
    runs: list[Run] = []
    booted: list[float] = []
    with Load(f"{bed.url}/work?ms=20", clients=WORKERS) as load:
        for turn in range(turns):
            progress(f"handover under load, {turn + 1} of {turns}")
            begun = time.monotonic()
            time.sleep(QUIET)
            quiet = (begun, time.monotonic())
            (boot,) = boots(bed, 1)
            booted.append(boot[1] - boot[0])
            run = bed.near().fab(small, "reload")
            runs.append(run)
            seen = load.snapshot()
            steady.add(seen.between(*quiet))
            alone.add(seen.between(boot[0] - seen.epoch, boot[1] - seen.epoch))
            moving.add(seen.between(_first(run) - seen.epoch, run.at("finished") - seen.epoch))
    _show_latencies([steady, alone, moving], turns)
    _show_cost(runs, booted)


def _first(run: Run) -> float:
    """When the host began with the release's first phase."""
    return run.at("phase.started", phase="install")


def _show_latencies(sides: list[Side], turns: int) -> None:
    title(
        "2. Requests during a handover",
        f"Milliseconds; {SHOWN};",
        f"{turns} turns of each, one after the other, all under one load. Handover: from the first phase on the host",
        "to the job's last word. The middle row has the same app boot at the same time, without a handover: what",
        "any start of a second generation costs on these cores.",
        "p99 by turn: median (least to most). Target: p99 during a handover at most 1.5 times the steady p99.",
    )
    table(["requests", "answered", "p50", "p99", "max", "p99 by turn", "failed"], [side.row() for side in sides])
    steady, alone, moving = sides
    by_turn = median(moving.p99s) / median(steady.p99s)
    say(
        f"p99 during a handover: {moving.p99 / steady.p99:.2f} times the steady p99 "
        f"(medians of the turns: {by_turn:.2f}), {moving.p99 / alone.p99:.2f} times that of the app's boot alone"
    )


def _show_cost(runs: list[Run], booted: list[float]) -> None:
    phases = {
        name: [run.phase(name) for run in runs] for name in ("install", "start", "check", "switch", "drain", "watch")
    }
    boot = median(booted)
    own = [run.phase("install") + run.phase("switch") + run.phase("drain") + run.phase("start") - boot for run in runs]
    rows = [
        ("request to first phase (unit, interpreter)", [_first(run) - run.at("connected") for run in runs]),
        ("install", phases["install"]),
        ("start", phases["start"]),
        ("the app's boot alone, to its first answer", booted),
        ("start less the app's boot", [value - boot for value in phases["start"]]),
        ("check less settle", [value - SETTLE for value in phases["check"]]),
        ("switch", phases["switch"]),
        ("drain", phases["drain"]),
        ("watch less its set time (prune included)", [value - WATCH for value in phases["watch"]]),
        ("OWN COST: install + start - boot + switch + drain", own),
    ]
    title(
        "3. What a handover costs the host, less the app's boot",
        f"Milliseconds, from the events of {len(runs)} reloads under the load of figure 2 (the drain has requests to",
        "wait for); the boot alone was taken in the same turns. Median (least to most).",
    )
    table(["part", "ms"], [[name, spread(values, milliseconds)] for name, values in rows])

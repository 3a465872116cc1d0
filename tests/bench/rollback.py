"""Figure 4: how soon a client is served by the other version when somebody rolls back."""

from __future__ import annotations

from deployer.sandbox.load import Load, Report
from tests.bench.bed import Bed, Run
from tests.bench.boot import boots
from tests.bench.show import progress, say, table, title
from tests.bench.stats import milliseconds, seconds, spread

PAUSE = 0.01
"""Seconds between two requests of the one client that looks: how finely it sees."""


def measure(bed: Bed, *, quick: bool) -> None:
    """Print the table."""
    times = 3 if quick else 10
    small = bed.small()
    versions = ["1", "2"]
    runs: list[Run] = []
    visible: list[float] = []
    booted: list[float] = []
    small.change(version=versions[-1])
    number = int(bed.near().fab(small, "deploy").event("finished")["serving"][1:])
    with Load(f"{bed.url}/", clients=1, pause=PAUSE) as load:
        for turn in range(times):
            progress(f"rollback, {turn + 1} of {times}")
            versions.reverse()
            run = bed.near().fab(small, "rollback", "--to", f"v{number - 1}")
            number += 1
            runs.append(run)
            ((begun, ended),) = boots(bed, 1)
            booted.append(ended - begun)
            visible.append(_first_answer(load.snapshot(), versions[-1], run.at("connected")))
    _show(runs, visible, booted)


def _first_answer(seen: Report, version: str, since: float) -> float:
    """Seconds from ``since`` (since 1970) to the end of the first answer with that version."""
    begun = since - seen.epoch
    return min(one.ended for one in seen.samples if one.version == version and one.ended > begun) - begun


def _show(runs: list[Run], visible: list[float], booted: list[float]) -> None:
    title(
        "4. A rollback, as a client sees it",
        f"From the Connected event to the client's first answer with the other version; {len(runs)} rollbacks at 0 ms,",
        "back and forth between two versions; one client, a request every 10 ms or so. Target: 1 s.",
    )
    first = [run.at("phase.started", phase="install") for run in runs]
    parts = [
        (
            "request to first phase (unit, interpreter)",
            [at - run.at("connected") for at, run in zip(first, runs, strict=True)],
        ),
        ("install", [run.phase("install") for run in runs]),
        ("start (the app's boot, mostly)", [run.phase("start") for run in runs]),
        ("check", [run.phase("check") for run in runs]),
        ("VISIBLE after Connected", visible),
        ("of which the app's boot, measured alone", booted),
        ("VISIBLE less the app's boot", [value - boot for value, boot in zip(visible, booted, strict=True)]),
        ("the whole command, for comparison", [run.wall for run in runs]),
    ]
    table(["part", "ms"], [[name, spread(values, milliseconds)] for name, values in parts])
    say("all, in seconds, sorted: " + " ".join(seconds(value) for value in sorted(visible)))
    within = sum(value <= 1 for value in visible)
    say(f"within 1 s: {within} of {len(visible)}")

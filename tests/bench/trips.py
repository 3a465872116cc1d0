"""Figure 1: what a deploy, a reload and a rollback cost through a link of some length, beside other tools."""

from __future__ import annotations

import math
import time

from tests.bench.bed import Bed, Run, Way
from tests.bench.peers import peers
from tests.bench.series import HEAD, RTTS, Series
from tests.bench.show import progress, say, table, title

BUDGET = 440.0
"""Seconds within which a further turn must fit, so that all figures take 12 minutes: on a busy machine there are fewer
than TURNS. By itself this figure takes its time."""
TURNS = 3


def measure(bed: Bed, *, quick: bool, alone: bool) -> None:
    """Print the table."""
    series = ours(bed, quick=quick) + peers(bed, quick=quick)
    times = _take_turns(bed, series, turns=1 if quick else TURNS, budget=math.inf if alone else BUDGET)
    title(
        "1. One command through a link",
        "Wall time in seconds, from the start of the command to its exit, at three round-trip times;",
        f"{times} run(s) of each at each where there is a figure, the tools taking turns; median (least to most). In",
        "ours settle is 0.25 s and watch 0.5 s. Trips: how often the host was heard after the client had spoken, and",
        "connections opened, as counted on the wire at 50 and 150 ms: never too low. By time: the slope of wall time",
        "over round-trip time (Theil-Sen), in ours less what the host's job says it took. KiB: SSH and connecting",
        "included; medians. Peers log in as root or with full sudo, and neither try the new code in private nor drain.",
        "The link delays but is no TCP: Nagle's waits, which cost stock Paramiko a trip a command, do not show.",
        "Targets: at most 12 trips; at most 64 KiB for the one-line change among 5,000 files.",
    )
    first, *rest = HEAD
    table([first, *(f"{rtt} ms" for rtt in RTTS), *rest], [one.row() for one in series])
    for one in series:
        if one.failed:
            say(f"{one.name} was left out: {one.failed}")


def _take_turns(bed: Bed, series: list[Series], turns: int, budget: float) -> int:
    """Run all of them at every distance, again and again; how often that was."""
    begun = time.monotonic()
    for turn in range(turns):
        if turn and (time.monotonic() - begun) * (turn + 1) / turn > budget:
            return turn
        for rtt in RTTS:
            with bed.way(rtt) as way:
                for one in series:
                    progress(f"{one.name}, {rtt} ms, {turn + 1} of {turns}")
                    one.take(rtt, way)
    return turns


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
        Series("deploy, 5,000 files", deploy_large, rtts=(50,) if quick else ()),
    ]
    if quick:
        return found
    return [
        *found,
        Series("reload, 5,000 files", lambda way: way.fab(large, "reload"), rtts=(50,)),
        Series("rollback, 5,000 files", lambda way: way.fab(large, "rollback"), rtts=(50,)),
    ]

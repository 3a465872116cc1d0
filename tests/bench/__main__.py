"""``python -m tests.bench [--quick] [--only NAME …]``: prints all figures, or those that are named."""

from __future__ import annotations

import argparse
import compileall
import sys
import time
from collections.abc import Callable
from pathlib import Path

import deployer
from tests.bench import handover, rollback, show, startup, throughput, trips
from tests.bench.bed import Bed, bed

FIGURES: dict[str, tuple[str, Callable[[Bed, bool], None]]] = {
    "startup": (
        "5: fab --list beside stock fab",
        lambda bed, quick: startup.measure(bed.directory, quick=quick),
    ),
    "rollback": ("4: when a client sees a rollback", lambda bed, quick: rollback.measure(bed, quick=quick)),
    "handover": (
        "2 and 3: requests during one, and its own cost",
        lambda bed, quick: handover.measure(bed, quick=quick),
    ),
    "trips": ("1: wall time, round trips and bytes", lambda bed, quick: trips.measure(bed, quick=quick)),
    "throughput": ("6: upload of 100 MB", lambda bed, quick: throughput.measure(bed, quick=quick)),
}


def main() -> int:
    """Exit status 0 when everything could be measured, whatever came of it; 1 otherwise."""
    names = "; ".join(f"{name} ({what})" for name, (what, _) in FIGURES.items())
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What deployer costs.")
    parser.add_argument("--quick", action="store_true", help="fewer runs, no slow peers: about 3 minutes instead of 12")
    parser.add_argument("--only", action="append", choices=list(FIGURES), metavar="NAME", help=f"one of: {names}")
    options = parser.parse_args()
    begun = time.monotonic()
    show.header(quick=options.quick)
    compileall.compile_dir(str(Path(deployer.__file__).parent), quiet=2)  # as pip does; fab itself never would
    failed = False
    with bed() as made:
        for name, (_, measure) in FIGURES.items():
            if options.only and name not in options.only:
                continue
            show.say("")
            show.contention(f"before {name}")
            try:
                measure(made, options.quick)
            except Exception as error:  # the other figures are worth having all the same
                show.say("", f"{name} could not be measured: {error!r}")
                failed = True
            show.contention(f"after {name}, {time.monotonic() - begun:.0f} s after the start")
    show.say("", f"took {time.monotonic() - begun:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

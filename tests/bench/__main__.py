"""``python -m tests.bench [--quick] [--only NAME …]``: prints all figures but BY_NAME, or those that are named."""

from __future__ import annotations

import argparse
import compileall
import sys
import time
from pathlib import Path

import deployer
from tests.bench import fleet, handover, https, rollback, scale, show, startup, throughput, trips
from tests.bench.bed import Bed, bed

FIGURES = {
    "startup": "5: fab --list beside stock fab",
    "rollback": "4: when a client sees a rollback",
    "handover": "2 and 3: requests during one, and its own cost",
    "trips": "1: wall time, round trips and bytes",
    "throughput": "6: upload of 100 MB",
    "https": "8: handovers over TLS, through Caddy and nginx",
    "scale": "9: projects and environments of several sizes, in seconds and in files",
    "fleet": "7: several hosts at once, beside stock Fabric host by host",
}

BY_NAME = ("scale",)
"""Measured only when named: it takes longer than all the others together."""


def measure(name: str, bed: Bed, *, quick: bool, alone: bool) -> None:
    """Print one figure. ``alone``: it need not leave time for others."""
    if name == "startup":
        startup.measure(bed.directory, quick=quick)
    elif name == "rollback":
        rollback.measure(bed, quick=quick)
    elif name == "handover":
        handover.measure(bed, quick=quick)
    elif name == "trips":
        trips.measure(bed, quick=quick, alone=alone)
    elif name == "https":
        https.measure(quick=quick)
    elif name == "scale":
        scale.measure(bed.directory, quick=quick)
    elif name == "fleet":
        fleet.measure(bed.directory, quick=quick)
    else:
        throughput.measure(bed, quick=quick)


def main() -> int:
    """Exit status 0 when everything could be measured, whatever came of it; 1 otherwise."""
    names = "; ".join(f"{name} ({what})" for name, what in FIGURES.items())
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What deployer costs.")
    parser.add_argument("--quick", action="store_true", help="fewer runs, no slow peers: about 4 minutes instead of 18")
    parser.add_argument("--only", action="append", choices=list(FIGURES), metavar="NAME", help=f"one of: {names}")
    options = parser.parse_args()
    begun = time.monotonic()
    show.header(quick=options.quick)
    compileall.compile_dir(str(Path(deployer.__file__).parent), quiet=2)  # as pip does; fab itself never would
    failed = False
    with bed() as made:
        for name in [name for name in FIGURES if name in (options.only or FIGURES.keys() - set(BY_NAME))]:
            show.say("")
            show.contention(f"before {name}")
            try:
                measure(name, made, quick=options.quick, alone=options.only == [name])
            except Exception as error:  # the other figures are worth having all the same
                show.say("", f"{name} could not be measured: {error!r}")
                failed = True
            show.contention(f"after {name}, {time.monotonic() - begun:.0f} s after the start")
    show.say("", f"took {time.monotonic() - begun:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

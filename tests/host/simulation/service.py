"""How a release's process behaves: as a file of its code says, unless a variable of its environment says otherwise."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

GOOD = "good"
CRASHES = "crashes at its start"
BROKEN = "answers 500"
DIES_LATER = "dies once it is current"
BREAKS_LATER = "answers 500 once it is current"

WORKER_CRASHES = "crashes at its start, as a worker"
WORKER_DIES = "dies once it takes jobs, as a worker"
WORKER_EXITS = "ends well at once, as a worker"

NEVER_HEALTHY = (CRASHES, BROKEN)
OF_WEB = (CRASHES, BROKEN, DIES_LATER, BREAKS_LATER)
OF_WORKERS = (WORKER_CRASHES, WORKER_DIES, WORKER_EXITS)
BEHAVIOURS = (GOOD, *OF_WEB, *OF_WORKERS)

FILE = "behaviour"
VARIABLE = "BEHAVIOUR"


@dataclass(frozen=True)
class Program:
    """What a unit's file says will run, and what it finds there. ``lacks`` is why it cannot start; empty when it can.

    ``release`` is the number of the release whose code it is.
    """

    release: int
    behaviour: str
    lacks: str
    identity: str


def read(unit: dict[str, list[str]]) -> Program:
    """The program of a service unit, looked at as it lies on the disk now."""
    directory = Path(unit["WorkingDirectory"][-1])
    environment = Path(unit["EnvironmentFile"][-1])
    binary = Path(unit["ExecStart"][-1].split()[0])
    needed = (directory, directory / "app.py", directory / FILE, environment, binary, directory / "static/out.txt")
    missing = next((str(path) for path in needed if not path.exists()), "")
    number = int(re.findall(r"/releases/v([0-9]+)/", str(environment))[0])
    if missing:
        return Program(number, CRASHES, missing, "")
    text = environment.read_text()
    found = re.search(rf'^{VARIABLE}="([^"]*)"$', text, re.MULTILINE)
    behaviour = found.group(1) if found else (directory / FILE).read_text().split("\n")[0]
    return Program(number, behaviour, "", (directory / "app.py").read_text() + text)


@functools.lru_cache(256)
def parse(text: str) -> dict[str, list[str]]:
    """The directives of a unit file, whatever section they are in."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found

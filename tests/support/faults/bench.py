"""A site for one case after the other: each begins with the release that the one before it ended with."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.host.state import lease
from deployer.sandbox import SandboxHost
from tests.support.faults.app import APP, ONE, PERIOD, Parts, WholeSite, make_whole
from tests.support.faults.install import Faults, faults
from tests.support.faults.survey import Survey, survey
from tests.support.jobs import Jobs
from tests.support.site import KEPT

BOUND = 60.0
"""Seconds within which a host must be whole again."""
FLEET = "deploy to a fleet"
COMMANDS = {
    "deploy": ("deploy", "--json"),
    "reload": ("reload", "--json"),
    "rollback": ("rollback", "--json", "--yes"),
    FLEET: ("-c", ONE, "deploy", "--json"),
}


@dataclass
class Bench:
    """A site for one case after the other: each begins with the release that the one before it ended with."""

    site: WholeSite
    faults: Faults
    releases: dict[str, Parts] = field(default_factory=dict)
    """What each release is made of that was ever made here."""
    turn: int = 1
    kept: dict[str, Parts] = field(default_factory=dict)
    """The same of the two releases that are brought back when a case has left something; empty before there are any."""

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.site.host, self.site.app)

    def survey(self) -> Survey:
        return survey(self.site.host, self.site.app)

    def ready(self) -> Survey:
        """Two good releases and nothing else; brought back when the case before has left something."""
        self.faults.clear()
        self.jobs.clean()
        now = self.survey()
        if now.current in self.releases and not now.leftovers(timer=True):
            return now
        if not self.kept:
            self._two_releases()
        else:
            self.site.bring_back()
            self.releases = dict(self.kept)
            self.jobs.clean()
        return self.settled(lambda one: one.leftovers(timer=True))

    def _two_releases(self) -> None:
        self.site.wipe()
        self.jobs.clean()
        self.releases.clear()
        for _ in range(2):
            self.deploy()
        self.settled(lambda one: one.leftovers(timer=True))
        self.kept = dict(self.releases)
        self.site.keep()
        self.site.host.run(f"rm -f {KEPT}/{APP}/var/lib/{APP}/lives/*")  # those who live now will not when it is back

    def deploy(self) -> None:
        """The good deploy of a new commit, without a manual step before it."""
        self.turn += 1
        parts = Parts(self.turn, self.turn)
        self.site.write(parts)
        ended = self.site.fab("deploy", "--json")
        assert ended.exit == 0, f"the next deploy: exit {ended.exit}\n{ended.text}"
        self.releases[ended.event("finished")["release"]] = parts

    def prepare(self, command: str, before: Survey) -> Parts | None:
        """Change the project so that ``command`` has something to do; what its release will be made of, if known."""
        self.turn += 1
        old = self.releases[before.current]
        if command == "rollback":
            return None
        parts = Parts(old.version if command == "reload" else self.turn, self.turn)
        self.site.write(Parts(self.turn, self.turn))
        return parts

    def settled(self, wrong: Callable[[Survey], list[str]], seconds: float = BOUND) -> Survey:
        """Wait until nothing is wrong; the last look, whatever it shows."""
        deadline = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            now = self.survey()
            if not wrong(now) or time.monotonic() > deadline:
                return now
            time.sleep(max(0.2, 4 * (time.monotonic() - began)))

    def rests(self) -> list[str]:
        """What is still there when the dead-man's switch, too, must have ended."""
        return self.settled(lambda now: now.leftovers(), BOUND + lease.PERIOD).leftovers()

    def note(self, now: Survey, parts: Parts | None) -> None:
        """Remember what the newest releases consist of: of ``parts``, else of what they were copied from."""
        for name, record in now.records.items():
            if name not in self.releases and "of" in record:
                self.releases[name] = parts or self.releases[f"v{record['of']}"]

    def mixed(self, now: Survey) -> list[str]:
        """Unless code, virtual environment, environment and units are all those of the release ``current`` names."""
        record, parts = now.records[now.current], self.releases[now.current]
        wanted = {
            "release": now.current,
            "code": record["tree"],
            "venv": record["venv"],
            "version": str(parts.version),
            "env": str(parts.mark),
            "unit": str(parts.mark),
        }
        there, mark = self.site.get(), {"mark": wanted["unit"]}
        works = {**{key: wanted[key] for key in ("release", "code", "venv", "env")}, **mark}
        alive = [{key: one[key] for key in works} for one in now.found["lives"] if one["alive"]]
        return [
            *([] if there == wanted else [f"what serves is {there}, not {wanted}"]),
            *([] if alive == [works] else [f"what works is {alive}, not {[works]}"]),
            *now.doubled(PERIOD),
        ]

    def boundaries(self, command: str) -> list[str]:
        """Every boundary of a command, as a clean run passes them; the job's first breath is one."""
        before = self.ready()
        parts = self.prepare(command, before)
        ended = self.site.expect(0, *COMMANDS[command])
        self.note(self.survey(), parts)
        self.deploy()
        return ["begun", *labels(ended.events)]


def labels(events: list[dict[str, Any]]) -> list[str]:
    """The boundaries that a job's events stand for, as ``injected.label`` names them; each once. What comes
    before the first phase is of this machine, such as a warning about the project."""
    left_out = ("connecting", "connected", "progress", "output", "logs", "fleet")
    told = (" ".join(filter(None, (event["event"], event.get("phase")))) for event in events)
    told = itertools.dropwhile(lambda one: not one.startswith("phase."), told)
    return list(dict.fromkeys(one for one in told if not one.startswith(left_out)))


@contextlib.contextmanager
def bench_on(host: SandboxHost, path: Path) -> Iterator[Bench]:
    """The app set up on a host, where accidents can be ordered for as long as the block; then it is wiped."""
    site = make_whole(host, path)
    site.expect(0, "setup", user="root")
    with faults(host, site.app) as ordered:
        yield Bench(site, ordered)
    site.wipe()

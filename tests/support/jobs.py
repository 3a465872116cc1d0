"""Jobs for the workers of an app on a real host, and all that its programs wrote down about jobs, lives and runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.sandbox import SandboxHost
from tests.support.programs import FACTS, FEEDER
from tests.support.site import wait_until

PLACES = "jobs taken done lives runs go"
HELD = "held"
"""How long something takes that goes on until it is let go."""
TICK = 0.02
"""Seconds by which a process may seem to have begun too early: the kernel counts in hundredths."""


@dataclass(frozen=True)
class Facts:
    """What was written down: jobs that wait, those in somebody's hands, those that were done, lives, runs."""

    jobs: list[str]
    taken: list[str]
    done: list[dict[str, Any]]
    lives: list[dict[str, Any]]
    runs: list[dict[str, Any]]

    def job(self, name: str) -> dict[str, Any]:
        """Who did it. AssertionError unless it was done once."""
        found = [one for one in self.done if one["job"] == name]
        assert len(found) == 1, f"{name} was done {len(found)} times: {found}"
        return found[0]

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        """The runs of a timer, in the order in which they began."""
        return sorted((one for one in self.runs if one["name"] == name), key=lambda run: float(run["began"]))

    def lives_of(self, name: str, release: str) -> list[dict[str, Any]]:
        """The instances of a process that there ever were of a release."""
        return [one for one in self.lives if (one["name"], one["release"]) == (name, release)]


def due(run: dict[str, Any], period: int) -> int:
    """The time for which a run was made, of those that there are every ``period`` seconds: counted in periods."""
    return int((run["began"] + TICK) // period)


def not_once(runs: Sequence[dict[str, Any]], period: int) -> list[str]:
    """Unless a timer that is due every ``period`` seconds has run once for each time, from the first run to the last:
    what its runs were."""
    made = [due(run, period) for run in runs]
    if made == list(range(made[0], made[-1] + 1)):
        return []
    return [f"{run['release']} at {run['began']:.2f}" for run in runs]


def never_two_at_a_time(lives: Sequence[dict[str, Any]]) -> None:
    """AssertionError unless each life has ended when the next begins."""
    for before, after in itertools.pairwise(sorted(lives, key=lambda one: float(one["began"]))):
        assert 0 < before["ended"] <= after["began"] + TICK, f"two at a time: {before}, {after}"


@dataclass(frozen=True)
class Jobs:
    """Those of one app; its worker is ``programs.WORKER``."""

    host: SandboxHost
    app: str

    def clean(self) -> None:
        """No jobs, and no memory of any, nor of runs; the places are there, and the app's. What lives is remembered."""
        state = f"/var/lib/{self.app}"
        self.host.run(
            f"mkdir -p {state} && cd {state} && mkdir -p {PLACES} && rm -f jobs/* taken/* done/* runs/* go/* "
            f"&& chown {self.app}: . {PLACES} && chmod 700 ."
        )

    def put(self, job: str, seconds: float | str) -> None:
        """Put in a job that takes so long, or is HELD."""
        order = json.dumps({"seconds": seconds, "put": time.time()})
        self.host.run(f"cd /var/lib/{self.app}/jobs && cat > .{job} && mv .{job} {job}", input=order.encode())

    def let_go(self, name: str) -> None:
        """Have a job come to its end that is HELD, or the runs of a timer."""
        self.host.run(["touch", f"/var/lib/{self.app}/go/{name}"])

    def put_in_hand(self, job: str, seconds: float | str = HELD) -> None:
        """Put in a job, and wait until somebody has it."""
        self.put(job, seconds)
        self.until(lambda facts: any(one.startswith(f"{job}.") for one in facts.taken), f"{job} is taken")

    def facts(self) -> Facts:
        return Facts(**json.loads(self.host.run(["python3", "-", self.app], input=FACTS.encode()).stdout))

    def until(self, condition: Callable[[Facts], Any], what: str, seconds: float = 30) -> Facts:
        """Wait until the facts are so; they are returned."""
        found: list[Facts] = []

        def holds() -> bool:
            found[:] = [self.facts()]
            return bool(condition(found[0]))

        wait_until(holds, what, seconds)
        return found[0]

    @contextlib.contextmanager
    def feeding(self, seconds: float = 0.05) -> Iterator[None]:
        """New jobs come all the time, for as long as the block; afterwards each was done once, and none is lost."""
        self.feed(seconds)
        try:
            yield
        finally:
            count = self.stop_feeding()
        problems = self.undone(count)
        assert not problems, problems

    def feed(self, seconds: float = 0.05) -> None:
        """From now on a new job comes every 0.05 s, numbered from 0; each takes so many ``seconds``."""
        self.host.run(["tee", "/run/feeder.py"], input=FEEDER.encode())
        self.host.run(
            "systemctl stop feeder 2>/dev/null; rm -f /run/fed; systemd-run --quiet --collect --unit=feeder "
            f"-p StandardOutput=file:/run/fed python3 /run/feeder.py {self.app} {seconds:g}"
        )

    def stop_feeding(self) -> int:
        """No new job comes any more; how many there were."""
        self.host.run(["systemctl", "stop", "feeder"], check=False)
        return int(self.host.run(["cat", "/run/fed"]).stdout)

    def undone(self, count: int) -> list[str]:
        """What is wrong with so many jobs that came: left lying, lost, or done twice. Waits for those in hand."""
        with contextlib.suppress(AssertionError):
            self.until(lambda facts: not facts.jobs and not facts.taken, "all jobs are done")
        facts = self.facts()
        done = [one["job"] for one in facts.done if one["job"].isdigit()]
        lost = {f"{number:05}" for number in range(count)} - {*done, *facts.jobs, *(one[:5] for one in facts.taken)}
        return [
            *(f"nobody does job {one}" for one in facts.jobs),
            *(f"job {one} was not finished" for one in facts.taken),
            *(f"job {one} is lost" for one in sorted(lost)),
            *(f"job {one} was done {done.count(one)} times" for one in sorted(set(done)) if done.count(one) > 1),
        ]

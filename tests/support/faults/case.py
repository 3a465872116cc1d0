"""One cell of the matrix: a command, a boundary in it, an accident there; and all that must be true afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployer.sandbox.load import Load, Report
from tests.support.faults.accident import FAULTS, Aftermath, Scene
from tests.support.faults.app import Parts
from tests.support.faults.bench import COMMANDS, FLEET, Bench
from tests.support.faults.survey import Survey
from tests.support.site import CALM, wait_until

LEASE = 15.0
"""Seconds that a fleet's candidate waits here for a sign of the laptop: more than it takes to come back."""


@dataclass(frozen=True)
class Cell:
    """What came of one case. ``serves`` is old or new; ``problems`` are all that was not as it must be."""

    command: str
    boundary: str
    fault: str
    serves: str
    exit: int | None
    sent: int
    failed: int
    seconds: float
    problems: list[str] = field(default_factory=list)


@dataclass
class Case:
    """One case under way; ``problems`` grow.

    ``states`` are what ``fab releases`` may call an attempt that did not get to serve. Where ``either`` release may
    serve afterwards, only that it is a whole one counts. ``at_once`` leaves no time to the host: what the accident has
    left is the next deploy's to put right.
    """

    bench: Bench
    command: str
    boundary: str
    fault: str
    accident: Callable[[Scene], Aftermath] | None = None
    states: tuple[str, ...] = ("interrupted",)
    either: bool = False
    at_once: bool = False
    problems: list[str] = field(default_factory=list)

    def run(self) -> Cell:
        started = time.monotonic()
        before = self.bench.ready()
        parts = self.bench.prepare(self.command, before)
        serves, after, report = "?", Aftermath(None), None
        self.bench.jobs.feed()
        with self.bench.site.load(clients=2, pause=CALM) as load:
            try:
                wait_until(lambda: load.snapshot().succeeded > 5, "the load is on")
                after = self._befall()
                serves = self._judge(before, parts, after)
                self._deploy_again()
                self._jobs(after)
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")
            report = load.stop()
        failed, sent = self._requests(load, report, after)
        return Cell(
            self.command, self.boundary, self.fault, serves, after.exit, sent, failed,
            time.monotonic() - started, self.problems,
        )  # fmt: skip

    def _befall(self) -> Aftermath:
        def settled() -> None:
            self._wait_for(lambda now: now.leftovers(sessions=True, timer=True), "before the network is back")

        if self.unheard:
            self.bench.faults.lease(LEASE)
        scene = Scene(self.bench.site, self.bench.faults, COMMANDS[self.command], self.boundary, settled)
        return (self.accident or FAULTS[self.fault])(scene)

    @property
    def unheard(self) -> bool:
        """No more of the fleet's words come: the host is left to itself."""
        return self.command == FLEET and self.fault in ("laptop", "network")

    def _wait_for(self, wrong: Callable[[Survey], list[str]], when: str) -> Survey:
        """Until nothing is wrong on the host; what is still wrong after that is a problem."""
        now = self.bench.settled(wrong)
        self.problems += [f"{when}: {what}" for what in wrong(now)]
        return now

    def _judge(self, before: Survey, parts: Parts | None, after: Aftermath) -> str:
        now = self._wait_for(lambda one: [] if self.at_once else one.leftovers(timer=True), "afterwards")
        self.bench.note(now, parts)
        self.problems += self.bench.mixed(now)
        serves = self._old_or_new(before, now)
        wanted = expected(self.boundary, self.fault, unheard=self.unheard)
        if not self.either and serves not in wanted:
            self.problems.append(f"the {serves} release serves, not the {wanted} one")
        if not self.at_once:
            self._told(before, serves, now)
        self._ending(serves, after)
        return serves

    def _old_or_new(self, before: Survey, now: Survey) -> str:
        if now.current == before.current:
            return "old"
        return "new" if int(now.current[1:] or 0) > before.newest else "?"

    def _told(self, before: Survey, serves: str, now: Survey) -> None:
        """``fab releases`` tells how the attempt ended, and in which phase."""
        listed = json.loads(self.bench.site.expect(0, "releases", "--json").out)["releases"]
        rows = {row["number"]: row for row in listed}
        if rows[now.current]["state"] != "current":
            self.problems.append(f"fab releases says of {now.current}: {rows[now.current]}")
        for name, row in rows.items():
            if int(name[1:]) > before.newest and name != now.current:
                self._told_interrupted(row)
        if serves == "old" and self.phase and f"v{before.newest + 1}" not in rows:
            self.problems.append(f"fab releases does not know v{before.newest + 1}")

    def _told_interrupted(self, row: dict[str, Any]) -> None:
        if self.fault == "abort":
            if row["state"] not in ("failed", "rolled back") or not row["reason"].startswith("aborted by "):
                self.problems.append(f"fab releases tells {row['state']!r}, {row['reason']!r}")
        elif self.unheard:
            if row["state"] != "failed" or "nothing was heard of the laptop" not in row["reason"]:
                self.problems.append(f"fab releases tells {row['state']!r}, {row['reason']!r}")
        elif row["state"] not in self.states or not row["reason"] or self.phase not in row["reason"]:
            self.problems.append(f"fab releases tells {row['state']!r}, {row['reason']!r}")

    @property
    def phase(self) -> str:
        """The phase that the boundary is in; empty when it is in none."""
        return self.boundary.partition(" ")[2] if self.boundary.startswith("phase.") else ""

    def _ending(self, serves: str, after: Aftermath) -> None:
        """Whoever followed the command has heard its real end; nobody has seen a bug of ours."""
        wanted = {"old": (5, 6), "new": (0,)}.get(serves, ())
        last = "\n".join(after.said.splitlines()[-3:])
        if self.fault not in ("laptop", "session", "network", "plug") and after.exit not in wanted:
            self.problems.append(f"fab ended with {after.exit}, though the {serves} release serves\n{last}")
        if after.exit in (1, 2, 3, 4) or "Traceback" in after.said:
            self.problems.append(f"fab says that nothing was done, or shows a bug: exit {after.exit}\n{last}")

    def _deploy_again(self) -> None:
        self.bench.faults.clear()
        self.bench.deploy()
        self.problems += self.bench.mixed(
            self._wait_for(lambda one: one.leftovers(timer=True), "after the next deploy")
        )

    def _jobs(self, after: Aftermath) -> None:
        """Each was done once; a power cut takes those in hand, and whoever put them in."""
        if after.off is None:
            self.problems += self.bench.jobs.undone(self.bench.jobs.stop_feeding())

    def _requests(self, load: Load, report: Report, after: Aftermath) -> tuple[int, int]:
        """Failed and all requests; those that overlap the time when the host was off do not count."""
        off, on = after.off or (report.end, report.start)
        counted = [
            one for one in report.samples if after.off is None or one.ended < off or one.ended - one.latency > on
        ]
        failed = [one for one in counted if one.failure]
        if failed:
            began = on if after.off else report.start
            moments = [f"{one.failure} at {one.ended - began:.2f} s: {one.detail}" for one in failed[:5]]
            self.problems.append(f"{len(failed)} of {len(counted)} requests failed: {moments}")
        if len(counted) < 20:
            self.problems.append(f"only {len(counted)} requests were sent")
        return len(failed), len(counted)


def expected(boundary: str, fault: str, *, unheard: bool = False) -> str:
    """What must serve: an attempt that is left alone goes on; one that died counts from the rename on.

    A job that was killed before its first word has done nothing yet, and just begins again. One of a fleet that is
    ``unheard`` goes on only past a barrier for which it had the word: at the switch that may just have come, or not.
    """
    if fault == "abort":
        return "new" if boundary in ("phase.done watch", "finished") else "old"
    if unheard and boundary == "ready switch":
        return "old or new"
    if (fault not in ("job", "plug") and not unheard) or (boundary, fault) == ("begun", "job"):
        return "new"
    name, _, phase = boundary.partition(" ")
    switched = name in ("switched", "finished") or boundary in ("phase.done switch", "ready keep")
    told = unheard and boundary == "phase.started switch"
    return "new" if switched or told or phase in ("drain", "watch") else "old"

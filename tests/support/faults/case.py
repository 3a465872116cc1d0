"""One cell of the matrix: a command, a boundary in it, an accident there; and all that must be true afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployer.host import lease
from deployer.sandbox.load import Load, Report
from tests.support.faults.accident import FAULTS, Aftermath, Scene
from tests.support.faults.app import Parts, WholeSite
from tests.support.faults.install import Faults
from tests.support.faults.survey import Survey, survey
from tests.support.site import wait_until

BOUND = 60.0
"""Seconds within which a host must be whole again."""
COMMANDS = {"deploy": ("deploy", "--json"), "reload": ("reload", "--json"), "rollback": ("rollback", "--json", "--yes")}


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
class Bench:
    """A site for one case after the other: each begins with the release that the one before it ended with."""

    site: WholeSite
    faults: Faults
    releases: dict[str, Parts] = field(default_factory=dict)
    """What each release is made of that was ever made here."""
    turn: int = 1

    def survey(self) -> Survey:
        return survey(self.site.host, self.site.app)

    def ready(self) -> Survey:
        """Two good releases and nothing else; made afresh when the case before has left something."""
        self.faults.clear()
        if self.releases and not self.survey().leftovers(timer=True):
            return self.survey()
        self.site.wipe()
        self.releases.clear()
        for _ in range(2):
            self.deploy()
        return self.survey()

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
        parts = Parts(self.turn if command == "deploy" else old.version, self.turn)
        self.site.write(Parts(self.turn, self.turn))
        return parts

    def rests(self) -> list[str]:
        """What is still there when the dead-man's switch, too, must have ended."""
        deadline = time.monotonic() + BOUND + lease.PERIOD
        while self.survey().leftovers() and time.monotonic() < deadline:
            time.sleep(0.5)
        return self.survey().leftovers()

    def boundaries(self, command: str) -> list[str]:
        """Every boundary of a command, as a clean run passes them; the job's first breath is one."""
        before = self.ready()
        parts = self.prepare(command, before)
        ended = self.site.expect(0, *COMMANDS[command])
        release = ended.event("finished")["release"]
        self.releases[release] = parts or self.releases[self._origin(self.survey(), release)]
        return ["begun", *labels(ended.events)]

    def _origin(self, now: Survey, release: str) -> str:
        return f"v{now.records[release]['of']}"


def labels(events: list[dict[str, Any]]) -> list[str]:
    """The boundaries that a job's events stand for, as ``injected.label`` names them; each once."""
    left_out = ("connecting", "connected", "progress", "output", "logs")
    told = (" ".join(filter(None, (event["event"], event.get("phase")))) for event in events)
    return list(dict.fromkeys(one for one in told if not one.startswith(left_out)))


@dataclass
class Case:
    """One case under way; ``problems`` grow."""

    bench: Bench
    command: str
    boundary: str
    fault: str
    problems: list[str] = field(default_factory=list)

    def run(self) -> Cell:
        started = time.monotonic()
        before = self.bench.ready()
        parts = self.bench.prepare(self.command, before)
        serves, after, report = "?", Aftermath(None), None
        with self.bench.site.load(clients=2, pause=0.02) as load:
            try:
                wait_until(lambda: load.snapshot().succeeded > 5, "the load is on")
                after = self._befall()
                serves = self._judge(before, parts, after)
                self._deploy_again()
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

        scene = Scene(self.bench.site, self.bench.faults, COMMANDS[self.command], self.boundary, settled)
        return FAULTS[self.fault](scene)

    def _wait_for(self, wrong: Callable[[Survey], list[str]], when: str, seconds: float = BOUND) -> Survey:
        """Until nothing is wrong on the host; what is still wrong after that is a problem."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.bench.survey()
            if not wrong(now) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        self.problems += [f"{when}: {what}" for what in wrong(now)]
        return now

    def _judge(self, before: Survey, parts: Parts | None, after: Aftermath) -> str:
        now = self._wait_for(lambda one: one.leftovers(timer=True), "afterwards")
        self._made(now, parts)
        self._serves_one_whole(now)
        serves = self._old_or_new(before, now)
        if serves != expected(self.boundary, self.fault):
            self.problems.append(f"the {serves} release serves, not the {expected(self.boundary, self.fault)} one")
        self._told(before, serves, now)
        self._ending(serves, after)
        return serves

    def _made(self, now: Survey, parts: Parts | None) -> None:
        """Note what the releases that the command made consist of: the attempt, and any that recovery made."""
        for name, record in now.records.items():
            if name not in self.bench.releases and "of" in record:
                self.bench.releases[name] = parts or self.bench.releases[f"v{record['of']}"]

    def _old_or_new(self, before: Survey, now: Survey) -> str:
        if now.current == before.current:
            return "old"
        return "new" if int(now.current[1:] or 0) > before.newest else "?"

    def _serves_one_whole(self, now: Survey) -> None:
        """Code, virtual environment, environment and units are all those of the one release that ``current`` names."""
        record, parts = now.records[now.current], self.bench.releases[now.current]
        wanted = {
            "release": now.current,
            "code": record["tree"],
            "venv": record["venv"],
            "version": str(parts.version),
            "env": str(parts.mark),
            "unit": str(parts.mark),
        }
        there = self.bench.site.get()
        if there != wanted:
            self.problems.append(f"what serves is {there}, not {wanted}")

    def _told(self, before: Survey, serves: str, now: Survey) -> None:
        """``fab releases`` tells how the attempt ended, and in which phase."""
        listed = json.loads(self.bench.site.expect(0, "releases", "--json").out)["releases"]
        rows = {row["number"]: row for row in listed}
        if rows[now.current]["state"] != "current":
            self.problems.append(f"fab releases says of {now.current}: {rows[now.current]}")
        for name, row in rows.items():
            if int(name[1:]) > before.newest and name != now.current:
                self._told_interrupted(row)
        if serves == "old" and self.boundary != "begun" and len(listed) and f"v{before.newest + 1}" not in rows:
            self.problems.append(f"fab releases does not know v{before.newest + 1}")

    def _told_interrupted(self, row: dict[str, Any]) -> None:
        phase = self.boundary.rpartition(" ")[2] if " " in self.boundary else ""
        if row["state"] != "interrupted" or phase not in row["reason"]:
            self.problems.append(f"fab releases tells {row['state']!r}, {row['reason']!r}")

    def _ending(self, serves: str, after: Aftermath) -> None:
        """Whoever followed the command has heard its real end; nobody has seen a bug of ours."""
        wanted = {"old": (5, 6), "new": (0,)}.get(serves, ())
        last = "\n".join(after.said.splitlines()[-3:])
        if self.fault == "job" and after.exit not in wanted:
            self.problems.append(f"fab ended with {after.exit}, though the {serves} release serves\n{last}")
        if after.exit in (1, 2, 3, 4) or "Traceback" in after.said:
            self.problems.append(f"fab says that nothing was done, or shows a bug: exit {after.exit}\n{last}")

    def _deploy_again(self) -> None:
        self.bench.faults.clear()
        self.bench.deploy()
        self._wait_for(lambda one: one.leftovers(timer=True), "after the next deploy")
        self._serves_one_whole(self.bench.survey())

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


def expected(boundary: str, fault: str) -> str:
    """What must serve: an attempt that is left alone goes on; one that died counts from the rename on.

    A job that was killed before its first word has done nothing yet, and just begins again.
    """
    if fault not in ("job", "plug") or (boundary, fault) == ("begun", "job"):
        return "new"
    name, _, phase = boundary.partition(" ")
    switched = name in ("switched", "finished") or boundary == "phase.done switch" or phase in ("drain", "watch")
    return "new" if switched else "old"

"""The hand-over, step by step: what is asked of whom, for how long, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.deployment import handover
from deployer.host.errors import HostError
from deployer.host.processes.web import Candidate
from deployer.host.state.catalog import Catalog
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import GOOD, Release
from deployer.host.system import files
from deployer.host.system.proc import Memory
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC
from tests.host.simulation.laptop import WORKER
from tests.support.steps import Steps

MIB = 1024 * 1024
SPECIFIED = replace(Spec.parse({**SPEC, "processes": [{**WORKER, "count": 2}], "timers": []}), drain=7)
ONE = Release(number=1, kind="deploy", of=0, by="ada", at=0.0, spec=SPECIFIED, result=GOOD)
WORKERS = ["shop-worker@v1.service", "shop-worker.2@v1.service"]


def with_(release: Release, **changes: Any) -> Release:
    return replace(release, spec=replace(release.spec, **changes))


TWO = with_(replace(ONE, number=2), health=replace(SPECIFIED.health, path="/up", settle=1.5))
STALLS = with_(TWO, overlap=False)


class Host(Steps):
    """v1 serves. ``queue`` are the lengths of its accept queue, look by look; ``up`` and ``starting`` what of its jobs
    goes on, and whether v2's still wait, as many seconds as each says."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.now, self.queue, self.serves = 100.0, [0], 1
        self.jobs, self.starting = 0.0, 0.0
        self.memory, self.resident = 1000 * MIB, 100 * MIB
        self.healths: list[Any] = []
        self.paths = AppPaths("shop", root)
        self.paths.releases.mkdir(parents=True)
        self.ctx = SimpleNamespace(
            paths=self.paths,
            app="shop",
            emit=self.emit,
            catalog=SimpleNamespace(current=self.current, point=Catalog(self.paths).point),
        )
        monkeypatch.setattr(handover, "time", SimpleNamespace(monotonic=self.monotonic, sleep=self.sleep))
        self.put(handover, "candidate_of", lambda release: "", self.candidate)
        self.put(handover, "refuse_current", lambda release: f"{release.name} serves?")
        self.put(handover, "remove_units", lambda release, but: f"remove {release.name} but {but}")
        self.put(handover.background, "finishing", lambda: "", list)
        self.put(handover.background, "hand_over", lambda: "hand over")
        self.put(handover.background, "units_of", lambda number: "", self.units_of)
        self.put(handover.background, "still_running", lambda number: "", self.still_up)
        self.put(handover.background, "is_starting", lambda number: "", self.is_starting)
        monkeypatch.setattr(
            handover.background, "process_names", lambda ctx, names: f"<{', '.join(names)}>" if ctx is self.ctx else ""
        )
        self.put(
            handover.commands, "check_processes", lambda release: f"check processes of {release.name}", lambda _: []
        )
        self.put(handover.watch, "watch_until", lambda release, enough: f"watch {release.name}", self.watch)
        monkeypatch.setattr(handover.orders, "start", self.step(lambda units: f"start {', '.join(units)}"))
        stop = self.step(
            lambda units, timeout: f"stop {', '.join(units)}, {timeout} s", lambda *_, **__: self.sleep(0.4)
        )
        monkeypatch.setattr(handover.orders, "stop", stop)
        monkeypatch.setattr(handover.systemd, "systemctl", self.step(lambda *words: " ".join(words)))
        monkeypatch.setattr(handover.systemd, "show_all", self.show_all)
        monkeypatch.setattr(handover.lease, "start_watchdog", self.step(lambda paths: f"arm {paths.app}"))
        monkeypatch.setattr(handover.proc, "memory", lambda: Memory(self.memory, 2000 * MIB))
        monkeypatch.setattr(handover.proc, "resident", lambda pid: self.resident if pid == 77 else 0)
        monkeypatch.setattr(handover.proc, "waiting_connections", self.waiting)
        self.asked: list[list[str]] = []

    @property
    def steps(self) -> list[str]:
        return [one for one in self.done if one]

    def current(self) -> int:
        return self.serves

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    def candidate(self, release: Release) -> Candidate:
        return Noted(self.paths, release.number, release.spec.health, self)

    def show_all(self, units: list[str]) -> dict[str, Any]:
        self.asked.append(units)
        return {unit: SimpleNamespace(main_pid=77) for unit in units}

    def waiting(self, path: str) -> int:
        assert path == str(self.paths.socket(1))
        return self.queue.pop(0) if len(self.queue) > 1 else self.queue[0]

    def units_of(self, number: int) -> Any:
        assert number == 1
        return SimpleNamespace(lasting=["worker"], runs=[])

    def still_up(self, number: int) -> list[str]:
        assert number == 1
        return ["worker"] if self.now - 100.0 < self.jobs else []

    def is_starting(self, number: int) -> bool:
        assert number == 2
        return self.now - 100.0 < self.starting

    def watch(self, release: Release, enough: Any) -> None:
        while not enough():
            self.sleep(0.1)


@dataclass(frozen=True)
class Noted(Candidate):
    """A candidate that is asked nothing."""

    host: Host

    def boot(self) -> Any:
        self.host.done.append(f"boot v{self.number}")
        self.host.sleep(0.25)

    def become_healthy(self) -> None:
        self.host.done.append(f"v{self.number} healthy, settle {self.health.settle:g}")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


SOCKET, SERVICE = "shop-web@v2.socket", "shop-web@v2.service"
RESET, LISTENS = f"reset-failed {SERVICE} {SOCKET}", f"start {SOCKET}"


# start


@pytest.mark.parametrize("current", [None, ONE])
def test_a_candidate_is_started_by_its_first_request(host: Host, current: Release | None) -> None:
    """Behind its own socket; what failed under its name before counts no more."""
    assert handover.start(host.ctx, TWO, current) == "answers after 0.2 s"
    assert host.steps == [RESET, LISTENS, "boot v2"]
    assert host.asked == ([["shop-web@v1.service", *WORKERS]] if current else [])


def test_what_cannot_run_beside_the_other_only_listens(host: Host) -> None:
    """Until the switch; with nothing beside it, it starts as any other."""
    assert handover.start(host.ctx, STALLS, ONE) == "overlap = false: starts after the switch"
    assert host.steps == [RESET, LISTENS]
    assert handover.start(host.ctx, STALLS, None) == "answers after 0.2 s"
    host.done.clear()
    assert handover.start(host.ctx, with_(TWO, web=None), ONE) == "no web process here: all starts at the switch"
    assert host.steps == []


# memory


@pytest.mark.parametrize("spare", [0, -1])
@pytest.mark.parametrize("said", [0, 50 * MIB])
def test_two_generations_need_room(host: Host, spare: int, said: int) -> None:
    """As much as those take that run now, or as was said, and a reserve: to the byte."""
    assert TWO.spec.web is not None
    two = with_(TWO, web=replace(TWO.spec.web, memory=said))
    needed = said or 300 * MIB
    host.memory = needed + 32 * MIB + spare
    if not spare:
        handover.check_memory(host.ctx, two, ONE)
        return
    with pytest.raises(HostError) as caught:
        handover.start(host.ctx, two, ONE)
    assert caught.value.message == (
        f"there is not memory enough for two generations of shop: one needs {needed // MIB} MiB, "
        f"{needed // MIB + 32} MiB are free"
    )
    assert str(caught.value.next).splitlines() == [
        "fewer workers, or more memory or swap",
        "or overlap = false under [web] in deploy.toml: requests then wait while the old generation stops and the new "
        "one starts",
    ]
    assert host.steps == []


def test_only_what_runs_side_by_side_counts(host: Host) -> None:
    """Of the old release what the new one has, too, and has beside it; whatever was said of a web that waits."""
    assert TWO.spec.web is not None
    apart = with_(STALLS, web=replace(TWO.spec.web, memory=5000 * MIB))
    alone = with_(TWO, processes=tuple(replace(one, overlap=False) for one in TWO.spec.processes))
    renamed = with_(TWO, processes=tuple(replace(one, name="mail") for one in TWO.spec.processes))
    for two, one, beside in (
        (apart, ONE, WORKERS),
        (alone, ONE, ["shop-web@v1.service"]),
        (renamed, ONE, ["shop-web@v1.service"]),
        (with_(TWO, web=None), ONE, WORKERS),
        (TWO, with_(ONE, web=None), WORKERS),
        (with_(TWO, processes=()), with_(ONE, web=None), []),
        (TWO, with_(ONE, processes=()), ["shop-web@v1.service"]),
    ):
        host.asked.clear()
        host.memory = len(beside) * 100 * MIB + 32 * MIB if beside else 0
        handover.check_memory(host.ctx, two, one)
        assert [sorted(names) for names in host.asked] == [sorted(beside)]
        if beside:
            host.memory -= 1
            with pytest.raises(HostError):
                handover.check_memory(host.ctx, two, one)


# check


@pytest.mark.parametrize(
    ("release", "proven", "steps", "told"),
    [
        (TWO, False, ["check processes of v2", "v2 healthy, settle 1.5"], "GET /up is healthy, stayed so for 1.5 s"),
        (TWO, True, ["v2 healthy, settle 0"], "GET /up is healthy"),
        (STALLS, False, ["check processes of v2"], "overlap = false: web is checked after the switch"),
        (with_(TWO, web=None), False, ["check processes of v2"], "nothing to check before the switch"),
        (with_(TWO, web=None), True, [], "nothing to check before the switch"),
    ],
)
def test_what_can_be_checked_in_private_is(
    host: Host, release: Release, proven: bool, steps: list[str], told: str
) -> None:
    """Unless its very parts have served before: then only that it answers."""
    assert handover.check(host.ctx, release, ONE, proven=proven) == told
    assert host.steps == steps


def test_what_was_checked_is_told(host: Host) -> None:
    """Processes by their names, then the web."""
    host.answers["check processes of v2"] = ["worker", "mail"]
    told = handover.check(host.ctx, TWO, ONE, proven=False)
    assert told == "worker, mail checked; GET /up is healthy, stayed so for 1.5 s"


# the switch


@pytest.mark.parametrize(("previous", "name"), [(ONE, "v1"), (None, "")])
def test_the_switch_is_one_rename_and_is_told(host: Host, previous: Release | None, name: str) -> None:
    """With what it was before."""
    handover.point(host.ctx, TWO, previous)
    assert str(host.paths.current.readlink()) == "releases/v2"
    assert host.steps == [f"switched: to v2, previous {name}"]


@pytest.mark.parametrize("switched", [True, False])
def test_a_disk_that_refuses_after_the_rename_undoes_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, switched: bool
) -> None:
    """What is current is what counts: then it is switched, and told; else it is an error, and is not told."""

    def refuses(*_: Any) -> None:
        host.serves = 2 if switched else 1
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "point", refuses)
    if switched:
        handover.point(host.ctx, TWO, ONE)
        assert host.steps == ["switched: to v2, previous v1"]
        return
    with pytest.raises(OSError, match="Input"):
        handover.point(host.ctx, TWO, ONE)
    assert host.steps == []


MAIL = replace(SPECIFIED.processes[0], name="mail", count=1)
STOPPED = ["v1 serves?", "stop shop-web@v1.service, 37 s"]


@pytest.mark.parametrize(
    ("release", "current", "proven", "steps", "told"),
    [
        (TWO, ONE, False, [], "v1 → v2, worker ×2"),
        (TWO, None, False, [], "nothing → v2, worker ×2"),
        (with_(TWO, processes=(*SPECIFIED.processes, MAIL)), ONE, False, [], "v1 → v2, worker ×2, mail"),
        (STALLS, None, False, [], "nothing → v2, worker ×2"),
        (STALLS, ONE, False, [*STOPPED, "boot v2", "v2 healthy, settle 1.5"], "v1 → v2, worker ×2"),
        (STALLS, ONE, True, [*STOPPED, "boot v2", "v2 healthy, settle 0"], "v1 → v2, worker ×2"),
    ],
)
def test_processes_change_hands_after_the_switch(
    host: Host, release: Release, current: Release | None, proven: bool, steps: list[str], told: str
) -> None:
    """And so does a web process that cannot run beside the other: requests wait in the new one's socket."""
    assert handover.after_switch(host.ctx, release, current, proven=proven) == told
    assert host.steps == [*steps, "hand over"]


def test_what_serves_unjudged_is_revived(host: Host) -> None:
    """Its socket, its web process, what it runs besides."""
    handover.revive(host.ctx, TWO)
    assert host.steps == [LISTENS, "boot v2", "hand over"]
    host.done.clear()
    handover.revive(host.ctx, with_(TWO, web=None))
    assert host.steps == ["hand over"]


def test_a_candidate_that_was_started_a_while_ago_is_asked_again(host: Host) -> None:
    """It need not settle; one that waits for its switch listens, and one without web does nothing."""
    for release, steps in (
        (TWO, [LISTENS, "boot v2", "v2 healthy, settle 0"]),
        (STALLS, [LISTENS]),
        (with_(TWO, web=None), []),
    ):
        host.done.clear()
        handover.wake(host.ctx, release, ONE)
        assert host.steps == steps


# drain


def test_the_old_one_finishes_all_it_has(host: Host) -> None:
    """Who waits in its queue is answered first, then its process stops, then its jobs are waited for."""
    host.queue, host.jobs = [2, 0, 1, 0, 0], 3.0
    told = handover.drain(host.ctx, TWO, ONE)
    assert host.steps == [
        "v1 serves?",
        "stop shop-web@v1.service, 37 s",
        "watch v2",
        "note: text v1 finishes what it has in hand: <worker>",
    ]
    assert told == "v1 finished in 3.0 s"
    assert handover.drain(host.ctx, TWO, None) == "nothing served before"


def test_a_job_that_takes_long_goes_on_alone(host: Host) -> None:
    """After as long as requests would be waited for; by whom it must not overlap, it is waited for to its end."""
    host.jobs = 1000.0
    told = handover.drain(host.ctx, TWO, with_(ONE, web=None))
    assert told == "v1 finished in 7.0 s; left to finish what is in hand: <worker>"
    host.now, host.starting = 100.0, 30.0
    host.done.clear()
    assert handover.drain(host.ctx, TWO, with_(ONE, web=None)).startswith("v1 finished in 30.")
    assert len([one for one in host.steps if one.startswith("note")]) == 1


@pytest.mark.parametrize(("jobs", "noted"), [(0.0, False), (1.0, False), (1.2, True)])
def test_what_is_waited_for_is_told_when_it_takes_longer_than_a_moment(host: Host, jobs: float, noted: bool) -> None:
    """Once; nothing is told of what has ended by then, though somebody still starts."""
    host.jobs, host.starting = jobs, 5.0
    handover.drain(host.ctx, TWO, with_(ONE, web=None))
    assert any(one.startswith("note") for one in host.steps) is noted


@pytest.mark.parametrize(
    ("units", "watched"),
    [(([], []), False), ((["worker"], []), True), (([], ["tick"]), True), ((["worker"], ["tick"]), True)],
)
def test_what_has_no_jobs_is_not_waited_for(
    host: Host, monkeypatch: pytest.MonkeyPatch, units: Any, watched: bool
) -> None:
    """Neither processes nor runs of timers."""
    monkeypatch.setattr(handover.background, "units_of", lambda *_: SimpleNamespace(lasting=units[0], runs=units[1]))
    assert handover.drain(host.ctx, TWO, with_(ONE, web=None)) == "v1 finished in 0.0 s"
    assert ("watch v2" in host.steps) is watched


# what goes


@pytest.mark.parametrize(
    ("queue", "seconds", "empty", "took"),
    [
        ([0], 7, True, 0.05),
        ([3, 0, 1, 0, 0], 7, True, 0.2),
        ([1], 0.5, False, 0.5),
        ([0, 1, 0, 1, 0, 1], 0.15, False, 0.15),
        ([0], 0, False, 0),
    ],
)
def test_a_queue_is_empty_when_it_was_seen_so_twice(
    host: Host, queue: list[int], seconds: float, empty: bool, took: float
) -> None:
    """In a row, within its time."""
    host.queue = queue
    assert handover.wait_for_queue(host.ctx, ONE, seconds) is empty
    assert host.now == pytest.approx(100.0 + took)


def test_a_service_that_stops_has_as_long_as_its_requests_may_take(host: Host) -> None:
    """And half a minute more; how long it took is told."""
    host.queue = [1] * 10 + [0]
    assert handover.retire_service(host.ctx, ONE) == pytest.approx(0.55 + 0.4)
    assert host.steps == STOPPED
    host.queue = [1]
    assert handover.retire_service(host.ctx, ONE) == pytest.approx(7.4)


@pytest.mark.parametrize("finishing", [[], ["shop-worker@v1.service"]])
@pytest.mark.parametrize("web", [True, False])
def test_a_release_goes_but_for_what_finishes(
    host: Host, monkeypatch: pytest.MonkeyPatch, finishing: list[str], web: bool
) -> None:
    """Whoever came late is answered first; somebody looks after what stays."""
    monkeypatch.setattr(handover.background, "finishing", lambda ctx: finishing if ctx is host.ctx else None)
    host.queue = [1, 0]
    handover.retire(host.ctx, ONE if web else with_(ONE, web=None))
    assert host.steps == [f"remove v1 but {finishing}", *(["arm shop"] if finishing else [])]
    assert host.now == pytest.approx(100.1 if web else 100.0)
    host.queue = [1]
    handover.retire(host.ctx, ONE)
    assert host.now == pytest.approx(107.1 if web else 107.0)

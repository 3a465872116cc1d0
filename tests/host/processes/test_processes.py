"""Workers and timers while releases come and go: what takes jobs, what finishes, and what is left of it.

``EVERY_WALK=1`` makes all the walks; without it only those that differ most.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.state import seal
from deployer.host.state.content.damage import mark_damaged
from deployer.host.system.runner import CommandResult
from deployer.host.units import install
from tests.host.simulation import builds, fleet, rules, service, walk
from tests.host.simulation.faults import CommandFails, Kill, Meanwhile, PowerCut
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.laptop import TIMER, WORKER
from tests.host.simulation.place import place
from tests.host.simulation.saved import Saved
from tests.host.simulation.systemd import refused
from tests.host.state.proof import damage

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root"),
    pytest.mark.timeout(600),
]

ALL = bool(os.environ.get("EVERY_WALK"))
ALONE = {**WORKER, "overlap": False}
SHAPES: dict[str, dict[str, Any]] = {
    "beside web": {},
    "no overlap": {"processes": [{**ALONE, "count": 2}]},
    "no web": {"web": None},
    "no web, no overlap": {"web": None, "processes": [ALONE]},
}
"""What a host runs."""


@pytest.fixture
def disks() -> Iterator[Path]:
    with place() as made:
        yield made


@pytest.fixture
def disk(disks: Path) -> Path:
    return disks / "disk"


@pytest.fixture
def host(empty: SimulatedHost) -> SimulatedHost:
    return two(empty)


def two(host: SimulatedHost, shape: str = "beside web") -> SimulatedHost:
    """v2 serves, and v1 did before it."""
    host.settings = SHAPES[shape]
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    host.recover()
    return host


def is_whole(host: SimulatedHost) -> None:
    """Once it has had its time."""
    host.recover()
    assert list(rules.in_the_end(host)) == []


def state(host: SimulatedHost, name: str) -> str:
    """Of a unit, as ``worker@v2``."""
    unit = host.table.known(f"shop-{name}.service")
    return unit.active if unit else "inactive"


def timed(host: SimulatedHost, command: Callable[[], Outcome]) -> tuple[int | None, float]:
    """How it ended, and how many seconds it took."""
    began = host.clock.now
    return command().exit, host.clock.now - began


# what ends by itself


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("code", service.OF_WORKERS)
def test_a_worker_that_ends_by_itself_takes_its_release_back(empty: SimulatedHost, shape: str, code: str) -> None:
    """Whatever its exit status, at once or a while later: the old one takes jobs again."""
    two(empty, shape)
    outcome = empty.deploy(code)
    assert (outcome.exit, empty.web.current()) == (6, 2), outcome
    assert "the process worker" in outcome.failure["message"]
    assert f"ended by itself (exit status {0 if code == service.WORKER_EXITS else 3})" in outcome.failure["message"]
    is_whole(empty)
    assert state(empty, "worker@v2") == "active"


@pytest.mark.parametrize("code", service.OF_WORKERS)
def test_the_first_worker_of_all_is_taken_back_to_nothing(empty: SimulatedHost, code: str) -> None:
    """Nothing runs then, and the next release may."""
    outcome = empty.deploy(code)
    assert (outcome.exit, empty.web.current(), empty.background.running) == (6, 0, {})
    assert empty.deploy(text="good").exit == 0
    is_whole(empty)


def test_a_worker_that_crashes_later_is_only_started_again(host: SimulatedHost) -> None:
    """Once a release is good, a crash is systemd's: and no reason to take back the one after it."""
    for _ in range(3):
        host.background.exits(host.table.units["shop-worker@v2.service"], "signal")
        host.wait(3)
        assert state(host, "worker@v2") == "active"
    assert host.deploy(text="three").exit == 0
    is_whole(host)


def test_what_systemd_does_not_hear_is_told_again(host: SimulatedHost) -> None:
    """It was being executed again that moment: the deploy goes on as if nothing had been."""
    with host.suffering():
        host.deploy(text="three")
        programs = ("systemctl", "systemd-run")
        orders = [one.number for one in host.programs.trace if one.words[:1] and one.words[0] in programs]
    is_whole(host)
    assert len(orders) > 5
    saved, migrated = Saved(host), host.paths.state / "migrations"
    before = len(migrated.read_text().splitlines())
    for moment in orders:
        saved.bring_back()
        with host.suffering(CommandFails(moment)):
            assert host.deploy(text="four").exit == 0
        is_whole(host)
        assert len(migrated.read_text().splitlines()) == before + 1


@pytest.mark.parametrize("of", ["worker", "timer", "web"])
def test_a_stop_that_systemd_refuses_leaves_no_two_at_work(host: SimulatedHost, of: str) -> None:
    """The old release cannot be told to stop: the new one does not start beside it, and goes."""
    names = {"worker": "shop-worker@v2.service", "timer": "shop-tick@v2.timer", "web": "shop-web@v2.service"}
    run = host.systemd._run

    def deaf(words: list[str], timeout: float = 90) -> CommandResult:
        refuses = words[:2] == ["systemctl", "stop"] and names[of] in words and len(words) < 6
        return refused("it is refused") if refuses else run(words, timeout)

    host.systemd._run = deaf  # type: ignore[method-assign]
    outcome = host.deploy(text="four", processes=[ALONE])
    assert outcome.exit == (0 if of == "web" else 6), outcome
    host.systemd._run = run  # type: ignore[method-assign]
    is_whole(host)


def test_what_is_checked_before_it_may_take_jobs(host: SimulatedHost) -> None:
    """A worker cannot be tried out in private. Its check is the last thing that refuses it, and nothing was touched."""
    running = dict(host.background.running)
    outcome = host.deploy(text="three", processes=[{**WORKER, "check": builds.FAILS}])
    assert (outcome.exit, host.background.running) == (5, running)
    assert "processes.worker.check" in outcome.failure["message"]
    assert host.deploy(text="three", processes=[{**WORKER, "check": builds.CHECK}]).exit == 0
    is_whole(host)


# jobs in hand


def test_a_long_job_is_finished_whatever_is_deployed_meanwhile(empty: SimulatedHost) -> None:
    """No deploy waits for it, none takes its code away; when it is done, all of it goes without anybody's doing."""
    empty.settings = {"keep": 2}
    assert empty.deploy(text="one").exit == 0
    empty.background.in_hand = 55.0
    for text in ("two", "three", "four", "five"):
        exit, took = timed(empty, lambda text=text: empty.deploy(text=text))  # type: ignore[misc]
        assert exit == 0
        assert took < 10
        empty.background.in_hand = 0.4
    assert state(empty, "worker@v1") == "deactivating"
    empty.clock.wait(0)  # what the last deploy has renamed away is being removed
    assert list(rules.in_the_end(empty)) == []
    empty.recover()
    assert list(rules.in_the_end(empty)) == []
    assert rules.release_numbers(empty) == [4, 5]


def test_a_long_run_of_a_timer_is_finished_as_well(empty: SimulatedHost) -> None:
    """And a run that falls due meanwhile waits for it: no two run at a time."""
    empty.settings = {"keep": 2}
    assert empty.deploy(text="one").exit == 0
    empty.background.run_takes = 90.0
    empty.background.strike()
    for text in ("two", "three", "four"):
        assert empty.deploy(text=text).exit == 0
    assert state(empty, "tick@v1") == "activating"
    empty.background.strike()
    empty.wait(30)
    assert state(empty, "tick@v4") == "inactive"
    empty.recover()
    assert list(rules.in_the_end(empty)) == []
    assert empty.background.runs == ["shop-tick@v1.timer", "shop-tick@v4.timer"]


def test_without_overlap_the_new_one_waits_for_the_old_ones_end(empty: SimulatedHost) -> None:
    """The deploy waits as well: what has not started yet cannot be found healthy."""
    two(empty, "no overlap")
    empty.background.in_hand = 20.0
    exit, took = timed(empty, lambda: empty.deploy(text="three"))
    assert exit == 0
    assert took > 20
    is_whole(empty)
    assert empty.deploy(service.WORKER_DIES).exit == 6
    is_whole(empty)


@pytest.mark.parametrize("word", [fleet.UNDO, fleet.LATE, fleet.KILLED, fleet.NO_POWER])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fleet_that_keeps_or_undoes(empty: SimulatedHost, shape: str, word: str) -> None:
    """With a job in hand on either side of the way back."""
    two(empty, shape)
    empty.background.in_hand = 8.0
    empty.fleet(empty.deploy, {"keep": word}, text="three")
    is_whole(empty)
    assert empty.web.current() == (2 if word == fleet.UNDO else 3)


def test_the_power_goes_while_a_job_is_finished(host: SimulatedHost) -> None:
    """Nothing of the older release comes back, and nothing of it stays."""
    host.background.in_hand = 55.0
    assert host.deploy(text="three").exit == 0
    assert state(host, "worker@v2") == "deactivating"
    host.power_on()
    is_whole(host)


def test_an_admin_stops_starts_and_restarts(host: SimulatedHost) -> None:
    """Jobs in hand are finished each time, and processes and timers are back after it."""
    host.web.clients = False
    host.background.in_hand = 20.0
    host.systemctl("stop", "shop.service")
    assert host.background.running == {}
    assert not [unit for unit in host.table.matching("shop-*@v*") if unit.active not in ("inactive", "failed")]
    host.wait(100)
    assert host.background.running == {}
    host.systemctl("start", "shop.service")
    is_whole(host)
    host.systemctl("restart", "shop.service")
    assert state(host, "worker@v2") == "deactivating"
    is_whole(host)
    host.background.in_hand = 59.9
    host.systemctl("stop", "shop.service")
    host.systemctl("start", "shop.service")
    is_whole(host)


@pytest.mark.parametrize("moment", range(1, 6))
def test_an_admin_stops_what_is_being_started(host: SimulatedHost, moment: int) -> None:
    """At whatever step of the start: nothing that it has started stays."""
    told: list[int] = []
    stop = Meanwhile(moment, lambda: told.append(host.systemd.run(["systemctl", "stop", "shop.service"]).status))
    host.web.clients = False
    host.systemctl("stop", "shop.service")
    with host.suffering(stop):
        host.systemctl("start", "shop.service")
    host.wait(100)
    assert (told, {**host.web.running, **host.background.running}) == ([0], {})
    host.systemctl("start", "shop.service")
    host.web.clients = True
    is_whole(host)


def test_a_release_that_goes_back_is_waited_for_no_longer_than_forwards(host: SimulatedHost) -> None:
    """Its worker has a job in hand for a minute: it finishes that with all it needs, and the lock is free long before.
    Then nothing of it is left."""
    host.background.in_hand = 55.0
    exit, took = timed(host, lambda: host.deploy(service.BREAKS_LATER, drain=2))
    assert exit == 6
    assert took < 25
    assert state(host, "worker@v3") == "deactivating"
    assert (host.paths.release(3) / "code/app.py").exists()
    host.background.in_hand = 0.4
    assert host.deploy(text="four").exit == 0
    assert state(host, "worker@v3") == "deactivating"
    assert (host.paths.release(3) / "code/app.py").exists()
    host.recover()
    is_whole(host)
    assert [path.name for path in host.paths.release(3).iterdir()] == ["release.json"]


def test_the_first_release_goes_back_to_nothing_with_a_job_in_hand(empty: SimulatedHost) -> None:
    """The same where nothing served before."""
    empty.background.in_hand = 55.0
    exit, took = timed(empty, lambda: empty.deploy(service.BREAKS_LATER, drain=2))
    assert (exit, empty.web.current()) == (6, 0)
    assert took < 25
    assert state(empty, "worker@v1") == "deactivating"
    empty.recover()
    assert list(rules.in_the_end(empty, served=False)) == []


@pytest.mark.parametrize("code", [service.BREAKS_LATER, service.WORKER_DIES])
def test_no_two_runs_at_once_on_the_way_back(host: SimulatedHost, disks: Path, code: str) -> None:
    """A run of the failed release ends before the next one of the standby begins, whenever that falls due."""
    host.background.run_takes = 30.0
    saved, wrong = Saved(host), {}
    with host.suffering():
        host.deploy(code)
        trace = list(host.programs.trace)
    switches = [one.number for one in trace if one.words[1:] == (str(host.paths.current),)]
    begun = next(one.number for one in trace if one.number > switches[0] and "start" in one.words) + 4
    for moment in [one.number for one in trace[begun:-6] if not walk.changes_nothing(one)]:
        saved.bring_back()
        with host.suffering(Meanwhile(begun, host.background.strike), Meanwhile(moment, host.background.strike)):
            host.deploy(code)
        host.recover()
        if found := [*rules.in_the_end(host, tidy=False)]:
            wrong[moment] = found
    assert wrong == {}


# what is run


def test_what_a_host_runs_may_change(host: SimulatedHost) -> None:
    """Processes come, go, are renamed and become timers; the web process, too."""
    mail = {**WORKER, "name": "mail"}
    for more in (
        {"processes": [], "timers": []},
        {"processes": [{**WORKER, "count": 3}]},
        {"processes": [mail], "timers": [{**TIMER, "name": "tock", "calendar": "hourly"}]},
        {"processes": [], "timers": [{**TIMER, "name": "mail"}]},
        {"processes": [mail, ALONE], "timers": []},
        {"web": None},
        {"overlap": False},
    ):
        assert host.deploy(text=f"{more}", **more).exit == 0
        is_whole(host)
        before = host.web.current()
        for code in (service.WORKER_DIES, service.DIES_LATER):
            outcome = host.deploy(code)
            assert (outcome.exit, host.web.current()) == (6, before), outcome
            is_whole(host)
    assert host.rollback().exit == 0
    is_whole(host)


def test_of_two_releases_one_is_the_older(host: SimulatedHost) -> None:
    """Two units that are each ordered after the other could not be stopped together."""
    for number in (1, 3):
        (host.paths.units / f"shop-worker.2@v{number}.service").touch()
    ctx = host.context(lambda *_, **__: None)
    assert install.older_services(ctx, 2) == {"worker": ["shop-worker.2@v1.service"]}


def test_an_upload_that_builds_on_what_was_taken_back_says_so(host: SimulatedHost) -> None:
    """What serves unjudged is taken back before the next deploy; its tree goes, and the upload cannot be unpacked."""
    assert (
        host.deploy(service.WORKER_DIES, phases=["upload", "build", "install", "start", "migrate", "check"]).exit == 0
    )
    assert host.phases("switch").exit == 0
    outcome = host.deploy(text="four")
    assert (outcome.exit, host.web.current()) == (5, 2)
    assert "the tree that this upload builds on is gone" in outcome.failure["message"]
    assert host.deploy(text="four").exit == 0
    is_whole(host)


# timers


DUE: dict[str, Callable[[int], list[Any]]] = {
    "before it is killed": lambda at: [Kill(at + 3)],
    "before the power goes": lambda at: [PowerCut(at + 1)],
}
if ALL:
    DUE["and nothing else"] = lambda at: []


@pytest.mark.parametrize("then", DUE)
@pytest.mark.parametrize("code", [service.GOOD, service.WORKER_DIES] if ALL else [service.WORKER_DIES])
def test_what_falls_due_during_a_handover_runs_once(host: SimulatedHost, disks: Path, code: str, then: str) -> None:
    """At whatever moment behind the switch, and of the way back: no run is lost, none is doubled."""
    saved, wrong = Saved(host), {}
    with host.suffering():
        host.deploy(code)
        trace = list(host.programs.trace)
    switch = next(one.number for one in trace if one.what == "replace" and one.words[1].endswith("/shop/current"))
    for moment in [one.number for one in trace[switch:-6] if ALL or not walk.changes_nothing(one)]:
        saved.bring_back()
        with host.suffering(Meanwhile(moment, host.background.strike), *DUE[then](moment)):
            host.deploy(code)
        host.recover()
        found = [*rules.in_the_end(host, tidy=False), *([] if len(host.background.runs) == 1 else host.background.runs)]
        if found or not host.background.runs:
            wrong[moment] = found
    assert wrong == {}


# walks


FAILING = walk.Trial("systemctl fails", CommandFails, walk.commands)
WALKS: dict[str, tuple[str, float, walk.Command]] = {
    "a deploy with jobs in hand": ("no overlap", 8.0, lambda host: host.deploy(text="new")),
    "a deploy without web": ("no web", 0.4, lambda host: host.deploy(text="new")),
    "a reload without web": ("no web, no overlap", 0.4, lambda host: host.reload(env={"A": "1"})),
    "a rollback without web": ("no web", 2.0, lambda host: host.rollback()),
    "a worker that dies": ("beside web", 8.0, lambda host: host.deploy(service.WORKER_DIES)),
    "a worker that dies, alone": ("no web, no overlap", 2.0, lambda host: host.deploy(service.WORKER_DIES)),
    "a worker that dies without web": ("no web", 0.4, lambda host: host.deploy(service.WORKER_DIES)),
    "a deploy": ("beside web", 0.4, lambda host: host.deploy(text="new")),
    "a web process that dies": ("beside web", 0.4, lambda host: host.deploy(service.DIES_LATER)),
}
ALWAYS = [
    (walk.KILLED, "a worker that dies, alone"),
    (walk.KILLED, "a rollback without web"),
    (FAILING, "a deploy"),
    (FAILING, "a web process that dies"),
    (FAILING, "a worker that dies without web"),
]
TRIALS = [walk.KILLED, walk.POWER, walk.FORGETFUL, walk.ABORTED, walk.SHUT_DOWN, walk.FULL, FAILING]
CHOSEN = [(trial, name) for trial in TRIALS for name in WALKS] if ALL else ALWAYS


@pytest.mark.parametrize(("trial", "name"), CHOSEN, ids=[f"{trial}, {name}" for trial, name in CHOSEN])
def test_at_every_boundary(empty: SimulatedHost, disks: Path, trial: walk.Trial, name: str) -> None:
    """Whatever befalls whoever: what serves has its processes and timers, and no other release has any."""
    shape, in_hand, command = WALKS[name]
    two(empty, shape)
    saved = Saved(empty)
    empty.background.in_hand = in_hand
    found = walk.walk(saved, command, trial)
    assert found.moments > 30
    assert not found.wrong, f"of {found.moments} moments:\n{found}"


# the simulated systemd itself: all of it was seen on systemd 252


@pytest.fixture
def units(host: SimulatedHost) -> SimulatedHost:
    """v2's worker runs; v1's, which is ordered after it, does not. Each has ten seconds' work in hand."""
    host.settings = {}
    text = (host.paths.units / "shop-worker@v2.service").read_text()
    (host.paths.units / "shop-worker@v1.service").write_text(text.replace("After=", "After=shop-worker@v2.service "))
    host.is_on = False  # no rule holds for what is done here
    host.background.in_hand = 10.0
    return host


def told(host: SimulatedHost, *words: str) -> bool:
    """``systemctl --no-block``, and a moment."""
    ok = host.systemctl(words[0], "--no-block", *(f"shop-worker@{number}.service" for number in words[1:])).ok
    host.wait(0.5)
    return ok


@pytest.mark.parametrize(("first", "second"), [("v2", "v1"), ("v1", "v2")])
def test_a_start_waits_for_the_stop_of_what_it_is_ordered_with(units: SimulatedHost, first: str, second: str) -> None:
    """In whichever way they are ordered."""
    if first == "v1":
        told(units, "start", "v1")
        units.systemctl("stop", "shop-worker@v2.service")
    told(units, "stop", first)
    told(units, "start", second)
    assert (state(units, f"worker@{first}"), state(units, f"worker@{second}")) == ("deactivating", "inactive")
    assert "Job=17" in units.systemctl("show", "-p", "Job", f"shop-worker@{second}.service").out
    units.wait(10)
    assert (state(units, f"worker@{first}"), state(units, f"worker@{second}")) == ("inactive", "active")


def test_what_is_told_to_stop_and_to_start_does_both(units: SimulatedHost) -> None:
    """And a start that waits is called off by a stop."""
    told(units, "stop", "v2")
    told(units, "start", "v2")
    assert state(units, "worker@v2") == "deactivating"
    units.wait(10)
    assert state(units, "worker@v2") == "active"
    told(units, "stop", "v2")
    told(units, "start", "v1")
    told(units, "stop", "v1")
    units.wait(20)
    assert (state(units, "worker@v1"), state(units, "worker@v2")) == ("inactive", "inactive")


def test_two_that_wait_for_each_other_cannot_be_stopped_together(units: SimulatedHost) -> None:
    """systemd: "Transaction order is cyclic"."""
    path = units.paths.units / "shop-worker@v2.service"
    path.write_text(path.read_text().replace("After=", "After=shop-worker@v1.service "))
    units.systemctl("daemon-reload")
    told(units, "start", "v1")
    assert told(units, "stop", "v1")
    assert not told(units, "stop", "v2")


def test_the_rules_find_two_at_work(host: SimulatedHost) -> None:
    """All walks are looked at with them."""
    path = host.paths.units / "shop-worker@v2.service"
    (host.paths.units / "shop-worker@v1.service").write_text(path.read_text())
    told(host, "start", "v1")
    assert len(host.broken) == 1
    assert "shop-worker@v1.service starts, and shop-worker@v2.service still is active" in host.broken[0]


@pytest.mark.parametrize("name", ["env", "env.json", "secret.json"])
def test_what_a_release_was_sealed_with_is_its_environment_too(host: SimulatedHost, name: str) -> None:
    """The file that systemd reads is what the app runs with: a change of it is damage, as one of the code is."""
    ctx = host.context(lambda *_, **__: None)
    release = ctx.catalog.find(2)
    assert release is not None
    assert damage(ctx, release) == ""
    path = ctx.paths.release(2) / name
    path.write_bytes(path.read_bytes() + b" ")
    assert damage(ctx, release) == str(path)


@pytest.mark.parametrize("name", ["env", "env.json", "secret.json"])
def test_an_environment_that_has_changed_is_not_taken_over(host: SimulatedHost, name: str) -> None:
    """By a release that is made of it: that is refused before anything is done, and told by its file."""
    ctx = host.context(lambda *_, **__: None)
    release = ctx.catalog.find(2)
    assert release is not None
    seal.refuse_changed_environment(ctx, release)
    path = ctx.paths.release(2) / name
    path.write_bytes(path.read_bytes() + b" ")
    seal.refuse_changed_environment(ctx, replace(release, sealed=None))  # nothing is known of it
    with pytest.raises(HostError) as caught:
        seal.refuse_changed_environment(ctx, release)
    assert caught.value.message == f"v2 has been changed: the digest of {path} differs"
    assert caught.value.state == "nothing was touched"
    assert str(caught.value.next).splitlines() == [
        "fab deploy",
        "fab releases   (shows the other releases)",
        "check the disk, too",
    ]
    assert seal.known_damage(ctx, release) == f"{path} has changed"
    path.unlink()
    assert seal.known_damage(ctx, release) == f"{path} has changed"


@pytest.mark.parametrize(("store", "what"), [("trees", "code"), ("venvs", "virtual environment")])
def test_damage_that_was_found_before_is_known_without_reading_all(host: SimulatedHost, store: str, what: str) -> None:
    """What is gone, or was found damaged, is told of every release that has it; of a whole one, nothing."""
    ctx = host.context(lambda *_, **__: None)
    release = ctx.catalog.find(2)
    assert release is not None
    assert seal.known_damage(ctx, release) == ""
    assert seal.known_damage(ctx, replace(release, venv="", sealed=None)) == ""
    content, key = (ctx.trees, release.tree) if store == "trees" else (ctx.venvs, release.venv)
    mark_damaged(content, key, "a file differs")
    assert seal.known_damage(ctx, release) == f"its {what} is damaged: a file differs"
    content.seal_path(key).unlink()
    assert seal.known_damage(ctx, release) == f"its {what} is gone from the host"

"""What the laptop makes of what hosts say: of their state, their logs, and what a deploy would have them run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from deployer import observe
from deployer.errors import ConfigError, Exit
from deployer.remote import Outcome
from deployer.report import Lingering, TimerRow, UnitRow
from deployer.site import Site
from tests.unit.test_fleet import fleet_of

UNIT = {
    "process": "worker",
    "name": "shop-worker.2@v2.service",
    "active": "activating",
    "sub": "auto-restart",
    "pid": 7,
    "restarts": 3,
    "memory": 5,
    "since": 1.5,
    "ok": False,
}
TOLD: dict[str, Any] = {
    "app": "shop",
    "current": "v2",
    "standby": "v1",
    "busy": None,
    "healthy": False,
    "health": "",
    "release": {"number": "v2", "state": "current", "switched": 9.0},
    "last": None,
    "held": None,
    "units": [UNIT],
    "timers": [
        {"process": "clear", "name": "t", "ok": False, "next": 1.0, "last": 2.0, "running": False, "result": "timeout"}
    ],
    "lingering": [{"process": "worker", "release": "v1", "name": "u", "since": 4.0}],
}


# The state of a host


def test_the_state_of_a_host_is_taken_as_it_says() -> None:
    """Processes, timers and what lingers, with all that is known of them."""
    status = observe.parse_status(TOLD, "web1")
    assert status.units == (
        UnitRow(
            process="worker",
            name="shop-worker.2@v2.service",
            active="activating",
            sub="auto-restart",
            pid=7,
            restarts=3,
            memory_bytes=5,
            since=1.5,
            ok=False,
        ),
    )
    assert status.units[0].instance == "worker.2"
    timer = TimerRow(process="clear", name="t", ok=False, next=1.0, last=2.0, running=False, result="timeout")
    assert status.timers == (timer,)
    assert status.lingering == (Lingering(process="worker", release="v1", name="u", since=4.0),)
    assert (status.host, status.healthy, status.since) == ("web1", False, 9.0)


@pytest.mark.parametrize(("active", "ok"), [("active", True), ("activating", True), ("failed", False)])
def test_a_host_of_before_there_were_processes(active: str, ok: bool) -> None:
    """Its units have neither a process nor a verdict: both follow from what it says."""
    old = {key: UNIT[key] for key in UNIT if key not in ("process", "ok")}
    old |= {"name": "shop-web@v2.service", "active": active}
    told = {key: TOLD[key] for key in TOLD if key not in ("timers", "lingering")}
    status = observe.parse_status({**told, "units": [old]}, "web1")
    assert (status.units[0].process, status.units[0].ok) == ("web", ok)
    assert status.timers == status.lingering == ()


def test_a_host_that_says_less_or_more_is_no_crash() -> None:
    """Whatever it leaves out is unknown, whatever is new is passed over."""
    status = observe.parse_status({"current": "v2", "new": 1}, "web1")
    assert (status.current, status.healthy, status.units, status.busy) == ("v2", None, (), None)
    more = {
        **TOLD,
        "units": [{**UNIT, "new": 1}, {}],
        "timers": [{"process": "clear", "new": 1}, {}],
        "lingering": [{"new": 1}],
        "held": {"release": "v3", "seconds": 9.0, "new": 1},
    }
    assert len(observe.parse_status(more, "web1").units) == 2


# Logs


class FakeRemote:
    """A host whose answer to a question is ``answer``; what was asked is in ``asked``."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer, self.asked = answer, list[Mapping[str, Any]]()

    def read(self, message: Mapping[str, Any]) -> Outcome:
        self.asked.append(message)
        return Outcome(host="", exit=Exit.OK, release="", serving="")

    def query(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(message)
        return self.answer


def open_with(
    monkeypatch: pytest.MonkeyPatch, module: Any, answer: Mapping[str, Any] | None = None, **facts: Any
) -> dict[str, FakeRemote]:
    """Hosts that say of themselves what stands under their name."""
    remotes: dict[str, FakeRemote] = {}

    @contextmanager
    def open_remote(site: Site) -> Iterator[tuple[FakeRemote, Any]]:
        remotes[site.host] = FakeRemote(answer or {})
        yield remotes[site.host], facts[site.host]

    monkeypatch.setattr(module, "open_remote", open_remote)
    return remotes


def has(*processes: str) -> Any:
    return SimpleNamespace(processes=processes)


@pytest.mark.parametrize("process", ["", "worker"])
def test_which_logs_are_asked_for(monkeypatch: pytest.MonkeyPatch, process: str) -> None:
    """The name goes to the host as it is; empty are all of them."""
    remotes = open_with(monkeypatch, observe, web1=has("web", "worker"))
    assert observe.logs(fleet_of("web1"), lines=5, process=process) == Exit.OK
    assert remotes["web1"].asked == [{"op": "logs", "process": process, "lines": 5, "follow": False}]


def test_hosts_that_run_something_else_are_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the roles differ, those that have the process answer, and the others are no failure."""
    remotes = open_with(monkeypatch, observe, web1=has("web"), jobs1=has("worker"))
    assert observe.logs(fleet_of("web1", "jobs1"), lines=5, process="worker") == Exit.OK
    assert (remotes["web1"].asked, len(remotes["jobs1"].asked)) == ([], 1)


@pytest.mark.parametrize("hosts", [("web1",), ("web1", "jobs1")])
def test_a_process_that_no_host_has(monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]) -> None:
    """Bad usage: the names there are, and the nearest of them to type."""
    open_with(monkeypatch, observe, web1=has("web", "worker"), jobs1=has("worker", "clear"))
    with pytest.raises(ConfigError) as caught:
        observe.logs(fleet_of(*hosts), lines=5, process="wroker")
    names = "web, worker" if len(hosts) == 1 else "web, worker, clear"
    assert caught.value.message == f"there is no process 'wroker' on {', '.join(hosts)}; there are: {names}"
    assert caught.value.next == "fab logs --process worker"


def test_a_host_that_does_not_say_what_it_runs_judges_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program knows better than the laptop."""
    remotes = open_with(monkeypatch, observe, web1=has())
    assert observe.logs(fleet_of("web1"), lines=5, process="worker") == Exit.OK
    assert len(remotes["web1"].asked) == 1

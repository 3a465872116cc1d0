"""What the laptop makes of what hosts say: of their state, their logs, and what a deploy would have them run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from deployer.commands.inspect import logs, status
from deployer.commands.release import plan
from deployer.config import LocalEnvironment
from deployer.config.environment.secret import Secret
from deployer.errors import BadAnswer, ConfigError, Exit
from deployer.fleet.hosts import Fleet
from deployer.remote import decode
from deployer.remote.answers import Calendar, HostVariable, Lingering, Status, TimerRow, UnitRow
from deployer.remote.decode import Answer
from deployer.remote.plan import Plan
from deployer.remote.session import Outcome
from deployer.remote.site import Site
from deployer.ui.plain.jsonlines import as_object
from deployer.wire.release.processes import Process, Timer
from deployer.wire.release.spec import Spec
from tests.unit.fleet.test_hosts import fleet_of
from tests.unit.release.test_kinds import SPEC

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


def told_status(monkeypatch: pytest.MonkeyPatch, told: Mapping[str, Any]) -> Status:
    (site,) = fleet_of("web1").sites
    open_with(monkeypatch, status, {"status": told}, **{site.host: has()})
    return status.status(site)


def test_the_state_of_a_host_is_taken_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes, timers and what lingers, with all that is known of them; the host's name is ours."""
    status = told_status(monkeypatch, {**TOLD, "host": "another", "since": 5.0})
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


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("of", ["units", "timers"])
def test_what_is_not_well_is_shown_as_that(monkeypatch: pytest.MonkeyPatch, of: str, ok: bool) -> None:
    """A verdict reaches people and machines as the host gave it, and one that was not given is no verdict."""
    status = told_status(monkeypatch, {**TOLD, of: [{**TOLD[of][0], "ok": ok}]})
    (row,) = as_object(status)[of]
    assert (getattr(status, of)[0].ok, row["ok"]) == (ok, ok)
    with pytest.raises(BadAnswer):
        told_status(monkeypatch, {**TOLD, of: [{key: TOLD[of][0][key] for key in TOLD[of][0] if key != "ok"}]})


def test_a_host_that_says_less_or_more_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it leaves out is unknown, whatever is new is ignored; nothing that serves is None."""
    status = told_status(monkeypatch, {"current": "", "new": 1})
    assert (status.current, status.healthy, status.units, status.busy) == (None, None, (), None)
    more = {
        **TOLD,
        "units": [{**UNIT, "new": 1}],
        "lingering": [{"new": 1}],
        "held": {"release": "v3", "seconds": 9.0, "new": 1},
    }
    assert len(told_status(monkeypatch, more).lingering) == 1


def test_machines_read_what_people_read() -> None:
    """``--json``: fields by their own names, a job in words, and since when it serves told once."""
    told = msgspec.json.decode(
        json.dumps({**TOLD, "busy": {"by": "ada", "kind": "reload", "phase": "build"}}), type=Status
    )
    shown = as_object(told)
    assert shown["busy"] == "a reload by ada runs, at build"
    assert shown["units"][0]["memory_bytes"] == 5
    assert "switched" not in shown["release"]
    assert list(shown) == [
        "app", "host", "current", "standby", "since", "release", "units", "timers", "lingering", "busy", "lock",
        "healthy", "health", "last", "held", "notes", "maintenance",
    ]  # fmt: skip


# Logs


class FakeRemote:
    """A host whose answer to a question is ``answer``; what was asked is in ``asked``."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer, self.asked = answer, list[Mapping[str, Any]]()

    def read(self, message: Mapping[str, Any]) -> Outcome:
        self.asked.append(message)
        return Outcome(host="", exit=Exit.OK, release="", serving="")

    def query(self, message: Mapping[str, Any], kind: type[Answer]) -> Answer:
        self.asked.append(message)
        return decode.answer(json.dumps(self.answer).encode(), kind, str(message["op"]), "web1")


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
    remotes = open_with(monkeypatch, logs, web1=has("web", "worker"))
    assert logs.logs(fleet_of("web1"), lines=5, process=process) == Exit.OK
    assert remotes["web1"].asked == [{"op": "logs", "process": process, "lines": 5, "follow": False}]


def test_hosts_that_run_something_else_are_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the roles differ, those that have the process answer, and the others are no failure."""
    remotes = open_with(monkeypatch, logs, web1=has("web"), jobs1=has("worker"))
    assert logs.logs(fleet_of("web1", "jobs1"), lines=5, process="worker") == Exit.OK
    assert (remotes["web1"].asked, len(remotes["jobs1"].asked)) == ([], 1)


@pytest.mark.parametrize("hosts", [("web1",), ("web1", "jobs1")])
def test_a_process_that_no_host_has(monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]) -> None:
    """Bad usage: the names there are, and the nearest of them to type."""
    open_with(monkeypatch, logs, web1=has("web", "worker"), jobs1=has("worker", "clear"))
    with pytest.raises(ConfigError) as caught:
        logs.logs(fleet_of(*hosts), lines=5, process="wroker")
    names = "web, worker" if len(hosts) == 1 else "web, worker, clear"
    assert caught.value.message == f"there is no process 'wroker' on {', '.join(hosts)}; there are: {names}"
    assert str(caught.value.next) == "fab logs --process worker"


def test_a_host_that_does_not_say_what_it_runs_judges_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program knows better than the laptop."""
    remotes = open_with(monkeypatch, logs, web1=has())
    assert logs.logs(fleet_of("web1"), lines=5, process="worker") == Exit.OK
    assert len(remotes["web1"].asked) == 1


# What a deploy would have run


WORKER = Process(name="worker", command=("celery", "-A", "my shop"), count=2, stop=60, overlap=True, check="", unit=())
CLEAR = Timer(name="clear", command=("x",), calendar="daily", persistent=True, timeout=0, unit=())
PLAIN = Spec.parse(SPEC)
FULL = replace(PLAIN, processes=(WORKER,), timers=(CLEAR,))
BARE = Plan(app="shop", host="web1", current="v1", release="v2")


def planned(spec: Spec, before: Spec | None, calendars: Mapping[str, Calendar] | None = None) -> Plan:
    return plan.changes(BARE, spec, before, calendars or {})


def test_what_would_run_is_told_as_it_would_be_typed() -> None:
    """Each process with its command and how many there are of it; each timer with its calendar and next run."""
    plan = planned(FULL, FULL, {"daily": Calendar(calendar="daily", next=7.0)})
    assert [(one.process, one.runs, one.count, one.change) for one in plan.processes] == [
        ("web", "gunicorn a:b", 1, ""),
        ("worker", "celery -A 'my shop'", 2, ""),
    ]
    (timer,) = plan.timers
    assert (timer.process, timer.calendar, timer.next, timer.problem, timer.change) == ("clear", "daily", 7.0, "", "")


def test_what_differs_from_what_serves_is_told() -> None:
    """New, changed, or gone; at the first deploy nothing is new, as there is nothing old."""
    plan = planned(replace(FULL, web=None, processes=(replace(WORKER, count=3),)), replace(FULL, timers=()))
    assert [one.change for one in (*plan.processes, *plan.timers)] == ["changed", "new"]
    assert plan.gone == ("web",)
    first = planned(FULL, None)
    assert [one.change for one in (*first.processes, *first.timers)] == ["", "", ""]
    assert first.gone == ()


def test_a_free_command_is_told_without_a_server() -> None:
    """It is what deploy.toml says."""
    assert PLAIN.web is not None
    web = replace(PLAIN.web, server="command", target="", args=("daphne", "--fd", "3"))
    (process,) = planned(replace(PLAIN, web=replace(web, workers=4)), None).processes
    assert (process.runs, process.count) == ("daphne --fd 3", 1)


NOTHING_HERE = LocalEnvironment()


def previewed(
    monkeypatch: pytest.MonkeyPatch,
    fleet: Fleet,
    specs: Mapping[str, Spec],
    problem: str = "",
    local: LocalEnvironment = NOTHING_HERE,
) -> tuple[Any, dict[str, FakeRemote]]:
    def facts(next: int) -> Any:
        kept = {"KEY": HostVariable(source="host")}
        return SimpleNamespace(current="v1", next=next, spec=PLAIN, busy=None, lock=None, environment=kept)

    answer = {"calendars": [{"calendar": "daily", "next": 7.0, "problem": problem}]}
    remotes = open_with(monkeypatch, plan, answer, web1=facts(4), jobs1=facts(7))
    campaign = SimpleNamespace(spec_on=lambda site: specs[site.host], source=None, local=local)
    monkeypatch.setattr(plan, "read_project", lambda *_, **__: campaign)
    return plan.preview(fleet), remotes


def test_a_fleet_gets_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release is called after the host that has had most of them; each host has what runs there."""
    specs = {"web1": PLAIN, "jobs1": replace(FULL, web=None)}
    found, remotes = previewed(monkeypatch, fleet_of("web1", "jobs1"), specs)
    assert [plan.release for plan in found.values.values()] == ["v7", "v7"]
    assert [one.process for one in found.values["jobs1"].processes] == ["worker"]
    assert found.values["jobs1"].timers[0].next == 7.0
    assert found.exit == Exit.OK
    assert remotes["web1"].asked == [], "without timers there is nothing to ask"


def test_a_calendar_that_is_none_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deploy would be refused: the exit code says so already now."""
    found, _ = previewed(monkeypatch, fleet_of("web1"), {"web1": FULL}, "Failed to parse")
    assert found.exit == Exit.USAGE
    assert found.values["web1"].timers[0].problem == "Failed to parse"


def test_what_the_hosts_keep_is_laid_over_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What that hides is told, with its place; what is required and nowhere would have the deploy refused."""
    local = LocalEnvironment(file={"KEY": Secret("x")}, required=("KEY", "MORE"))
    found, _ = previewed(monkeypatch, fleet_of("web1"), {"web1": PLAIN}, local=local)
    told = found.values["web1"]
    assert (told.hidden, told.missing, found.exit) == ({"KEY": "env_file"}, ("MORE",), Exit.USAGE)

"""What a host tells of its processes and timers, and what the doctor finds of them: from what systemd says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.inspect import doctor, preparation, services, status, units
from deployer.host.processes.probe import Response
from deployer.host.processes.web import Candidate
from deployer.host.proxy.proof.other_sites import Seen
from deployer.host.recovery import survey
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths, job_unit
from deployer.host.state.releases import GOOD, Release
from deployer.host.system import proc, runner, timers
from deployer.wire.release.processes import Process, Timer
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

WORKER = Process(name="worker", command=("x",), count=2, stop=60, overlap=True, check="", unit=())
CLEAR = Timer(name="clear", command=("x",), calendar="daily", persistent=True, timeout=0, unit=())
WITH_WEB = replace(Spec.parse(SPEC), processes=(WORKER,), timers=(CLEAR,))
WITHOUT = replace(WITH_WEB, web=None)

WEB_UNIT, ONE, TWO = "shop-web@v2.service", "shop-worker@v2.service", "shop-worker.2@v2.service"
TIMER, RUN = "shop-clear@v2.timer", "shop-clear@v2.service"
UP = {"ActiveState": "active", "SubState": "running", "MainPID": "7", "NRestarts": "0"}
WAITING = {
    "ActiveState": "active",
    "LastTriggerUSec": "Thu 2026-11-26 00:00:01 UTC",
    "NextElapseUSecRealtime": "Fri 2026-11-27 00:00:00 UTC",
    "Result": "success",
}
RAN = {"ActiveState": "inactive", "Result": "success", "ExecMainStartTimestamp": "Thu 2026-11-26 00:00:02 UTC"}
MIDNIGHT = 1795651200.0
"""Thu 2026-11-26 00:00:00 UTC."""


class Systemd:
    """Stands in for the commands: what ``systemctl show`` says of each unit, and what ``list-units`` lists."""

    def __init__(self) -> None:
        self.units = {
            WEB_UNIT: UP,
            ONE: UP,
            TWO: UP,
            TIMER: WAITING,
            RUN: RAN,
            "shop.service": {"ActiveState": "active"},
        }
        self.listed = ""
        self.calendar = runner.CommandResult(0, "", "")

    def __call__(self, argv: Sequence[str], **_: Any) -> runner.CommandResult:
        words = list(argv)
        utc = words[:2] == ["env", "TZ=UTC"]
        words = words[2:] if utc else words
        if words[:2] == ["systemctl", "list-units"]:
            return runner.CommandResult(0, self.listed, "")
        if words[0] == "systemd-analyze":
            return self.calendar
        if words[:2] == ["systemctl", "list-jobs"]:
            jobs = {unit: self.units[unit].get("JobType", "start") for unit in words[4:]}
            return runner.CommandResult(0, "".join(f"17 {unit} {kind} waiting\n" for unit, kind in jobs.items()), "")
        assert words[:3] == ["systemctl", "show", "-p"], words
        names = words[3].split(",")
        assert utc or not any("Timestamp" in name and "Monotonic" not in name for name in names), "in whose zone?"
        blocks = [self.units.get(unit, {"ActiveState": "inactive"}) for unit in words[4:]]
        shown = ["".join(f"{name}={block[name]}\n" for name in names if name in block) for block in blocks]
        return runner.CommandResult(0, "\n".join(shown), "")

    def put(self, unit: str, **changes: str) -> None:
        self.units[unit] = {**self.units.get(unit, {}), **changes}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    made = Systemd()
    monkeypatch.setattr(runner, "run", made)
    monkeypatch.setattr(proc, "resident", lambda pid: pid * 1024)
    monkeypatch.setattr("deployer.host.job.lock.running", lambda _: None)
    monkeypatch.setattr(survey, "inspect", lambda _: None)
    monkeypatch.setattr(survey, "plan", lambda _: [])
    monkeypatch.setattr(preparation, "findings", lambda _: [])  # of the preparation: tried on real hosts
    monkeypatch.setattr(services, "findings", lambda _: ([], []))  # likewise
    monkeypatch.setattr(preparation, "outside", lambda _: Seen(unknown=["nobody looked"]))
    return made


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    paths = AppPaths("shop", tmp_path)
    for path in (paths.releases, paths.units, paths.trees, paths.venvs):
        path.mkdir(parents=True)
    return Context(
        paths=paths, settings=AppSettings("deploy", "www-data"), emit=lambda *_, **__: None, clock=lambda: 10_000.0
    )


def serving(ctx: Context, spec: Spec) -> Release:
    """v2 serves."""
    release = Release(number=2, kind="deploy", of=0, by="ada", at=0.0, spec=spec, result=GOOD)
    ctx.paths.release(2).mkdir()
    ctx.catalog.save(release)
    ctx.paths.current.symlink_to("releases/v2")
    return release


# What runs


def test_each_instance_is_told_with_its_process(fake: Systemd, ctx: Context) -> None:
    """The web process first, then every instance, by the name of its process; memory and restarts are its own."""
    fake.put(TWO, NRestarts="3", MainPID="9")
    rows = units.of_processes(ctx, serving(ctx, WITH_WEB))
    assert [(row["process"], row["name"]) for row in rows] == [("web", WEB_UNIT), ("worker", ONE), ("worker", TWO)]
    assert [(row["restarts"], row["pid"], row["memory"]) for row in rows[1:]] == [(0, 7, 7168), (3, 9, 9216)]
    assert units.of_processes(ctx, replace(serving_again(ctx), spec=WITHOUT))[0]["process"] == "worker"


def serving_again(ctx: Context) -> Release:
    release = ctx.catalog.serving()
    assert release is not None
    return release


@pytest.mark.parametrize(
    ("state", "ok", "sub"),
    [
        ({"ActiveState": "active", "SubState": "running"}, True, "running"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, False, "auto-restart"),
        ({"ActiveState": "failed", "SubState": "failed"}, False, "failed"),
        ({"ActiveState": "inactive", "SubState": "dead"}, False, "dead"),
        ({"ActiveState": "inactive", "SubState": "dead", "Job": "41"}, True, "queued"),
        (
            {"ActiveState": "deactivating", "SubState": "stop-sigterm", "Job": "41", "JobType": "stop"},
            False,
            "stop-sigterm",
        ),
        ({"ActiveState": "deactivating", "SubState": "stop-sigterm", "Job": "41"}, True, "queued"),
        ({"ActiveState": "failed", "SubState": "failed", "Job": "41", "JobType": "restart"}, True, "queued"),
    ],
)
def test_what_counts_as_up(fake: Systemd, ctx: Context, state: dict[str, str], ok: bool, sub: str) -> None:
    """A crash loop does not, though systemd calls it activating; one that is to be started does, whether it waits for
    its forerunner's end or for its own. One that is only to be stopped does not."""
    fake.units[ONE] = state
    row = units.of_processes(ctx, serving(ctx, WITHOUT))[0]
    assert (row["ok"], row["sub"]) == (ok, sub)


def test_while_the_whole_app_is_started_again_nothing_is_down(fake: Systemd, ctx: Context) -> None:
    """``systemctl restart shop`` first stops all, and only then asks for each start."""
    fake.units[ONE] = {"ActiveState": "deactivating", "SubState": "stop-sigterm", "Job": "41", "JobType": "stop"}
    fake.units["shop.service"] = {"ActiveState": "deactivating", "Job": "40", "JobType": "restart"}
    release = serving(ctx, WITHOUT)
    assert units.of_processes(ctx, release)[0]["ok"]
    assert doctor.examine(ctx)["findings"] == []
    fake.units["shop.service"]["JobType"] = "stop"
    assert not units.of_processes(ctx, release)[0]["ok"]
    assert "down" in [one["kind"] for one in doctor.examine(ctx)["findings"]]


def timer_of(ctx: Context) -> dict[str, Any]:
    (row,) = units.of_timers(ctx, serving(ctx, WITHOUT))
    return row


def test_a_timer_tells_its_runs_in_seconds(fake: Systemd, ctx: Context) -> None:
    """Whatever zone the host is in; the last run is the one that was started last, by the timer or by hand."""
    assert timer_of(ctx) == {
        "process": "clear",
        "name": TIMER,
        "ok": True,
        "next": MIDNIGHT + 86400,
        "last": MIDNIGHT + 2,
        "running": False,
        "result": "success",
    }


@pytest.mark.parametrize(
    ("run", "timer", "told"),
    [
        ({"Result": "exit-code", "ActiveState": "failed"}, {}, {"ok": False, "result": "exit-code"}),
        ({"ActiveState": "activating"}, {}, {"ok": True, "running": True, "result": ""}),
        ({"ActiveState": "activating", "Result": "exit-code"}, {}, {"ok": True, "running": True, "result": ""}),
        ({"ExecMainStartTimestamp": ""}, {}, {"ok": True, "result": "", "last": MIDNIGHT + 1}),
        ({"ExecMainStartTimestamp": ""}, {"LastTriggerUSec": ""}, {"ok": True, "result": "", "last": 0.0}),
        ({}, {"ActiveState": "inactive"}, {"ok": False, "result": "success"}),
        ({}, {"NextElapseUSecRealtime": ""}, {"ok": True, "next": 0.0}),
        ({}, {"NextElapseUSecRealtime": "n/a"}, {"ok": True, "next": 0.0}),
    ],
)
def test_how_the_last_run_ended(
    fake: Systemd, ctx: Context, run: dict[str, str], timer: dict[str, str], told: dict[str, Any]
) -> None:
    """Not known while one runs, nor of a run before the last boot, which systemd forgets: that is no success."""
    fake.put(RUN, **run)
    fake.put(TIMER, **timer)
    row = timer_of(ctx)
    assert {key: row[key] for key in told} == told


def test_what_lingers_is_of_other_releases_of_this_app(fake: Systemd, ctx: Context) -> None:
    """A process that was told to stop, and a run; not one that starts, nor one of the app shop-web."""
    names = (
        "shop-worker.2@v1",
        "shop-clear@v1",
        "shop-worker@v1",
        "shop-worker@v2",
        "shop-web-worker@v1",
        "shop-web@v1",
    )
    states = ("deactivating", "activating", "activating", "deactivating", "deactivating", "deactivating")
    fake.listed = "".join(f"{unit}.service loaded {state} x y z\n" for unit, state in zip(names, states, strict=True))
    since = str(int((time.monotonic() - 12) * 1e6))
    fake.units["shop-worker.2@v1.service"] = {
        "Type": "exec",
        "ActiveExitTimestampMonotonic": since,
        "InactiveExitTimestampMonotonic": "1",
    }
    fake.units["shop-worker@v1.service"] = {"Type": "exec"}
    fake.units["shop-clear@v1.service"] = {
        "Type": "oneshot",
        "ActiveExitTimestampMonotonic": "0",
        "InactiveExitTimestampMonotonic": since,
    }
    rows = units.lingering(ctx, 2)
    assert [(row["process"], row["release"], row["name"]) for row in rows] == [
        ("worker", "v1", "shop-worker.2@v1.service"),
        ("clear", "v1", "shop-clear@v1.service"),
    ]
    assert all(abs(time.time() - 12 - row["since"]) < 5 for row in rows)


# The status


def test_the_status_of_a_host_without_web(fake: Systemd, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for an answer: it is healthy as long as all processes are up."""
    monkeypatch.setattr(Candidate, "ask", lambda *_: pytest.fail("there is nothing to ask"))
    serving(ctx, WITHOUT)
    report = status.status_report(ctx)
    assert (report["current"], report["healthy"], report["health"]) == ("v2", True, "")
    assert [row["name"] for row in (*report["units"], *report["timers"])] == [ONE, TWO, TIMER]
    assert report["lingering"] == []
    fake.put(TWO, ActiveState="failed")
    assert status.status_report(ctx)["healthy"] is False


def test_the_status_of_a_host_with_web(fake: Systemd, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health is what it answers, whatever becomes of a worker."""
    monkeypatch.setattr(Candidate, "ask", lambda *_: Response(200, seconds=0.005))
    serving(ctx, WITH_WEB)
    fake.put(TWO, ActiveState="failed")
    report = status.status_report(ctx)
    assert (report["healthy"], report["health"]) == (True, "200 in 5 ms")
    assert [row["ok"] for row in report["units"]] == [True, True, False]


def test_the_status_before_the_first_release(fake: Systemd, ctx: Context) -> None:
    """There is nothing to tell of, and every key is there."""
    report = status.status_report(ctx)
    assert (report["units"], report["timers"], report["lingering"], report["healthy"]) == ([], [], [], None)


# Calendars


@pytest.mark.parametrize(
    ("said", "next"),
    [
        ("  Original form: daily\n    Next elapse: Fri 2026-11-27 00:00:00 UTC\n", MIDNIGHT + 86400),
        (
            "    Next elapse: Fri 2026-11-27 00:00:00 JST\n       (in UTC): Thu 2026-11-26 15:00:00 UTC\n",
            MIDNIGHT + 15 * 3600,
        ),
        ("Normalized form: 2000-01-01 00:00:00\n    Next elapse: never\n", 0.0),
    ],
)
def test_when_a_calendar_comes_next(fake: Systemd, said: str, next: float) -> None:
    """In the host's own zone, told in seconds since 1970; 0 for one that never comes again."""
    fake.calendar = runner.CommandResult(0, said, "")
    assert timers.upcoming("daily") == {"calendar": "daily", "next": next, "problem": ""}


def test_a_calendar_that_systemd_does_not_understand(fake: Systemd) -> None:
    """What systemd says is passed on."""
    fake.calendar = runner.CommandResult(1, "", "Failed to parse calendar specification 'nope': Invalid argument\n")
    told = timers.upcoming("nope")
    assert told["problem"] == "Failed to parse calendar specification 'nope': Invalid argument"
    assert told["next"] == 0.0


# The doctor


def findings(ctx: Context) -> list[tuple[str, str]]:
    return [(one["kind"], one["what"]) for one in doctor.examine(ctx)["findings"]]


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked answers well."""
    monkeypatch.setattr(Candidate, "ask", lambda *_: Response(200))


def test_a_host_that_is_well_has_no_findings(fake: Systemd, ctx: Context, well: None) -> None:
    """The control; a restart long ago, or a single one, is none."""
    serving(ctx, WITH_WEB)
    fake.put(ONE, NRestarts="1", ActiveEnterTimestampMonotonic=str(int((time.monotonic() - 5) * 1e6)))
    fake.put(TWO, NRestarts="9")
    assert findings(ctx) == []


@pytest.mark.cause("job-unit-kept")
@pytest.mark.cause("job-unit-taken")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/run/systemd/transient/{}", "stays active though its job has ended"),
        ("/etc/systemd/system/{}", "has the name of deployer's own unit"),
    ],
    ids=["ours", "another's"],
)
def test_a_job_that_runs_no_process_is_found(fake: Systemd, ctx: Context, well: None, path: str, text: str) -> None:
    """Its unit is active and has exited. The next job frees the name, unless the unit is somebody else's."""
    unit = job_unit("shop")
    fake.put(unit, LoadState="loaded", ActiveState="active", SubState="running", FragmentPath=path.format(unit))
    assert findings(ctx) == []
    fake.put(unit, SubState="exited")
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"], found["fix"]) == ("leftover", unit, False)
    assert text in found["text"]


def test_a_web_process_is_judged_by_its_answer(fake: Systemd, ctx: Context, well: None) -> None:
    """Its socket starts it with the next request: that it does not run at this moment is no finding."""
    serving(ctx, WITH_WEB)
    fake.put(WEB_UNIT, ActiveState="inactive")
    assert findings(ctx) == []


@pytest.mark.cause("process-down")
def test_a_process_that_is_down_is_found(fake: Systemd, ctx: Context, well: None) -> None:
    """With where to read why, and what starts it again."""
    serving(ctx, WITHOUT)
    fake.put(TWO, ActiveState="failed", SubState="failed")
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"]) == ("down", TWO)
    assert found["text"] == f"{TWO} does not run (failed)"
    assert "fab logs --process worker" in found["repair"] and f"systemctl start {TWO}" in found["repair"]


@pytest.mark.cause("keeps-ending")
@pytest.mark.parametrize("unit", [WEB_UNIT, ONE])
def test_a_process_that_keeps_ending_is_found(fake: Systemd, ctx: Context, well: None, unit: str) -> None:
    """Up at this moment or not: it was started again several times, the last time a moment ago."""
    serving(ctx, WITH_WEB)
    context = replace(ctx, clock=time.time)
    fake.put(unit, NRestarts="4", ActiveEnterTimestampMonotonic=str(int((time.monotonic() - 5) * 1e6)))
    assert findings(context) == [("restarting", unit)]
    fake.put(unit, ActiveState="activating", SubState="auto-restart")
    assert findings(context) == [("restarting", unit)]


@pytest.mark.cause("timer-run-failed")
@pytest.mark.cause("timer-down")
def test_a_timer_whose_last_run_failed_is_found(fake: Systemd, ctx: Context, well: None) -> None:
    """With how it ended, and what runs it again; one that is stopped is another finding."""
    serving(ctx, WITH_WEB)
    fake.put(RUN, ActiveState="failed", Result="exit-code")
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"]) == ("failed", TIMER)
    assert "exit-code" in found["text"]
    assert "fab logs --process clear" in found["repair"] and f"systemctl start {RUN}" in found["repair"]
    fake.put(RUN, ActiveState="inactive", Result="success")
    fake.put(TIMER, ActiveState="inactive")
    assert findings(ctx) == [("down", TIMER)]


def test_no_health_where_nothing_answers(fake: Systemd, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without web is not called unhealthy because it has no socket."""
    monkeypatch.setattr(Candidate, "ask", lambda *_: pytest.fail("there is nothing to ask"))
    serving(ctx, WITHOUT)
    assert findings(ctx) == []


@pytest.mark.cause("app-stopped")
def test_processes_in_motion_are_no_findings(
    fake: Systemd, ctx: Context, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while a deploy runs; and when root has stopped the app, that is the finding."""
    serving(ctx, WITH_WEB)
    fake.put(ONE, ActiveState="inactive")
    fake.put("shop.service", ActiveState="inactive")
    assert findings(ctx) == [("down", "shop.service")]
    fake.put("shop.service", ActiveState="active")
    monkeypatch.setattr("deployer.host.job.lock.running", lambda _: {"job": "x"})
    assert findings(ctx) == []


def test_what_the_host_starts_by_itself_is_named(
    fake: Systemd, ctx: Context, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That something does not run is told once, by what it is; where nothing of it is known, by its release."""
    serving(ctx, WITH_WEB)
    monkeypatch.setattr(survey, "plan", lambda _: [survey.Repair(survey.START, "v2 does not run", number=2)])
    assert findings(ctx) == [("down", "v2")]
    fake.put(ONE, ActiveState="inactive")
    fake.put(TIMER, ActiveState="inactive")
    found = doctor.examine(ctx)["findings"]
    assert [(one["what"], one["fix"]) for one in found] == [(ONE, True), (TIMER, True)]
    assert found[0]["repair"] == "it is started; fab logs --process worker tells why it ended"
    assert found[1]["repair"] == "it is started"


@pytest.mark.cause("job-unit-dead")
def test_a_name_that_a_dead_job_holds_is_freed(fake: Systemd, ctx: Context, well: None) -> None:
    """Its unit has failed, and systemd would not start another one of the name: the host frees it by itself."""
    unit = job_unit("shop")
    path = f"/run/systemd/transient/{unit}"
    fake.put(unit, LoadState="loaded", ActiveState="failed", SubState="failed", FragmentPath=path)
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"], found["fix"]) == ("leftover", unit, True)
    assert found["text"] == f"{unit} runs nothing, and systemd still holds it"


@pytest.mark.cause("unhealthy")
def test_an_answer_that_is_not_healthy_is_found(fake: Systemd, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what came back, where to read why, and both ways on."""
    monkeypatch.setattr(Candidate, "ask", lambda *_: Response(503))
    serving(ctx, WITH_WEB)
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"]) == ("unhealthy", "v2")
    assert "v2 serves and is not healthy" in found["text"] and "503" in found["text"]
    assert found["repair"] == "fab logs; fix it and fab deploy, or fab rollback"


@pytest.mark.cause("record-unreadable")
def test_a_release_whose_record_cannot_be_read_is_found(fake: Systemd, ctx: Context, well: None) -> None:
    """It is no longer one that anything can go back to: with the directory that may then be removed."""
    serving(ctx, WITH_WEB)
    ctx.paths.release(1).mkdir()
    (ctx.paths.release(1) / "release.json").write_text("{")
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"], found["fix"]) == ("damaged", "v1", False)
    assert "release.json" in found["text"] and f"remove {ctx.paths.release(1)}:" in found["repair"]


@pytest.mark.cause("content-damaged")
def test_content_that_is_not_what_was_sealed_is_found(
    fake: Systemd, ctx: Context, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And marked in its seal, so that nothing builds on it: what is found once is known from then on."""
    marked: list[tuple[str, str]] = []
    monkeypatch.setattr(doctor, "damage_of", lambda store, key: "at manage.py" if store == ctx.trees else "")
    monkeypatch.setattr(doctor, "mark_damaged", lambda _, key, damage: marked.append((key, damage)))
    release = replace(serving(ctx, WITH_WEB), tree="abc")
    ctx.catalog.save(release)
    (found,) = doctor.examine(ctx)["findings"]
    assert (found["kind"], found["what"]) == ("damaged", "v2")
    assert "its digest differs at manage.py" in found["text"] and "fab deploy" in found["repair"]
    assert marked == [("abc", "at manage.py")]

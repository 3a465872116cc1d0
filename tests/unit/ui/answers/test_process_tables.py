"""What people read of processes, timers and roles: fab status and fab plan, on one host and on many."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from deployer.events import HostEnd
from deployer.remote.answers import Lingering, Status, TimerRow, UnitRow
from deployer.remote.plan import Plan, PlannedProcess, PlannedTimer
from deployer.ui.answers.plan import show_plan
from deployer.ui.answers.status import show_status
from deployer.ui.style.text import ahead
from tests.support.screen import ANSI, Terminal

NOW = 1_000_000.0


def shown(show: Callable[..., object], *args: Any, **options: Any) -> str:
    """As a program that reads it gets it: wide, without colours."""
    stream = io.StringIO()
    show(*args, stream=stream, now=NOW, **options)
    return stream.getvalue()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """On a terminal of so many columns, with its colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def draw(show: Callable[..., object], *args: Any, columns: int = 100) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        show(*args, stream=terminal, now=NOW)
        return terminal.getvalue()

    return draw


def unit(process: str, instance: int = 1, **more: Any) -> UnitRow:
    name = f"shop-{process}{f'.{instance}' if instance > 1 else ''}@v42.service"
    usual = {"active": "active", "sub": "running", "pid": 7, "memory_bytes": 60 << 20, "since": NOW - 4000, "ok": True}
    return UnitRow(**{**usual, "process": process, "name": name, **more})


def status(*units: UnitRow, host: str = "deploy@web1", **more: Any) -> Status:
    web = any(one.process == "web" for one in units)
    usual = {"healthy": all(one.ok for one in units), "health": "200 in 5 ms" if web else ""}
    if web:
        usual["healthy"] = True
    return Status(**{"app": "shop", "current": "v42", **usual, **more, "host": host, "units": units})


DOWN = unit("worker", 2, active="activating", sub="auto-restart", restarts=7, pid=0, memory_bytes=0, ok=False)
TIMERS = (
    TimerRow(process="clear", next=NOW + 60000, last=NOW - 26400, result="success", ok=True),
    TimerRow(process="newsletter", next=NOW - 10, last=NOW - 10, running=True, ok=True),
    TimerRow(process="digest", ok=False, next=NOW + 150, last=NOW - 300, result="exit-code"),
    TimerRow(process="cleanup", ok=False),
    TimerRow(process="fresh", next=NOW + 3 * 86400, ok=True),
)


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


# One host


def test_each_instance_has_a_row() -> None:
    """State, memory, restarts, since when, and the unit that it is."""
    text = shown(show_status, [status(unit("web"), unit("worker"), DOWN)])
    assert re.search(r"web +running +7 +60 MiB +0 +1 h ago +shop-web@v42\.service", row(text, "web"))
    assert re.search(r"worker\.2 +auto-restart +7 +1 h ago +shop-worker\.2@v42\.service", row(text, "worker.2"))
    assert "health   not healthy: worker: 1 of 2 down" in text


def test_a_process_that_is_down_is_red(drawn: Callable[..., str]) -> None:
    """So is the host's health, although the web process answers well; one that waits for its turn is yellow."""
    waits = unit("beat", active="inactive", sub="queued")
    text = drawn(show_status, [status(unit("web"), DOWN, waits)])
    assert "\x1b[1;31mauto-restart" in text and "\x1b[1;31mnot healthy" in text
    assert "\x1b[33mqueued" in text
    assert "\x1b[32mhealthy" in drawn(show_status, [status(unit("web"), waits)])


def test_a_narrow_terminal_leaves_out_the_names_of_units(drawn: Callable[..., str]) -> None:
    """Each instance stays one line at 80 columns."""
    text = ANSI.sub("", drawn(show_status, [status(unit("web"), DOWN)], columns=80))
    assert "shop-web@" not in text
    assert row(text, "worker.2").split() == ["worker.2", "auto-restart", "7", "1", "h", "ago"]


def test_a_timer_tells_its_runs() -> None:
    """When it runs next, when it ran last and how that ended; whether it runs now, or never will."""
    text = shown(show_status, [status(unit("web"), timers=TIMERS)])
    for name, cells in {
        "clear": r"in 16 h +7 h ago +well",
        "newsletter": r"after this one +10 s ago +running now",
        "digest": r"in 2 min +5 min ago +failed: exit-code",
        "cleanup": r"none: it is stopped +none yet *$",
        "fresh": r"in 3 days +none yet *$",
    }.items():
        assert re.search(f"{name} +{cells}", row(text, name)), row(text, name)


def test_what_lingers_is_a_sentence() -> None:
    """Of which release it is, and since when; several jobs of one process are told together."""
    one = Lingering(process="worker", release="v41", since=NOW - 12)
    assert "lingers  worker of v41 still finishes its job, since 12 s\n" in shown(
        show_status, [status(unit("web"), lingering=(one,))]
    )
    two = (one, structs.replace(one, since=NOW - 70), Lingering(process="clear", release="v40"))
    text = shown(show_status, [status(unit("web"), lingering=two)])
    assert "worker of v41 still finishes 2 jobs, the first since 1 min 10 s\n" in text
    assert "clear of v40 still finishes its job\n" in text


def test_a_host_without_web_runs_and_serves_nothing() -> None:
    """It is healthy when all is up."""
    text = shown(show_status, [status(unit("worker"), standby="v41")])
    assert "● current  v42 runs" in text
    assert "health   healthy: all up" in text
    assert "not healthy: worker is down" in shown(
        show_status, [status(structs.replace(DOWN, name="shop-worker@v42.service"))]
    )


def test_a_bad_answer_and_a_process_that_is_down_are_both_told() -> None:
    """None hides the other."""
    text = shown(show_status, [status(unit("web"), DOWN, unit("worker"), healthy=False, health="GET / answered 500")])
    assert "not healthy: GET / answered 500; worker: 1 of 2 down" in text


def test_a_web_process_is_judged_by_its_answer() -> None:
    """Whatever systemd calls its state at this moment."""
    text = shown(show_status, [status(unit("web", active="reloading", ok=False))])
    assert "health   healthy: 200 in 5 ms" in text


def test_what_a_host_says_cannot_touch_the_terminal() -> None:
    """Names and results come from it: escape sequences in them are removed."""
    evil = "x\x1b[2J\n"
    text = shown(
        show_status,
        [
            status(
                unit("web", sub=evil),
                UnitRow(process=evil, name=evil, active=evil, ok=False),
                timers=(TimerRow(process=evil, result=evil, ok=True), TimerRow(process=evil, ok=False)),
                lingering=(Lingering(process=evil, release=evil),),
            )
        ],
    )
    assert "\x1b" not in text


def test_the_status_is_one_json_object_with_all_of_it() -> None:
    """The keys are those of the reference."""
    lingering = (Lingering(process="worker", release="v41", name="u", since=4.0),)
    told = json.loads(shown(show_status, [status(unit("web"), timers=TIMERS[:1], lingering=lingering)], json=True))
    assert told["units"][0] == {
        "process": "web", "name": "shop-web@v42.service", "active": "active", "sub": "running", "pid": 7,
        "restarts": 0, "memory_bytes": 60 << 20, "since": NOW - 4000, "ok": True,
    }  # fmt: skip
    assert set(told["timers"][0]) == {"process", "name", "ok", "next", "last", "running", "result"}
    assert told["lingering"] == [{"process": "worker", "release": "v41", "name": "u", "since": 4.0}]


# A fleet


def host(number: int, *units: UnitRow, **more: Any) -> Status:
    return status(*(units or (unit("web"),)), host=f"deploy@web{number:02}.example.com", **more)


WORKERS = (unit("worker"), unit("worker", 2), unit("beat"))


def test_fifty_hosts_are_a_line_each_in_a_hundred_columns(drawn: Callable[..., str]) -> None:
    """What each runs is told where they differ, and its health stays readable beside it."""
    hosts = [host(number, *(WORKERS if number % 5 == 0 else ()), since=NOW - 4000) for number in range(50)]
    lines = ANSI.sub("", drawn(show_status, hosts)).splitlines()
    assert all(len(line) <= 100 for line in lines)
    rows = [line for line in lines if line.startswith(" web")]
    assert len(rows) == 50
    assert re.search(r"^ web00\.example\.com +● v42 +1 h ago +worker x2, beat +✓ all up +0 +180 MiB", rows[0])
    assert re.search(r"^ web01\.example\.com +● v42 +1 h ago +web +✓ 200 in 5 ms +0 +60 MiB", rows[1])
    top = lines.index(next(line for line in lines if line.startswith(" host")))
    assert [line for line in lines[top + 2 : top + 52] if not line.startswith(" web")] == []


def test_hosts_that_all_have_web_alone_are_not_told_so() -> None:
    """The column is for fleets in which there is something to tell; a host with nothing yet is no other role."""
    plain = shown(show_status, [host(1), host(2), structs.replace(host(3), current=None, units=(), healthy=None)])
    assert "runs" not in plain.splitlines()[2]
    alike = shown(show_status, [host(1, unit("web"), unit("worker")), host(2, unit("web"), unit("worker"))])
    assert alike.count("web, worker") == 2


def test_what_a_host_runs_is_cut_to_what_fits(drawn: Callable[..., str]) -> None:
    """The first ones are named, the rest is counted."""
    many = host(1, unit("web"), *(unit(name) for name in ("worker", "beat", "mailer", "importer")), timers=TIMERS)
    text = ANSI.sub("", drawn(show_status, [many, host(2)]))
    assert "web, worker, beat +3" in row(text, "web01.example.com")
    wide = shown(show_status, [host(1, *WORKERS, timers=TIMERS[:1]), host(2)])
    assert "worker x2, beat, 1 timer " in wide


def test_a_process_that_is_down_makes_its_host_red(drawn: Callable[..., str]) -> None:
    """Its name stands where the health does, and a line below says what systemd calls it."""
    hosts = [
        host(1, unit("web"), unit("worker"), DOWN),
        host(2, unit("worker", ok=False, active="failed", sub="failed")),
    ]
    text = drawn(show_status, hosts)
    assert "\x1b[1;31m✗ worker: 1 of 2 down" in text
    assert "\x1b[1;31m✗ worker is down" in text
    plain = ANSI.sub("", text)
    assert re.search(r"✗ worker: 1 of 2 down +7 +120 MiB", plain), "sums are over all units"
    assert "web01.example.com: shop-worker.2@v42.service is activating (auto-restart)" in plain
    assert "web02.example.com: shop-worker@v42.service is failed\n" in plain


def test_timers_in_trouble_are_named_below_the_table() -> None:
    """They say nothing of the host's health."""
    text = shown(show_status, [host(1, timers=TIMERS), host(2)])
    assert "✓ 200 in 5 ms" in row(text, "web01.example.com")
    assert "web01.example.com: the last run of digest failed, 5 min ago (exit-code)\n" in text
    assert "web01.example.com: the timer cleanup is stopped\n" in text


def test_what_lingers_on_many_hosts_is_told_once() -> None:
    """A handover of fifty hosts is not fifty lines."""
    left = (Lingering(process="worker", release="v41", since=NOW - 12),)
    text = shown(show_status, [host(number, lingering=left) for number in range(9)])
    (line,) = (line for line in text.splitlines() if "still" in line)
    assert line == (
        "  web00.example.com, web01.example.com, web02.example.com and 6 more: "
        "worker of v41 still finishes 9 jobs, the first since 12 s"
    )


# The plan


WEB = PlannedProcess(process="web", runs="gunicorn shop.wsgi:application", count=4)
WORKER = PlannedProcess(process="worker", runs="celery -A shop worker", count=2, change="new")
CLEAR = PlannedTimer(process="clear", runs="python manage.py clear", calendar="daily", next=NOW + 60000)


def plan(name: str, *processes: PlannedProcess, **more: Any) -> Plan:
    usual = {"current": "v9", "release": "v10", "commit": "a1b2c3d4e5", "ref": "main"}
    return Plan(**{"app": "shop", **usual, **more, "host": name, "processes": processes})


def test_the_plan_of_one_host() -> None:
    """Which release it would be, each process, each timer with its next run, and what would go."""
    one = plan("deploy@web1", WEB, WORKER, timers=(CLEAR,), gone=("mailer", "digest"), dirty=True)
    text = shown(show_plan, [one])
    assert text.splitlines()[:2] == [
        "shop → deploy@web1",
        "  v9 serves; a deploy makes v10 of main a1b2c3d + local changes",
    ]
    assert re.search(r"web +4 workers +gunicorn shop\.wsgi:application *$", row(text, "web"))
    assert re.search(r"worker +2 +celery -A shop worker +new", row(text, "worker"))
    assert re.search(r"clear +daily +in 16 h +python manage\.py clear", row(text, "clear"))
    assert "  – mailer, digest: would not run any more\n" in text


def test_the_plan_of_a_host_without_web() -> None:
    """There is no row for what does not run there, and no table without rows."""
    text = shown(show_plan, [plan("jobs1", WORKER, current=None)])
    assert "nothing serves; a deploy makes v10" in text
    assert "web" not in text and "timer" not in text


def test_hosts_that_would_run_the_same_are_one_group() -> None:
    """A group is named, and its timers run next when they do so on the first of its hosts."""
    later = replace(CLEAR, next=NOW + 7200)
    plans = [
        *(plan(f"deploy@web{number}", WEB) for number in range(12)),
        plan("deploy@jobs1", WORKER, timers=(CLEAR,)),
        plan("deploy@jobs2", WORKER, timers=(later,), busy="a deploy by ada runs"),
    ]
    text = shown(show_plan, plans, [HostEnd(host="deploy@web12", result="unreachable", detail="no route")])
    assert text.splitlines()[0] == "shop → 15 hosts"
    assert "  web0, web1, web2, web3, web4, web5, web6, web7 and 4 more  12 hosts\n" in text
    assert "  jobs1, jobs2  2 hosts\n" in text
    assert len(re.findall(r"^ +web +4 workers", text, re.MULTILINE)) == 1
    assert "in 2 h" in row(text, "clear")
    assert "jobs2: a deploy by ada runs" in text
    assert "✗ web12: no route" in text


def test_what_visitors_would_find_wrong_is_told_once() -> None:
    """Hosts of one project have the same settings."""
    note = "shop.settings: DEBUG is on\x1b[2J"
    text = shown(show_plan, [plan("a", WEB, notes=(note,)), plan("b", WORKER, notes=(note,))])
    assert text.count("  ! shop.settings: DEBUG is on\n") == 1


def test_hosts_that_serve_different_releases_are_counted() -> None:
    """What serves now is told with on how many of them."""
    text = shown(show_plan, [plan("a", WEB), plan("b", WEB), plan("c", WEB, current="v8")])
    assert "v9 serves on 2 hosts, v8 serves on 1 host; a deploy makes v10" in text


def test_a_calendar_that_is_none_is_told_with_its_key() -> None:
    """What systemd says of it stands below the table; one that never comes again is said so."""
    bad = replace(CLEAR, process="bad", calendar="nope", next=0.0, problem="Failed to parse\x1b[2J")
    over = replace(CLEAR, process="over", calendar="2000-01-01", next=0.0)
    text = shown(show_plan, [plan("web1", WEB, timers=(bad, over))])
    assert "?" in row(text, "bad").split()
    assert "never" in row(text, "over")
    assert "  ✗ timers.bad.calendar: Failed to parse\n" in text


def test_plans_are_one_object_for_machines() -> None:
    """One host is an object, several are a list in one, those without an answer too."""
    told = json.loads(shown(show_plan, [plan("web1", WEB, timers=(CLEAR,))], json=True))
    assert (told["release"], told["processes"][0]["count"], told["timers"][0]["next"]) == ("v10", 4, NOW + 60000)
    gone = HostEnd(host="web2", result="unreachable", exit=3)
    told = json.loads(shown(show_plan, [plan("web1", WEB)], [gone], json=True))
    assert [one["host"] for one in told["hosts"]] == ["web1", "web2"]


def test_how_soon_is_rounded_as_people_say_it() -> None:
    """As ages are; what is due is now."""
    soon = (0, NOW - 5, NOW + 0.5, NOW + 12, NOW + 180, NOW + 90000, NOW + 500000)
    assert [ahead(at, NOW) for at in soon] == ["", "now", "now", "in 12 s", "in 3 min", "in 25 h", "in 5 days"]

"""The units of processes and timers, as text; and the names that they have."""

from __future__ import annotations

import pytest

from deployer.host.state.paths import AppPaths, UnitName, parse_unit, unit_name
from deployer.host.units.confinement import LINES
from deployer.host.units.text import Capabilities, command, process_unit, run_unit, timer_unit
from deployer.wire.release.processes import Process, Timer

PATHS = AppPaths("shop")
CAN = Capabilities(programs={"sleep": "/usr/bin/sleep"})
OLDER = ["shop-worker@v41.service", "shop-worker.2@v41.service"]


def process(**changes: object) -> Process:
    values: dict[str, object] = {
        "name": "worker", "command": ("celery", "-A", "shop", "worker"), "count": 2, "stop": 60.0, "overlap": True,
        "check": "", "unit": (),
    }  # fmt: skip
    return Process(**{**values, **changes})  # type: ignore[arg-type]


def timer(**changes: object) -> Timer:
    values: dict[str, object] = {
        "name": "tidy", "command": ("python", "manage.py", "clearsessions"), "calendar": "daily", "persistent": True,
        "timeout": 0.0, "unit": (),
    }  # fmt: skip
    return Timer(**{**values, **changes})  # type: ignore[arg-type]


def lines(text: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def test_a_process_is_kept_running_and_has_time_to_stop() -> None:
    """It runs the release's own program in the release's own code, and is started again whatever way it ends."""
    text = process_unit(process(), "worker.2", PATHS, 42, CAN)
    assert lines(text, "ExecStart") == ["/srv/shop/releases/v42/venv/bin/celery -A shop worker"]
    assert lines(text, "WorkingDirectory") == ["/srv/shop/releases/v42/code"]
    assert lines(text, "Restart") == ["always"]
    assert lines(text, "TimeoutStopSec") == ["60"]
    assert lines(text, "SyslogIdentifier") == ["shop-worker"]
    assert "DEPLOYER_PROCESS=worker.2" in lines(text, "Environment")


def test_a_process_that_may_have_no_time_at_all_is_not_given_for_ever() -> None:
    """``TimeoutStopSec=0`` would mean that systemd waits without end (systemd.service(5))."""
    assert lines(process_unit(process(stop=0.0), "worker", PATHS, 42, CAN), "TimeoutStopSec") == ["1"]


def test_only_what_must_not_overlap_waits_for_its_forerunners() -> None:
    """systemd starts a unit that is ordered after one that stops when that has stopped."""
    beside = process_unit(process(), "worker", PATHS, 42, CAN, OLDER)
    after = process_unit(process(overlap=False), "worker", PATHS, 42, CAN, OLDER)
    assert lines(beside, "After") == ["network.target"]
    assert lines(after, "After") == ["network.target shop-worker@v41.service shop-worker.2@v41.service"]


def test_a_timer_runs_on_time_and_makes_up_for_what_it_missed() -> None:
    """It starts its own release's run; systemd would put it off by up to a minute."""
    text = timer_unit(timer(), PATHS, 42)
    assert lines(text, "OnCalendar") == ["daily"]
    assert lines(text, "AccuracySec") == ["1s"]
    assert lines(text, "Persistent") == ["yes"]
    assert lines(text, "Unit") == ["shop-tidy@v42.service"]
    assert lines(timer_unit(timer(persistent=False), PATHS, 42), "Persistent") == ["no"]


def test_a_run_ends_by_itself_and_waits_for_an_older_one() -> None:
    """It is no service that stays, may take as long as it likes unless told otherwise, and never runs twice at once."""
    text = run_unit(timer(), PATHS, 42, CAN, ["shop-tidy@v41.service"])
    assert lines(text, "Type") == ["oneshot"]
    assert lines(text, "TimeoutStartSec") == ["infinity"]
    assert lines(text, "Restart") == []
    assert lines(text, "After") == ["network.target shop-tidy@v41.service"]
    assert lines(run_unit(timer(timeout=90.0), PATHS, 42, CAN), "TimeoutStartSec") == ["90"]


@pytest.mark.parametrize("kind", ["process", "run"])
def test_what_takes_no_requests_is_confined_as_well(kind: str) -> None:
    """Every line of the hardening is there; a table of its own relaxes it for this one alone."""
    relaxed = (("MemoryDenyWriteExecute", ("no",)),)
    if kind == "process":
        plain = process_unit(process(), "worker", PATHS, 1, CAN)
        changed = process_unit(process(unit=relaxed), "worker", PATHS, 1, CAN)
    else:
        plain, changed = run_unit(timer(), PATHS, 1, CAN), run_unit(timer(unit=relaxed), PATHS, 1, CAN)
    assert all(f"{name}={value}\n" in plain for name, value in LINES)
    assert lines(changed, "MemoryDenyWriteExecute") == ["no"]
    assert lines(changed, "User") == ["shop"]


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ("celery", "/srv/shop/releases/v42/venv/bin/celery"),
        ("sleep", "/usr/bin/sleep"),
        ("/opt/tool", "/opt/tool"),
        ("bin/work", "/srv/shop/releases/v42/code/bin/work"),
    ],
)
def test_where_a_program_is_looked_for(program: str, path: str) -> None:
    """In the environment; on the host if it is not there; in the code, when its name has a slash."""
    assert command((program, "-v"), PATHS, 42, CAN) == [path, "-v"]


@pytest.mark.parametrize("process_", ["web", "worker", "worker.2", "a_b1"])
@pytest.mark.parametrize("kind", ["service", "socket", "timer"])
def test_the_name_of_a_unit_can_be_taken_apart(process_: str, kind: str) -> None:
    """What is found on the host is told by its name."""
    assert parse_unit("shop", unit_name("shop", process_, 42, kind)) == UnitName(process_, 42, kind)


@pytest.mark.parametrize(
    "name",
    [
        "shop-web-a@v1.service", "shop.service", "shop-web@v0.service", "shop-web@v1.path", "ashop-web@v1.service",
        "shop-web@v1.service\n", ".shop-web@v1.service", "shop-Web@v1.service", "shop-web.@v1.service", "",
    ],
)  # fmt: skip
def test_what_is_no_unit_of_the_app_is_left_alone(name: str) -> None:
    """Another app's units begin with the same letters: they are never stopped, nor removed."""
    assert parse_unit("shop", name) is None

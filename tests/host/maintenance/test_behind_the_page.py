"""What is done to an app in maintenance: it stays so, whatever is released or dies, until somebody ends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from deployer.host.maintenance import switch, units
from deployer.host.recovery import survey
from deployer.host.state.operator import maintenance
from deployer.host.system import files
from deployer.wire.maintenance import MaintenanceRequest
from tests.host.simulation import rules, service
from tests.host.simulation.faults import Kill, PowerCut
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.laptop import TIMER, WORKER, line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


@pytest.fixture
def host(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> SimulatedHost:
    """v2 serves, with a worker and a timer, and v1 did before it. The page itself is left out."""
    for name in ("provide", "remove"):
        monkeypatch.setattr(units, name, lambda _: None)
    monkeypatch.setattr(units, "is_up", lambda _: True)
    monkeypatch.setattr(switch, "_prove", lambda _: None)
    host.settings = {"processes": [WORKER], "timers": [TIMER]}
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    host.recover()
    return host


def begin(host: SimulatedHost, **terms: Any) -> Outcome:
    asked = {"op": "maintenance.on", "by": "ada", **MaintenanceRequest(**terms).as_json()}
    return host.session(line(asked))


def end(host: SimulatedHost) -> dict[str, Any]:
    (answer,) = host.session(line({"op": "maintenance.off"})).events
    return answer


def leads_to(host: SimulatedHost) -> str:
    return str(host.paths.current.readlink())


def runs(host: SimulatedHost, number: int) -> list[bool]:
    """Whether the worker and the timer of a release run."""
    found = (host.table.known(f"shop-{name}") for name in (f"worker@v{number}.service", f"tick@v{number}.timer"))
    return [unit is not None and unit.active == "active" for unit in found]


def is_well(host: SimulatedHost) -> None:
    host.recover()
    assert host.broken == []


def test_all_of_the_release_is_behind_the_link_but_for_its_socket(host: SimulatedHost) -> None:
    """Each part leads to the release's own; its socket to the page's, that of a check to its own."""
    (answer,) = begin(host).events
    assert (answer["release"], answer["web"], answer["changed"], answer["finishing"]) == ("v2", True, False, [])
    assert leads_to(host) == "releases/v2/maintenance"
    own, seen = host.paths.release(2), host.paths.current
    for part in ("code", "venv", "env", "release.json"):
        assert os.path.realpath(seen / part) == os.path.realpath(own / part)
    assert os.path.realpath(seen / "run/web.sock") == str(host.paths.maintenance_socket)
    assert os.path.realpath(seen / "run/probe.sock") == str(own / "run/probe.sock")
    assert begin(host).events[0]["changed"] is True
    assert end(host)["was_on"] is True and leads_to(host) == "releases/v2"
    assert end(host)["was_on"] is False and not host.paths.maintenance.exists()


RELEASES: dict[str, tuple[Callable[[SimulatedHost], Outcome], int, int]] = {
    "deploy": (lambda host: host.deploy(text="three"), 0, 3),
    "reload": (lambda host: host.reload(), 0, 3),
    "rollback": (lambda host: host.rollback(), 0, 3),
    "refused": (lambda host: host.deploy(service.BROKEN, text="three"), 5, 2),
    "taken back": (lambda host: host.deploy(service.DIES_LATER, text="three"), 6, 2),
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_behind_the_page_keeps_it(host: SimulatedHost, name: str) -> None:
    """Whatever becomes of the release, visitors go on getting the page, and off shows them what serves."""
    command, exit, serves = RELEASES[name]
    begin(host)
    outcome = command(host)
    assert outcome.exit == exit, outcome
    assert leads_to(host) == f"releases/v{serves}/maintenance"
    notes = [event["text"] for event in outcome.events if event["event"] == "note"]
    assert any("fab maintenance off" in text for text in notes) == (name != "refused")
    is_well(host)
    assert end(host)["release"] == f"v{serves}" and leads_to(host) == f"releases/v{serves}"
    assert list(rules.in_the_end(host)) == []


@pytest.mark.parametrize("fault", [Kill, PowerCut])
def test_a_deploy_that_dies_anywhere_around_its_switch_keeps_the_page(host: SimulatedHost, fault: Any) -> None:
    """What the host makes of it afterwards is behind the page as well; and no worker starts that was stopped."""
    begin(host, stop_workers=True)
    with host.suffering():
        assert host.reload().exit == 0
        switches = [one.number for one in host.programs.trace if "current" in " ".join(one.words)]
    for moment in range(switches[0] - 3, switches[0] + 6):
        with host.suffering(fault(moment)):
            host.reload()
        is_well(host)
        serves = host.web.current()
        assert leads_to(host) == f"releases/v{serves}/maintenance" and runs(host, serves) == [False, False]
    end(host)
    host.recover()
    assert list(rules.in_the_end(host)) == []


def test_what_is_stopped_stays_stopped_until_off(host: SimulatedHost) -> None:
    """No deploy, boot, restart, other page, recovery or watch starts it, or takes it for a failure."""
    begin(host, stop_workers=True)
    assert runs(host, 2) == [False, False]
    assert host.deploy(text="three").exit == 0
    assert runs(host, 2) == runs(host, 3) == [False, False]
    begin(host, page="<p>another")
    host.power_on()
    host.systemctl("restart", "shop.service")
    host.recover()
    host.doctor_fix()
    assert runs(host, 3) == [False, False] and host.web.current() == 3
    ctx = host.context(lambda *_, **__: None)
    assert not survey.inspect(ctx).down
    (told,) = host.status().events
    assert told["status"]["maintenance"]["workers_stopped"] and all(unit["ok"] for unit in told["status"]["units"])
    assert [timer["ok"] for timer in told["status"]["timers"]] == [True]
    assert end(host)["started"] is True
    host.wait(5)
    assert runs(host, 3) == [True, True]
    is_well(host)
    assert list(rules.in_the_end(host)) == []


def test_off_starts_nothing_that_an_admin_has_stopped(host: SimulatedHost) -> None:
    """The app was stopped by systemctl meanwhile: it stays so."""
    begin(host, stop_workers=True)
    host.systemctl("stop", "shop.service")
    end(host)
    assert runs(host, 2) == [False, False]
    host.systemctl("start", "shop.service")
    host.wait(5)
    assert runs(host, 2) == [True, True]


def test_terms_that_cannot_be_read_are_those_of_a_bare_on(host: SimulatedHost) -> None:
    """The link decides: nobody reaches the app because a file is damaged, and off still works."""
    begin(host, allow=("10.0.0.0/8",), retry_after=60)
    assert json.loads(host.paths.maintenance.read_text())["allow"] == ["10.0.0.0/8"]
    files.write_file(host.paths.maintenance, b'{"allow": 1}')
    assert maintenance.find(host.paths) == maintenance.Maintenance()
    assert begin(host).exit is None and leads_to(host) == "releases/v2/maintenance"
    assert end(host)["was_on"] is True and leads_to(host) == "releases/v2"


def test_two_who_point_the_link_wait_for_each_other(host: SimulatedHost) -> None:
    """Else the later one would undo what the other has just done: it waits, and then gives up untouched."""
    ctx = host.context(lambda *_, **__: None)
    with files.alone(host.paths.releases):
        for point in (lambda: ctx.catalog.point(1), lambda: ctx.catalog.set_maintenance(on=True)):
            with pytest.raises(TimeoutError, match="locked by another"):
                point()
    assert leads_to(host) == "releases/v2"

"""All hosts of a fleet or none: what fails on one host, before the switch or after it, changes nothing on any."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.verdict import all_back, all_done, none_switched
from tests.support.site import wait_until
from tests.support.terminal import Terminal

pytestmark = pytest.mark.acceptance


def test_all_hosts_switch_together(fleet: FleetBed) -> None:
    """No host switches before every host is ready to; under load, without one failed request."""
    with fleet.under_load():
        ended = fleet.deploy()
    all_done(fleet, ended)
    ready = [ended.at("ready", name, phase="switch") for name in fleet.names]
    assert max(ready) < min(ended.at("switched", name) for name in fleet.names)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("unhealthy", "cannot reach the database"), ("dies-at-start", "no licence for this host"), ("no-build", "")],
)
def test_a_candidate_that_fails_on_one_host(fleet: FleetBed, kind: str, says: str) -> None:
    """None switches, every candidate goes, its host's last words are shown, and the next deploy gets through."""
    bad, before = fleet.names[2], fleet.serving
    fleet.change(timeout=8)
    fleet[bad].break_app(kind)
    with fleet.under_load():
        ended = fleet.deploy(expect=5)
        none_switched(fleet, ended, before, bad, result="failed")
        fleet.comes_to_rest()
        assert says in "\n".join(ended.hosts[bad]["logs"])
        fleet[bad].mend()
        all_done(fleet, fleet.deploy())


def test_a_disk_that_is_full_on_one_host(fleet: FleetBed) -> None:
    """What has room on the other hosts is deployed to none."""
    bad, before = fleet.small, fleet.serving
    fleet.change(build=["head -c 8000000 /dev/zero > zeros"])
    fleet[bad].fill_disk(leave=4)
    with fleet.under_load():
        ended = fleet.deploy(expect=5)
    none_switched(fleet, ended, before, bad, result="failed")
    assert "the disk is full" in ended.hosts[bad]["detail"]
    fleet.comes_to_rest()


def test_a_migration_runs_once_for_all_hosts(fleet: FleetBed) -> None:
    """On one host, whatever the order in which they are named; when it runs, every host has started its candidate."""
    ran = []
    for names in (fleet.names, fleet.names[::-1]):
        fleet.change(migrate=True)
        ended = fleet.deploy(hosts=names)
        where = ended.named("phase.done", phase="migrate")
        assert len(where) == 1
        began = ended.at("phase.started", where[0], phase="migrate")
        assert all(ended.at("phase.done", name, phase="start") < began for name in names)
        ran += where
    assert ran[0] == ran[1]
    noted = {name: len(member.migrations()) for name, member in fleet.members.items()}
    assert noted == {name: 2 if name == ran[0] else 0 for name in fleet.names}
    fleet.change(migrate=True)
    all_done(fleet, fleet.deploy("--no-migrate"))
    assert len(fleet[ran[0]].migrations()) == 2


def test_a_migration_that_fails(fleet: FleetBed) -> None:
    """None switches, and it has run on exactly one host."""
    before = fleet.serving
    fleet.change(migrate=True)
    for member in fleet.members.values():
        member.break_app("no-migration")
    with fleet.under_load():
        ended = fleet.deploy(expect=5)
    (bad,) = ended.named("phase.failed", phase="migrate")
    none_switched(fleet, ended, before, bad, result="failed")
    assert [name for name, member in fleet.members.items() if member.migrations()] == [bad]
    assert len(fleet[bad].migrations()) == 1
    assert 'relation "orders" does not exist' in "\n".join(ended.hosts[bad]["logs"])
    fleet.comes_to_rest()


@pytest.mark.parametrize("kind", ["sick-in-service", "dies-in-service"])
def test_a_release_that_fails_in_service_on_one_host(fleet: FleetBed, kind: str) -> None:
    """All roll back; one that only says that it is unwell costs no request, one that dies costs those of its host."""
    bad, before = fleet.names[-1], fleet.serving
    fleet.change(watch=3)
    fleet[bad].break_app(kind)
    with fleet.under_load(but=[bad] if kind == "dies-in-service" else []):
        ended = fleet.deploy(expect=6)
        all_back(fleet, ended, before, bad, switched=fleet.names)
        fleet.comes_to_rest()


def test_a_host_that_has_missed_releases_catches_up(fleet: FleetBed) -> None:
    """One number everywhere: the host that is two behind skips those that it has missed."""
    late, others = fleet.names[1], [name for name in fleet.names if name != fleet.names[1]]
    for _ in range(2):
        fleet.change()
        fleet.deploy(hosts=others)
    assert len(set(fleet.serving.values())) == 2
    number = int(fleet.serving[others[0]][1:])
    fleet.change()
    with fleet.under_load():
        ended = fleet.deploy()
    assert all_done(fleet, ended) == f"v{number + 1}"
    assert f"v{number}" not in fleet[late].survey().records


def test_a_failed_attempt_uses_up_its_number_everywhere(fleet: FleetBed) -> None:
    """What is called v7 on one host is never something else on another, though some did not get far."""
    fleet.change(timeout=8)
    fleet[fleet.names[0]].break_app("no-build")
    failed = fleet.deploy(expect=5).fleet["release"]
    fleet[fleet.names[0]].mend()
    fleet.change()
    release = all_done(fleet, fleet.deploy())
    assert int(release[1:]) > int(failed[1:])


def test_reload_and_rollback_are_all_or_none_too(fleet: FleetBed) -> None:
    """Today's settings everywhere, and back; and a reload that fails on one host changes nothing on any."""
    first = fleet.serving
    fleet.change(mark="blue")
    with fleet.under_load():
        reloaded = fleet.expect(0, "reload", "--json")
        assert {member.get()["mark"] for member in fleet.members.values()} == {"blue"}
        back = fleet.expect(0, "rollback", "--json", "--yes")
        assert {member.get()["mark"] for member in fleet.members.values()} == {"0"}
        assert len({reloaded.fleet["release"], back.fleet["release"], *first.values()}) == 3
        assert set(fleet.serving.values()) == {back.fleet["release"]}
        fleet.change(mark="red", timeout=8)
        fleet[fleet.names[-1]].break_app("dies-at-start", fleet.versions[fleet.names[-1]])
        ended = fleet.expect(5, "reload", "--json")
        none_switched(fleet, ended, dict.fromkeys(fleet.names, back.fleet["release"]), fleet.names[-1], result="failed")


def test_two_laptops_at_once(fleet: FleetBed) -> None:
    """One wins on all hosts; the other is sent away from all of them, and told who deploys; in whatever order."""
    with fleet.under_load(), ExitStack() as stack:
        commands = [
            stack.enter_context(fleet.running("deploy", "--json", hosts=names))
            for names in (fleet.names, fleet.names[::-1])
        ]
        ended = [command.end() for command in commands]
    assert sorted(one.exit for one in ended) == [0, 4], [one.text for one in ended]
    winner, other = sorted(ended, key=lambda one: one.exit)
    assert set(fleet.serving.values()) == {winner.fleet["release"]}
    assert other.named("switched") == [] and other.named("phase.started", phase="install") == []
    fleet.comes_to_rest()


def test_laptops_that_wait_for_each_other(fleet: FleetBed) -> None:
    """With --wait one comes after the other, on all hosts in the same order; neither waits for ever."""
    with fleet.under_load(), ExitStack() as stack:
        commands = [
            stack.enter_context(fleet.running("deploy", "--json", "--wait", hosts=names))
            for names in (fleet.names, fleet.names[::-1], fleet.names)
        ]
        ended = [command.end() for command in commands]
    assert [one.exit for one in ended] == [0, 0, 0], [one.text for one in ended]
    numbers = sorted(int(one.fleet["release"][1:]) for one in ended)
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert set(fleet.serving.values()) == {f"v{numbers[-1]}"}
    fleet.comes_to_rest()


def test_a_host_that_is_busy_with_a_deploy_of_its_own(fleet: FleetBed) -> None:
    """Exit 4 for all, the busy host is named, and no other host is touched; its own deploy ends well."""
    busy, others = fleet.names[-1], [name for name in fleet.names if name != fleet.names[-1]]
    before = fleet.serving
    fleet[busy].faults.boundary("phase.started build", "pause")
    with fleet.running("deploy", "--json", hosts=[busy]) as first:
        fleet[busy].faults.wait_until_reached()
        ended = fleet.deploy(expect=4)
        assert ended.results[busy] == "busy"
        assert {ended.results[name] for name in others} <= {"untouched", "discarded"}
        fleet[busy].faults.go_on()
        assert first.end().exit == 0
    assert {name: fleet.serving[name] for name in others} == {name: before[name] for name in others}
    fleet.comes_to_rest()


@pytest.mark.parametrize(("phase", "exit"), [("build", 5), ("watch", 6)])
def test_a_fleet_that_is_aborted_at_the_keyboard(fleet: FleetBed, phase: str, exit: int) -> None:
    """Ctrl-C, then a: before the switch every candidate is discarded, after it every host goes back."""
    before = fleet.serving
    fleet.change(watch=60)
    slow = fleet[fleet.names[1]].faults
    slow.boundary("phase.started build" if phase == "build" else "phase.started watch", "pause")
    with fleet.under_load():
        terminal = Terminal(fleet.argv("deploy"), fleet.project.path)
        terminal.read_until(slow.was_reached)
        if phase == "watch":
            terminal.read_until(lambda: not set(fleet.serving.values()) & set(before.values()))
        terminal.type("\x03")
        terminal.wait_for(b"Stop watching, abort, or keep following?")
        terminal.type("a\n")
        slow.go_on()
        assert terminal.end() == exit, terminal.text
        assert fleet.serving == before
        fleet.comes_to_rest()
    assert "Traceback" not in terminal.text


def test_a_fleet_that_is_aborted_by_another_laptop(fleet: FleetBed) -> None:
    """``fab abort`` for the hosts ends the deploy that stands there, and it says by whom."""
    before = fleet.serving
    slow = fleet[fleet.names[2]]
    slow.faults.boundary("phase.started build", "pause")
    with fleet.under_load(), fleet.running("deploy", "--json") as command:
        command.until("phase.started", host=slow.name, phase="build")
        slow.faults.wait_until_reached()
        with fleet.running("abort", "--json") as abort:
            wait_until(lambda: slow.job != "active", "the job that stands still is told to end")
            slow.faults.go_on()
            assert abort.end().exit == 0
        ended = command.end()
        assert ended.exit == 5, ended.text
        assert fleet.serving == before
        fleet.comes_to_rest()
    assert "aborted by " in ended.text

"""Hosts that hang or vanish, and laptops that do, at every stage of a fleet's deploy: nothing is left half done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Command, FleetBed
from tests.support.fleet.accident import behind_proxy, frozen
from tests.support.fleet.verdict import all_done, none_switched
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance
LEASE = 6.0
"""Seconds, in place of a minute: longer than the laptop is silent while all is well."""
CONNECT = ("-t", "5")


@contextlib.contextmanager
def all_but_one_ready(fleet: FleetBed, slow: str, *, lease: float = 0) -> Iterator[Command]:
    """A deploy of which ``slow`` still stands before its check, by order; the others wait at the switch."""
    if lease:
        fleet.lease(lease)
    fleet[slow].faults.boundary("phase.started check", "pause")
    with fleet.running("deploy", "--json") as command:
        command.until("phase.started", host=slow, phase="check")
        fleet[slow].faults.wait_until_reached()
        command.until_all("ready", [name for name in fleet.names if name != slow], phase="switch")
        yield command


def goes_on(fleet: FleetBed) -> None:
    """The bed's next deploy just works, whatever there was: one release, everywhere."""
    fleet.change()
    all_done(fleet, fleet.deploy())


# A host


def test_a_host_that_is_off(fleet: FleetBed) -> None:
    """Exit 3, it is named, and no other host was touched."""
    off, before = fleet.names[1], fleet.serving
    fleet[off].host.pull_plug()
    ended = fleet.fab(*CONNECT, "deploy", "--json")
    assert ended.exit == 3, ended.text
    assert ended.results == {name: "unreachable" if name == off else "untouched" for name in fleet.names}
    assert off in ended.fleet["summary"] + ended.fleet["state"]
    fleet[off].host.boot()
    assert fleet.serving == before
    fleet.comes_to_rest()


def test_a_host_that_hangs_from_the_start(fleet: FleetBed) -> None:
    """Its sshd accepts and says nothing: exit 3 within the time limit, it is named, and no other host was touched."""
    hung, before = fleet.names[2], fleet.serving
    with fleet.under_load(), frozen(fleet[hung].host):
        ended = fleet.fab(*CONNECT, "deploy", "--json")
    assert ended.exit == 3, ended.text
    assert ended.results == {name: "unreachable" if name == hung else "untouched" for name in fleet.names}
    assert fleet.serving == before
    fleet.comes_to_rest()
    goes_on(fleet)


def test_a_host_that_hangs_between_prepare_and_switch(fleet: FleetBed) -> None:
    """The laptop notices by itself while others are not ready yet: none switches; the host discards by its lease."""
    slow, hung = fleet.names[0], fleet.names[-1]
    before = fleet.serving
    with fleet.under_load(), all_but_one_ready(fleet, slow, lease=LEASE) as command:
        with frozen(fleet[hung].host):
            command.until("finished", host=fleet.names[1], exit=5)
            fleet[slow].faults.go_on()
            ended = command.end()
            assert ended.exit == 5, ended.text
        none_switched(fleet, ended, before, hung, result="lost")
        fleet.comes_to_rest()
    goes_on(fleet)


def test_a_host_that_vanishes_between_prepare_and_switch(fleet: FleetBed) -> None:
    """None switches; when it is back, it serves the old release and holds nothing of the new one."""
    slow, gone = fleet.names[0], fleet.names[1]
    before = fleet.serving
    with fleet.under_load(but=[gone]), all_but_one_ready(fleet, slow) as command:
        fleet[gone].host.pull_plug()
        fleet[slow].faults.go_on()
        ended = command.end()
        fleet[gone].host.boot()
        none_switched(fleet, ended, before, gone, result="lost")
        fleet.comes_to_rest()
    goes_on(fleet)


def test_a_host_that_vanishes_between_switch_and_end_of_watch(fleet: FleetBed) -> None:
    """The others stay on the new release: exit 7 names the host; when it is back, it serves the new one, too."""
    gone = fleet.names[1]
    others = [name for name in fleet.names if name != gone]
    fleet.change(watch=4)
    with fleet.under_load(but=[gone]), fleet.running("deploy", "--json") as command:
        command.until_all("switched", fleet.names)
        fleet[gone].host.pull_plug()
        ended = command.end()
        assert ended.exit == 7, ended.text
        assert ended.results == {name: "lost" if name == gone else "done" for name in fleet.names}
        assert gone in ended.fleet["summary"] + ended.fleet["state"]
        fleet[gone].host.boot()
        wait_until(lambda: set(fleet.versions.values()) == {fleet.version}, "the new release serves everywhere")
    assert {ended.hosts[name]["serving"] for name in others} == set(fleet.serving.values())
    fleet.comes_to_rest()
    goes_on(fleet)


def test_a_network_that_is_cut_after_the_switch(fleet: FleetBed, tmp_path: Path) -> None:
    """The host judges by itself when no word comes, and stays; the others stay as well: exit 7 names it."""
    cut = fleet.names[1]
    fleet.lease(LEASE)
    fleet.change(watch=3)
    with behind_proxy(fleet[cut].host, tmp_path) as (proxy, config), fleet.under_load():
        with fleet.by_way_of(config), fleet.running("deploy", "--json") as command:
            command.until_all("switched", fleet.names)
            proxy.blackhole()
            ended = command.end()
        assert ended.exit == 7, ended.text
        assert ended.results == {name: "lost" if name == cut else "done" for name in fleet.names}
        fleet.comes_to_rest()
    assert set(fleet.versions.values()) == {fleet.version}
    goes_on(fleet)


def test_a_host_that_cannot_be_told_to_go_back(fleet: FleetBed) -> None:
    """Exit 7, what each host serves, and one command that repairs it: typed as it is printed, it does."""
    bad, hung = fleet.names[1], fleet.names[-1]
    before = fleet.serving
    fleet.lease(LEASE)
    fleet.change(watch=2)
    fleet[bad].break_app("sick-in-service")
    fleet[bad].faults.boundary("phase.started watch", "pause")
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            command.until_all("switched", fleet.names)
            with frozen(fleet[hung].host):
                fleet[bad].faults.go_on()
                ended = command.end()
        assert ended.exit == 7, ended.text
        back = {name: "failed" if name == bad else "rolled back" for name in fleet.names}
        assert ended.results == {**back, hung: "lost"}
        fleet.comes_to_rest()
        old = next(iter(before.values()))
        assert {name: fleet.serving[name] == old for name in fleet.names} == {
            name: name != hung for name in fleet.names
        }
        assert old in ended.fleet["state"] and hung in ended.fleet["state"]
        fleet[bad].mend()
        repaired = fleet.repeat(ended.fleet["next"])
        assert repaired.exit == 0, repaired.text
    assert len(set(fleet.serving.values())) == 1
    assert len(set(fleet.versions.values())) == 1
    fleet.comes_to_rest()


# A laptop


@pytest.mark.parametrize(("at", "others", "phase"), [("build", "phase.done", "start"), ("check", "ready", "switch")])
def test_a_laptop_that_dies_while_hosts_are_prepared(fleet: FleetBed, at: str, others: str, phase: str) -> None:
    """Every lease runs out: all candidates go, the old release serves everywhere, and no host has to be told so."""
    slow, before = fleet.names[0], fleet.serving
    fleet.lease(LEASE)
    fleet[slow].faults.boundary(f"phase.started {at}", "pause")
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            command.until("phase.started", host=slow, phase=at)
            fleet[slow].faults.wait_until_reached()
            command.until_all(others, [name for name in fleet.names if name != slow], phase=phase)
            command.kill()
        fleet[slow].faults.go_on()
        fleet.comes_to_rest()
        assert fleet.serving == before
    goes_on(fleet)


def test_a_laptop_that_dies_while_it_uploads(fleet: FleetBed) -> None:
    """Hosts that had not yet begun, and those that had: all come to rest on the old release."""
    before = fleet.serving
    fleet.lease(LEASE)
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            command.until("phase.started", phase="upload")
            command.kill()
        fleet.comes_to_rest()
        assert fleet.serving == before
    goes_on(fleet)


def test_a_laptop_that_dies_as_the_first_host_switches(fleet: FleetBed) -> None:
    """Every host is whole, on the old release or the new one; fab status tells which, and fab deploy repairs."""
    before = fleet.serving
    fleet.lease(LEASE)
    fleet.change(watch=2)
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            release = command.until("switched")["to"]
            command.kill()
        fleet.comes_to_rest()
        assert set(fleet.serving.values()) <= {release, *before.values()}
        goes_on(fleet)


def test_a_laptop_that_dies_when_one_host_has_not_heard(fleet: FleetBed, tmp_path: Path) -> None:
    """The others keep the new release, one discards it: fab status shows the skew, and the next deploy ends it.

    All have answered the last call. To the far one the word takes a second and a half, and never comes.
    """
    far, before = fleet.names[-1], fleet.serving
    near = [name for name in fleet.names if name != far]
    fleet.lease(2 * LEASE)
    with behind_proxy(fleet[far].host, tmp_path, rtt_ms=3000) as (proxy, config), fleet.under_load():
        with fleet.by_way_of(config), fleet.running("deploy", "--json") as command:
            command.until_all("switched", near)
            proxy.blackhole()
            command.kill()
        fleet.comes_to_rest()
        assert fleet.serving[far] == before[far]
        new = {fleet.serving[name] for name in near}
        assert len(new) == 1 and new != {before[far]}
        told = fleet.expect(0, "status").out
        assert before[far] in told and new.pop() in told
    goes_on(fleet)


def test_a_laptop_that_dies_while_hosts_are_watched(fleet: FleetBed) -> None:
    """Every host is judged by itself: the new release is healthy, and stays, everywhere."""
    fleet.lease(LEASE)
    fleet.change(watch=2)
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            command.until_all("switched", fleet.names)
            command.kill()
        fleet.comes_to_rest()
    assert set(fleet.versions.values()) == {fleet.version}
    assert len(set(fleet.serving.values())) == 1


def test_hosts_that_nobody_watches_take_back_what_is_sick(fleet: FleetBed) -> None:
    """The laptop dies after the switch, and one host's release fails: that host goes back by itself; status tells."""
    bad, before = fleet.names[2], fleet.serving
    fleet.lease(LEASE)
    fleet.change(watch=4)
    fleet[bad].break_app("sick-in-service")
    with fleet.under_load():
        with fleet.running("deploy", "--json") as command:
            command.until_all("switched", fleet.names)
            command.kill()
        fleet.comes_to_rest()
    assert [name for name in fleet.names if fleet.serving[name] == before[name]] == [bad]
    fleet[bad].mend()
    goes_on(fleet)

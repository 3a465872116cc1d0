"""Batches and canaries that fail, and a laptop that dies between two waves: no wave is left alone."""

from __future__ import annotations

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.verdict import all_back, all_done, one_after_the_other

pytestmark = pytest.mark.acceptance
LEASE = 6.0


def test_a_third_batch_that_is_bad(fleet: FleetBed) -> None:
    """The two batches before it go back as well."""
    bad, before = fleet.names[-1], fleet.serving
    fleet.change(watch=2)
    fleet[bad].break_app("sick-in-service")
    with fleet.under_load():
        ended = fleet.deploy("--batch", "1", expect=6)
        all_back(fleet, ended, before, bad, switched=fleet.names)
        fleet.comes_to_rest()


def test_a_first_batch_that_is_bad(fleet: FleetBed) -> None:
    """It goes back, and the others never switch."""
    bad, before = fleet.names[0], fleet.serving
    fleet.change(watch=2)
    fleet[bad].break_app("sick-in-service")
    with fleet.under_load():
        ended = fleet.deploy("--batch", "2", expect=6)
        all_back(fleet, ended, before, bad, switched=fleet.names[:2])
        fleet.comes_to_rest()


def test_what_was_found_good_may_stay(fleet: FleetBed) -> None:
    """With --keep-going the good batches keep the release: exit 7, and the command that is printed repairs it."""
    bad, before = fleet.names[-1], fleet.serving
    fleet.change(watch=2)
    fleet[bad].break_app("sick-in-service")
    with fleet.under_load():
        ended = fleet.deploy("--batch", "2", "--keep-going", expect=7)
        assert ended.results == {name: "failed" if name == bad else "done" for name in fleet.names}
        assert [name for name in fleet.names if fleet.serving[name] == before[name]] == [bad]
        fleet.comes_to_rest()
        fleet[bad].mend()
        repaired = fleet.repeat(ended.fleet["next"])
        assert repaired.exit == 0, repaired.text
    assert len(set(fleet.serving.values())) == 1
    fleet.comes_to_rest()


def test_a_canary_serves_before_the_others_follow(fleet: FleetBed) -> None:
    """The others switch when it has served well for as long as it was to bake."""
    fleet.change(watch=0.2)
    with fleet.under_load():
        ended = fleet.deploy("--canary", "1", "--bake", "3")
    all_done(fleet, ended)
    canary, *others = fleet.names
    one_after_the_other(ended, [[canary], others])
    baked = ended.at("ready", canary, phase="keep")
    assert min(ended.at("switched", name) for name in others) - baked >= 2.9


def test_a_canary_that_fails_while_it_bakes(fleet: FleetBed) -> None:
    """It goes back, and the others have never switched."""
    canary, before = fleet.names[0], fleet.serving
    fleet.change(watch=0.2)
    with fleet.under_load():
        with fleet.running("deploy", "--json", "--canary", "1", "--bake", "120") as command:
            release = command.until("ready", host=canary, phase="keep")["release"]
            fleet[canary].make_sick(release)
            ended = command.end()
        all_back(fleet, ended, before, canary, switched=[canary])
        fleet.comes_to_rest()


def test_a_laptop_that_dies_between_two_waves(fleet: FleetBed) -> None:
    """What has switched is healthy and stays, the rest discards itself; the next deploy ends the skew."""
    before = fleet.serving
    fleet.lease(LEASE)
    fleet.change(watch=0.2)
    with fleet.under_load():
        with fleet.running("deploy", "--json", "--canary", "2", "--bake", "120") as command:
            command.until_all("ready", fleet.names[:2], phase="keep")
            command.kill()
        fleet.comes_to_rest()
        assert [name for name in fleet.names if fleet.serving[name] == before[name]] == fleet.names[2:]
        fleet.change()
        all_done(fleet, fleet.deploy())

"""A release that is held before its switch: promoted alone or with a fleet, discarded, or left to its lease."""

from __future__ import annotations

import os
from typing import Any

import pytest

from deployer.wire.protocol import BEHIND_THE_SWITCH, LEASE, PHASES, SWITCH_BARRIERS
from tests.host.simulation import fleet, rules, service
from tests.host.simulation.faults import Kill
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.laptop import line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")

HELD = PHASES[: PHASES.index("switch")]


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    """v1 serves; v2 is held."""
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two", phases=HELD).exit == 0
    return host


def discard(host: SimulatedHost, release: int = 2) -> Outcome:
    return host.session(line({"op": "discard", "release": release, "by": "ada"}))


def promote(host: SimulatedHost, words: dict[str, str] | None = None, release: int = 2) -> Outcome:
    """With ``words`` as one host of a fleet, which is told them at the barriers."""
    asked: dict[str, Any] = {"release": release, "by": "ada", "phases": list(BEHIND_THE_SWITCH), "no_migrate": False}
    if words is not None:
        host.laptop = fleet.Laptop(host.clock, host.programs, words, 2)
        asked["barriers"] = list(SWITCH_BARRIERS)
    return host.session(line({"op": "phases", **asked}))


def is_whole(host: SimulatedHost, serves: int) -> None:
    host.recover()
    assert host.web.current() == serves and host.broken == []
    assert list(rules.in_the_end(host)) == []


def test_what_is_held_is_told_and_has_no_traffic(host: SimulatedHost) -> None:
    """By the first answer of a session, too: a laptop need not ask twice."""
    held = host.ask()["held"]
    assert held["release"] == "v2" and LEASE - 60 < held["seconds"] <= LEASE
    assert host.web.current() == 1
    assert promote(host).exit == 0
    assert host.ask()["held"] is None
    is_whole(host, 2)


def test_a_check_begins_its_time_anew(host: SimulatedHost) -> None:
    """Else it is over, and the host discards it by itself."""
    host.wait(LEASE - 100)
    assert host.phases("check", release=2).exit == 0
    host.wait(LEASE - 100)
    assert host.ask()["held"]["release"] == "v2"
    host.wait(200)
    assert host.ask()["held"] is None and rules.record(host, 2)["result"] == "interrupted"
    assert promote(host).exit == 2
    is_whole(host, 1)


def test_it_is_discarded_by_who_asks_for_it(host: SimulatedHost) -> None:
    """Nothing of it is left; a second time there is nothing to discard, and never what serves, or is not there."""
    assert discard(host).exit == 0
    assert "discarded by ada" in rules.record(host, 2)["reason"]
    is_whole(host, 1)
    for release in (2, 1, 7):
        refused = discard(host, release)
        assert refused.exit == 2 and refused.failure["state"] == "nothing was touched", refused
    is_whole(host, 1)


def test_what_is_switched_to_is_not_discarded(host: SimulatedHost) -> None:
    """It is held as well between two later phases, and has traffic: only a rollback takes it away."""
    assert host.phases("switch", release=2).exit == 0
    refused = discard(host)
    assert refused.exit == 2 and "switched to already" in refused.failure["message"]
    assert host.web.current() == 2


@pytest.mark.parametrize(
    ("words", "exit", "serves"),
    [
        ({}, 0, 2),
        ({"switch": fleet.UNDO}, 5, 1),
        ({"switch": fleet.NOTHING}, 5, 1),
        ({"keep": fleet.UNDO}, 6, 1),
        ({"keep": fleet.NOTHING}, 0, 2),
    ],
)
def test_in_a_fleet_it_waits_for_the_others(host: SimulatedHost, words: dict[str, str], exit: int, serves: int) -> None:
    """Before the switch, and at the end of the watch: told to go on, told to undo, or told nothing any more."""
    outcome = promote(host, words)
    assert outcome.exit == exit or (outcome.exit is None and fleet.NOTHING in words.values()), outcome
    if not words:
        assert [event["phase"] for event in outcome.events if event["event"] == "ready"] == list(SWITCH_BARRIERS)
    is_whole(host, serves)


def test_a_promotion_that_is_killed_ends_whole(host: SimulatedHost) -> None:
    """At any change: the new release serves, or the old one does."""
    seen = set()
    for moment in range(3, 60, 7):
        before, held = host.web.current(), int(host.ask()["held"]["release"][1:])
        with host.suffering(Kill(moment)):
            promote(host, release=held)
        is_whole(host, host.web.current())
        assert host.web.current() in (before, held)
        seen.add(host.web.current() == held)
        assert host.deploy(service.GOOD, f"again {moment}", phases=HELD).exit == 0
    assert True in seen

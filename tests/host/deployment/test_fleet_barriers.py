"""A host of a fleet at each barrier: told to go on, told to undo, told nothing, or struck by what befalls hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deployer.wire.protocol import BARRIERS, Exit
from tests.host.simulation import fleet, rules, service
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.saved import Saved, two_releases

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")

BEFORE = BARRIERS[:-1]


@pytest.fixture(scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return two_releases(tmp_path_factory.mktemp("two") / "disk")


@pytest.fixture
def host(_two: Saved) -> Iterator[SimulatedHost]:
    """One on which v2 serves, and v1 did before it."""
    with _two.again() as host:
        yield host


def deployed(host: SimulatedHost, words: dict[str, str], code: str = service.GOOD, **more: object) -> Outcome:
    """Version three, in a fleet; then the host has its time, and is whole."""
    outcome = host.fleet(lambda **settings: host.deploy(code, "three", **settings), words, **more)  # type: ignore[arg-type]
    if host.programs.stopping:
        host.reboot()
    host.recover()
    assert list(rules.in_the_end(host)) == []
    return outcome


def result(host: SimulatedHost) -> str:
    return str(rules.record(host, 3)["result"])


def stood_at(outcome: Outcome) -> list[str]:
    return [event["phase"] for event in outcome.events if event["event"] == "ready"]


def test_told_to_go_on_it_stands_at_every_barrier(host: SimulatedHost) -> None:
    """Once each, in their order, each just before its phase; ``keep`` while it is watched."""
    outcome = deployed(host, {})
    assert (outcome.exit, host.web.current(), stood_at(outcome)) == (0, 3, list(BARRIERS))
    told = [event["phase"] for event in outcome.events if event["event"] in ("ready", "phase.started")]
    for barrier in BEFORE:
        assert told.index(barrier) < len(told) - told[::-1].index(barrier) - 1
    assert told[-2:] == ["watch", "keep"]


@pytest.mark.parametrize("barriers", [(), ("switch",), ("migrate", "keep"), ("check", "switch", "keep")])
def test_it_stands_at_no_other(host: SimulatedHost, barriers: tuple[str, ...]) -> None:
    """Only at those it was asked to: a host that does not migrate does not wait for it."""
    outcome = deployed(host, {}, barriers=barriers)
    assert (outcome.exit, host.web.current(), stood_at(outcome)) == (0, 3, list(barriers))


@pytest.mark.parametrize("barrier", BARRIERS)
def test_signs_of_life_keep_it_waiting(host: SimulatedHost, barrier: str) -> None:
    """Longer than the lease, as long as the laptop is heard."""
    began = host.clock.now
    outcome = deployed(host, {barrier: fleet.LATE})
    assert (outcome.exit, host.web.current()) == (0, 3)
    assert host.clock.now - began > 100


@pytest.mark.parametrize("barrier", BEFORE)
def test_a_laptop_that_dies_before_the_switch_changes_nothing(host: SimulatedHost, barrier: str) -> None:
    """The old release serves on, uninterrupted; of the new one nothing is left but its record."""
    outcome = deployed(host, {barrier: fleet.NOTHING})
    assert (outcome.exit, host.web.current(), result(host)) == (5, 2, "failed")
    assert "nothing was heard of the laptop for 60 s" in outcome.failure["message"]
    assert host.web.socket(3) not in host.web.queues
    assert [path.name for path in host.paths.release(3).iterdir()] == ["release.json"]


def test_a_laptop_that_dies_after_it_leaves_what_is_healthy(host: SimulatedHost) -> None:
    """The new release stays, and its phase says why."""
    outcome = deployed(host, {"keep": fleet.NOTHING})
    assert (outcome.exit, host.web.current(), result(host)) == (0, 3, "good")
    (done,) = [event for event in outcome.events if event["event"] == "phase.done" and event["phase"] == "watch"]
    assert "nothing was heard of the laptop for 60 s" in done["detail"]


@pytest.mark.parametrize("code", [service.DIES_LATER, service.BREAKS_LATER])
@pytest.mark.parametrize("word", [fleet.GO, fleet.LATE, fleet.NOTHING])
def test_what_is_not_healthy_is_taken_back_all_the_same(host: SimulatedHost, code: str, word: str) -> None:
    """Whatever the laptop says: the host judges its own release."""
    outcome = deployed(host, {"keep": word}, code)
    assert (outcome.exit, host.web.current(), result(host)) == (6, 2, "rolled back")


@pytest.mark.parametrize("barrier", BARRIERS)
def test_undo_is_obeyed_and_says_why(host: SimulatedHost, barrier: str) -> None:
    """Before the switch nothing has happened; after it the old release serves again."""
    outcome = deployed(host, {barrier: fleet.UNDO})
    after = barrier == "keep"
    assert (outcome.exit, host.web.current(), result(host)) == (
        6 if after else 5,
        2,
        "rolled back" if after else "failed",
    )
    assert outcome.failure["message"] == rules.record(host, 3)["reason"] == fleet.WHY


@pytest.mark.parametrize("word", [fleet.KILLED, fleet.SHUT_DOWN, fleet.NO_POWER])
@pytest.mark.parametrize("barrier", BARRIERS)
def test_what_befalls_a_host_at_a_barrier(host: SimulatedHost, barrier: str, word: str) -> None:
    """It finds by itself to the release that it had switched to, if it had. Nobody waits for a word any more."""
    outcome = deployed(host, {barrier: word})
    switched = barrier == "keep"
    assert host.web.current() == (3 if switched else 2)
    ends = ("good",) if switched else ("interrupted", "failed")
    assert result(host) in ends
    assert outcome.exit in (None, 0 if switched else 5)


def test_without_overlap_it_waits_as_well(host: SimulatedHost) -> None:
    """The candidate does not run yet, and is not looked at: nothing is taken for a failure of it."""
    assert deployed(host, {"switch": fleet.LATE}, overlap=False).exit == 0
    assert host.web.current() == 3


@pytest.mark.parametrize("barrier", ["switch", "keep"])
def test_what_dies_while_it_waits_is_told_at_once(host: SimulatedHost, barrier: str) -> None:
    """A candidate, before anybody has switched; and what serves, before anybody keeps it. Not when the word comes."""
    began = host.clock.now

    def crash() -> None:
        unit = host.table.known(host.web.service(3))
        if unit is not None and unit.pid:
            host.web.exits(unit, "signal")

    host.clock.later(60.0, crash)
    outcome = host.fleet(host.deploy, {barrier: fleet.LATE}, text="three")
    assert 60 < host.clock.now - began < 90
    ended = (6, 2, "rolled back") if barrier == "keep" else (5, 2, "failed")
    assert (outcome.exit, host.web.current(), result(host)) == ended
    assert "ended by itself" in outcome.failure["message"]


def test_the_first_release_of_all(empty: SimulatedHost) -> None:
    """A new host in a fleet: with nothing before it, it waits, is taken back to nothing, and comes again."""
    for barrier, exit in (("switch", 5), ("keep", 6)):
        assert empty.fleet(empty.deploy, {barrier: fleet.UNDO}, ahead=4).exit == exit
        assert empty.web.current() == 0
    assert empty.fleet(empty.deploy, {}).exit == 0
    assert empty.web.current() == 11
    empty.recover()
    assert list(rules.in_the_end(empty)) == []


@pytest.mark.parametrize("kind", ["deploy", "reload", "rollback"])
@pytest.mark.parametrize("ahead", [0, 5])
def test_the_fleets_number_is_this_hosts(host: SimulatedHost, kind: str, ahead: int) -> None:
    """A host that missed releases skips their numbers; the next one counts from there."""
    assert host.fleet(getattr(host, kind), {}, ahead=ahead).exit == 0
    assert host.web.current() == 3 + ahead
    assert host.deploy(text="alone").exit == 0
    assert host.web.current() == 4 + ahead
    host.recover()
    assert list(rules.in_the_end(host)) == []


@pytest.mark.parametrize("kind", ["deploy", "reload", "rollback"])
def test_a_number_that_was_taken_meanwhile_is_refused(host: SimulatedHost, kind: str) -> None:
    """Numbers never go back: nothing is touched, and it says so; it is no fault, so that who waits may try again."""
    ledger = host.ledger
    outcome = host.fleet(getattr(host, kind), {}, ahead=-1)
    assert (outcome.exit, host.web.current(), host.ledger) == (Exit.BUSY, 2, ledger)
    assert "another command was quicker, and has made v2 here" in outcome.failure["message"]
    assert outcome.failure["state"] == "nothing was touched"
    host.recover()
    assert list(rules.in_the_end(host)) == []

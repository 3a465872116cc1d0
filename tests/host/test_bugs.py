"""A bug that nobody foresaw strikes while a release is undone, or while one that died is put right.

``EVERY_WALK=1`` makes all the walks; without it only those that differ most.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.host.simulation import bugs, fleet, rules, service
from tests.host.simulation.faults import Fault, Kill
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.place import place
from tests.host.simulation.saved import Saved
from tests.host.simulation.walk import Command

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root"),
    pytest.mark.timeout(900),
]

ALL = bool(os.environ.get("EVERY_WALK"))
COMMANDS: dict[str, Command] = {
    "the web process dies": lambda host: host.deploy(service.DIES_LATER),
    "a worker dies": lambda host: host.deploy(service.WORKER_DIES),
    "a healthy release is undone": lambda host: host.fleet(host.deploy, {"keep": fleet.UNDO}, text="new"),
    "never healthy": lambda host: host.deploy(service.BROKEN),
}
CHOSEN = list(COMMANDS) if ALL else ["a healthy release is undone"]


@pytest.fixture
def two() -> Iterator[Saved]:
    """A host on which v2 serves, and v1 did before it."""
    with place() as disks:
        host = SimulatedHost(disks / "disk")
        host.set_up()
        with host.in_place():
            assert host.deploy(text="one").exit == 0
            assert host.deploy(text="two").exit == 0
            host.recover()
            yield Saved(host)


def walk(saved: Saved, command: Command, begins: str, *faults: Fault) -> dict[str, list[str]]:
    """What is wrong after a bug at each call of the undo, by call."""
    host = saved.host

    def act() -> Outcome:
        with host.suffering(*faults):
            return command(host)

    saved.bring_back()
    found, wrong = bugs.calls(act, begins, every=ALL), {}
    assert len(found) > 30
    for call, occasion in found:
        saved.bring_back()
        bug = bugs.Bug(begins, call, occasion)
        with bug.in_place():
            outcome = act()
        host.recover()
        texts = list(_wrong(host, outcome, bug))
        if texts:
            wrong[f"{call[0]} → {call[1]} ({occasion})"] = texts
    return wrong


def _wrong(host: SimulatedHost, outcome: Outcome, bug: bugs.Bug) -> Iterator[str]:
    assert bug.struck, "the bug did not strike: the simulation is not the same twice"
    told = [str(outcome), bug.journal.getvalue(), *host.programs.bugs]
    if not any(bugs.TEXT in text for text in told):
        yield "the bug's traceback is nowhere"
    host.said.clear()
    host.programs.bugs.clear()
    if host.web.current() != 2:
        yield f"v{host.web.current()} serves"
    yield from rules.in_the_end(host, tidy=False, swept=False)
    if ALL:
        again = host.deploy(text="the next one")
        if again.exit != 0:
            yield f"the next deploy: {again}"
        host.recover()
        yield from (f"after the next deploy: {text}" for text in rules.in_the_end(host, tidy=False))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_bug_anywhere_on_the_way_back(two: Saved, name: str) -> None:
    """At every call of the undo: the old release serves, and the traceback is kept."""
    wrong = walk(two, COMMANDS[name], bugs.UNDO)
    assert not wrong, "\n".join(f"{call}: {texts}" for call, texts in wrong.items())


@pytest.mark.parametrize("when", ["before the switch", "on the way back"] if ALL else ["on the way back"])
def test_a_bug_anywhere_in_the_recovery(two: Saved, when: str) -> None:
    """The job is killed; at every call of what puts that right: the old release serves, and the traceback is kept."""
    host = two.host
    with host.suffering():
        host.deploy(service.DIES_LATER)
        trace = list(host.programs.trace)
    switches = [one.number for one in trace if one.what == "replace" and one.words[1] == str(host.paths.current)]
    assert len(switches) == 2
    at = switches[0] - 5 if when == "before the switch" else switches[1]
    wrong = walk(two, COMMANDS["the web process dies"], bugs.RECOVERY, Kill(at))
    assert not wrong, "\n".join(f"{call}: {texts}" for call, texts in wrong.items())

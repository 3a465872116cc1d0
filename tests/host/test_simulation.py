"""The simulated host itself: without faults it behaves as a real one does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.simulation import rules, service
from tests.host.simulation.faults import Kill, PowerCut
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimulatedHost]:
    made = SimulatedHost(tmp_path / "disk")
    made.set_up()
    with made.in_place():
        yield made


def test_a_good_release_serves(host: SimulatedHost) -> None:
    """Deploy, reload and rollback end well, and leave nothing but what they should."""
    assert host.deploy(text="one").exit == 0
    assert host.web.current() == 1
    assert host.deploy(text="two").exit == 0
    assert host.reload(env={"A": "1"}).exit == 0
    assert host.rollback().exit == 0
    host.recover()
    assert list(rules.in_the_end(host)) == []
    assert host.web.current() == 4
    assert host.web.answered > 100


@pytest.mark.parametrize("code", service.BEHAVIOURS[1:])
def test_a_bad_release_does_not(host: SimulatedHost, code: str) -> None:
    """Refused before the switch, or taken back after it."""
    assert host.deploy(text="one").exit == 0
    outcome = host.deploy(code)
    assert outcome.exit == (5 if code in service.NEVER_HEALTHY else 6), outcome
    host.recover()
    assert list(rules.in_the_end(host)) == []
    assert host.web.current() == 1


def test_code_that_lost_its_seal_is_not_taken_from_under_what_runs(host: SimulatedHost) -> None:
    """The same code again is built beside it, not in its place."""
    assert host.deploy(text="one").exit == 0
    (seal,) = host.paths.trees.glob("*.json")
    seal.write_text("spoilt")
    assert host.deploy(text="one").exit == 0
    assert (host.paths.releases / "v1/code").resolve().is_dir()
    assert (host.paths.releases / "v1/code").resolve() != (host.paths.releases / "v2/code").resolve()


def test_a_job_is_on_the_disk_before_it_begins(host: SimulatedHost) -> None:
    """Were its directory lost with the power, nobody would know after it that something is to be put right."""
    with host.suffering():
        assert host.deploy(text="one").exit == 0
        trace = list(host.programs.trace)
    written = [one.number for one in trace if one.what == "fsync" and one.words == (str(host.paths.jobs),)]
    begun = [one.number for one in trace if "Description=deployer job" in " ".join(one.words)]
    assert written
    assert written[0] < begun[0]


def test_the_power_goes_while_a_killed_job_is_put_right(host: SimulatedHost) -> None:
    """Twice struck, the second time before the disk has all of the clearing up: the boot sees to the rest."""
    assert host.deploy(text="one").exit == 0
    with host.suffering():
        assert host.deploy(text="two").exit == 0
        trace = list(host.programs.trace)
    built = next(one.number for one in trace if one.what == "waits")
    for later in range(2, 30, 3):
        with host.suffering(Kill(built), PowerCut(built + later, forgets=True)):
            host.deploy(text=f"three {later}")
        host.recover()
        assert list(rules.in_the_end(host, tidy=False)) == []

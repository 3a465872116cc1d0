"""The simulated host itself: without faults it behaves as a real one does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.simulation import rules, service
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

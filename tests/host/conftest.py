"""A simulated host. Modules that need one in another state take it from here, and have theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.simulation.host import SimulatedHost


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where the files of a simulated host lie."""
    return tmp_path / "disk"


@pytest.fixture
def empty(disk: Path) -> Iterator[SimulatedHost]:
    """It is set up, and nothing is deployed."""
    made = SimulatedHost(disk)
    made.set_up()
    with made.in_place():
        yield made


@pytest.fixture
def host(empty: SimulatedHost) -> SimulatedHost:
    return empty

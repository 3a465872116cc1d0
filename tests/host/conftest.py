"""A simulated host. Modules that need one in another state take it from here, and have theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.simulation.host import SimulatedHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimulatedHost]:
    """It is set up, and nothing is deployed."""
    made = SimulatedHost(tmp_path / "disk")
    made.set_up()
    with made.in_place():
        yield made

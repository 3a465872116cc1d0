"""At every boundary of every command: the program dies, the power goes, the disk refuses. One whole release serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.simulation import service, walk
from tests.host.simulation.host import Saved, SimulatedHost
from tests.host.simulation.walk import Command, Trial

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root"),
    pytest.mark.timeout(600),
]

COMMANDS: dict[str, Command] = {
    "deploy": lambda host: host.deploy(text="new"),
    "reload": lambda host: host.reload(env={"GREETING": "hello"}),
    "rollback": lambda host: host.rollback(),
    "a deploy that dies once it serves": lambda host: host.deploy(service.DIES_LATER),
    "a deploy without overlap": lambda host: host.deploy(text="new", overlap=False),
}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SimulatedHost]:
    """A host that is set up, and nothing more."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        yield host


@pytest.fixture
def two(empty: SimulatedHost, tmp_path: Path) -> Saved:
    """A host on which v2 serves, and v1 did before it."""
    assert empty.deploy(text="one").exit == 0
    assert empty.deploy(text="two").exit == 0
    empty.recover()
    return empty.save(tmp_path / "saved")


def check(found: walk.Findings) -> None:
    assert found.moments > 40
    assert not found.wrong, f"of {found.moments} moments:\n{found}"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("trial", [walk.KILLED, walk.POWER], ids=str)
def test_death_at_every_boundary(two: Saved, command: str, trial: Trial) -> None:
    """Whoever dies, whenever: one whole release serves by itself, nothing is left, and the next deploy goes well."""
    check(walk.walk(two, COMMANDS[command], trial))


@pytest.mark.parametrize("trial", [walk.KILLED, walk.POWER], ids=str)
def test_the_first_deploy_dies_at_every_boundary(empty: SimulatedHost, tmp_path: Path, trial: Trial) -> None:
    """With nothing to go back to the new release serves, or nothing is left of it."""
    check(walk.walk(empty.save(tmp_path / "saved"), COMMANDS["deploy"], trial, served=False))


@pytest.mark.parametrize("command", ["deploy", "a deploy that dies once it serves"])
@pytest.mark.parametrize("trial", [walk.ABORTED, walk.SHUT_DOWN], ids=str)
def test_ended_from_outside_at_every_boundary(two: Saved, command: str, trial: Trial) -> None:
    """``fab abort``, ``systemctl stop`` and a shutdown come at any time, and nothing is half done."""
    check(walk.walk(two, COMMANDS[command], trial))


@pytest.mark.parametrize("command", ["deploy", "reload", "rollback", "a deploy that dies once it serves"])
@pytest.mark.parametrize("trial", [walk.FULL, walk.FULL_ONCE, walk.READ_ONLY, walk.BAD_SECTOR], ids=str)
def test_the_disk_refuses_at_every_write(two: Saved, command: str, trial: Trial) -> None:
    """The old or the new release serves all along; mended, the host puts itself right, and the next deploy goes well."""
    check(walk.walk(two, COMMANDS[command], trial))

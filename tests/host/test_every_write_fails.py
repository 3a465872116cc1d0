"""At every boundary of every command: the program dies, the power goes, the disk refuses. One whole release serves.

``EVERY_WALK=1`` makes all the walks; without it only those that differ most.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.host.build.code import clone
from tests.host.simulation import service, walk
from tests.host.simulation.host import SimulatedHost
from tests.host.simulation.place import place
from tests.host.simulation.saved import Saved
from tests.host.simulation.walk import Command, Trial

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root"),
    pytest.mark.timeout(1800),
]

COMMANDS: dict[str, Command] = {
    "deploy": lambda host: host.deploy(text="new"),
    "reload": lambda host: host.reload(env={"GREETING": "hello"}),
    "rollback": lambda host: host.rollback(),
    "a deploy that dies once it serves": lambda host: host.deploy(service.DIES_LATER),
    "a deploy without overlap": lambda host: host.deploy(text="new", overlap=False),
    "a deploy in a clone": lambda host: host.deploy(text="new", build=[]),
    "a deploy to a fleet": lambda host: host.fleet(host.deploy, {}, ahead=2, text="new"),
}


@pytest.fixture
def disks() -> Iterator[Path]:
    with place() as made:
        yield made


@pytest.fixture
def disk(disks: Path) -> Path:
    return disks / "disk"


@pytest.fixture
def two(empty: SimulatedHost, disks: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Saved:
    """A host on which v2 serves, and v1 did before it; a clone of its code lies ready where one is to be taken."""
    if CLONED in request.node.name:
        monkeypatch.setattr(clone, "WORTH", 1)
    assert empty.deploy(text="one").exit == 0
    assert empty.deploy(text="two").exit == 0
    empty.recover()
    return Saved(empty)


def check(found: walk.Findings) -> None:
    assert found.moments > 40
    assert not found.wrong, f"of {found.moments} moments:\n{found}"


TAKEN_BACK = "a deploy that dies once it serves"
FLEET = "a deploy to a fleet"
CLONED = "a deploy in a clone"
ALL = bool(os.environ.get("EVERY_WALK"))


def walks(trials: Sequence[Trial], commands: Iterable[str], *, always: Sequence[tuple[Trial, str]] = ()) -> Any:
    """Parameters of a test: every trial with every command, or only those that are ``always`` made."""
    chosen = [(trial, command) for trial in trials for command in commands if ALL or (trial, command) in always]
    return pytest.mark.parametrize(("trial", "command"), chosen, ids=[f"{trial}, {name}" for trial, name in chosen])


@walks(
    [walk.KILLED, walk.POWER, walk.FORGETFUL],
    COMMANDS,
    always=[
        *((walk.KILLED, command) for command in COMMANDS),
        (walk.FORGETFUL, "deploy"),
        (walk.FORGETFUL, TAKEN_BACK),
        (walk.FORGETFUL, CLONED),
    ],
)
def test_death_at_every_boundary(two: Saved, command: str, trial: Trial) -> None:
    """Whoever dies, whenever: one whole release serves by itself, nothing is left, and the next deploy goes well."""
    check(walk.walk(two, COMMANDS[command], trial))


@pytest.mark.parametrize("trial", [walk.KILLED, walk.FORGETFUL] if ALL else [walk.KILLED], ids=str)
def test_the_first_deploy_dies_at_every_boundary(empty: SimulatedHost, disks: Path, trial: Trial) -> None:
    """With nothing to go back to the new release serves, or nothing is left of it."""
    check(walk.walk(Saved(empty), COMMANDS["deploy"], trial, served=False))


@walks(
    [walk.ABORTED, walk.SHUT_DOWN],
    ["deploy", TAKEN_BACK, FLEET],
    always=[(walk.ABORTED, "deploy"), (walk.SHUT_DOWN, "deploy")],
)
def test_ended_from_outside_at_every_boundary(two: Saved, command: str, trial: Trial) -> None:
    """``fab abort``, ``systemctl stop`` and a shutdown come at any time, and nothing is half done."""
    check(walk.walk(two, COMMANDS[command], trial))


@walks(
    [walk.FULL, walk.FULL_ONCE, walk.READ_ONLY, walk.BAD_SECTOR],
    ["deploy", "reload", "rollback", TAKEN_BACK, FLEET, CLONED],
    always=[
        (walk.FULL, "deploy"),
        (walk.FULL, TAKEN_BACK),
        (walk.FULL, FLEET),
        (walk.FULL, CLONED),
        (walk.FULL_ONCE, "deploy"),
        (walk.READ_ONLY, "deploy"),
    ],
)
def test_the_disk_refuses_at_every_write(two: Saved, command: str, trial: Trial) -> None:
    """One whole release serves all along; once the disk is mended nothing is left, and the next deploy goes well."""
    check(walk.walk(two, COMMANDS[command], trial))

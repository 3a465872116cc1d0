"""What a power cut must not undo is on the disk before anything that depends on it: read off the changes made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.host.state.content.store import ENDS, SEAL
from deployer.host.units.transient import COMMANDS as COMMANDS_OF_AN_APP
from tests.host.simulation import service
from tests.host.simulation.faults import Kill
from tests.host.simulation.host import SimulatedHost
from tests.host.simulation.programs import Change

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")

COMMANDS: dict[str, Callable[[SimulatedHost], object]] = {
    "deploy": lambda host: host.deploy(text="new"),
    "reload": lambda host: host.reload(env={"GREETING": "hello"}),
    "rollback": lambda host: host.rollback(),
    "a deploy that is taken back": lambda host: host.deploy(service.DIES_LATER),
}


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    return host


def recorded(host: SimulatedHost, command: Callable[[SimulatedHost], object]) -> list[Change]:
    with host.suffering():
        command(host)
        host.recover()
        return list(host.programs.trace)


def recovery(host: SimulatedHost) -> list[Change]:
    """What the host does after a deploy that was killed right after the switch."""
    switch = next(one for one in recorded(host, COMMANDS["deploy"]) if is_switch(one))
    with host.suffering(Kill(switch.number + 2)):
        host.deploy(text="another")
        host.recover()
        trace = host.programs.trace
        died = next(place for place, one in enumerate(trace) if is_switch(one))
        return list(trace[died:])


@pytest.fixture(params=[*COMMANDS, "recovery"])
def trace(request: pytest.FixtureRequest, host: SimulatedHost) -> list[Change]:
    """All changes of one command, in their order, by every program that ran."""
    if request.param == "recovery":
        return recovery(host)
    return recorded(host, COMMANDS[request.param])


def is_switch(change: Change) -> bool:
    return change.what == "replace" and change.words[1].endswith("/shop/current")


RECORDS = tuple(f".{end}" for end in ENDS if end != SEAL)
"""How the names end of what lies beside content, and counts once that is sealed."""


PASSING = ("/events.jsonl", "/body", "/assets.json", *(f"/{name}.env" for name in COMMANDS_OF_AN_APP))
"""How paths end that no boot relies on: a job's events are only told, the list of assets follows from the code, and a
command does not outlive the boot that it was given an environment in."""


def lasting(path: str) -> bool:
    """Whether a later boot relies on it. Uploads are sent again."""
    return "/incoming/" not in path and not path.endswith((*PASSING, *RECORDS))


def moves(trace: list[Change]) -> list[tuple[int, str, str]]:
    """Where in the trace a file gets its final name: place, old name, new name."""
    return [
        (place, *change.words[:2])
        for place, change in enumerate(trace)
        if change.what in ("replace", "rename") and lasting(change.words[1]) and not change.words[1].endswith(".gone")
    ]


def test_a_file_is_on_the_disk_before_it_gets_its_name(trace: list[Change]) -> None:
    """Between the last write to a file and the rename that makes it count there is an fsync of it."""
    found = moves(trace)
    assert len(found) > 5
    for place, old, _ in found:
        touched = [one for one in trace[:place] if one.words and one.words[0] == old]
        since_made = touched[max(0, max((n for n, one in enumerate(touched) if one.what == "create"), default=0)) :]
        if not since_made or since_made[-1].what == "symlink":
            continue  # a link has no content of its own
        assert since_made[-1].what == "fsync", [str(one) for one in since_made]


def test_a_name_is_on_the_disk_before_anything_else_is_done(trace: list[Change]) -> None:
    """The directory is fsynced by the very next change of the same program."""
    for place, _, new in moves(trace):
        following = next(one for one in trace[place + 1 :] if one.process == trace[place].process)
        assert (following.what, following.words) == ("fsync", (str(Path(new).parent),)), f"{trace[place]} → {following}"


def test_the_ledger_is_on_the_disk_line_by_line(trace: list[Change]) -> None:
    """Each line is fsynced before its program does anything else."""
    written = [
        place for place, one in enumerate(trace) if one.what == "write" and one.words[0].endswith("ledger.jsonl")
    ]
    assert written
    for place in written:
        following = next(one for one in trace[place + 1 :] if one.process == trace[place].process)
        assert (following.what, following.words) == ("fsync", trace[place].words)


@pytest.mark.parametrize("what", ["trees", "venvs"])
def test_a_seal_is_gone_for_good_before_what_it_sealed(host: SimulatedHost, what: str) -> None:
    """Else a power cut could bring back a seal that says of half a directory that it is whole."""

    def two_more(one: SimulatedHost) -> None:
        for text in ("three", "four", "five", "six"):
            assert one.deploy(text=text, lock=text, keep=2).exit == 0

    trace = recorded(host, two_more)
    seals = [
        (place, Path(one.words[0]))
        for place, one in enumerate(trace)
        if one.what == "unlink" and Path(one.words[0]).parent.name == what and one.words[0].endswith(".json")
    ]
    assert seals
    for place, seal in seals:
        content = str(seal.with_suffix(""))
        later = [one for one in trace[place + 1 :] if one.process == trace[place].process]
        assert (later[0].what, later[0].words) == ("fsync", (str(seal.parent),)), later[0]
        assert any(one.words[:1] == (content,) and one.what in ("rename", "rm") for one in later[1:])


def beside(seal: str) -> list[str]:
    """The records that lie beside what is sealed."""
    return [seal.removesuffix(f".{SEAL}") + end for end in RECORDS]


def test_a_tree_is_on_the_disk_before_its_seal(host: SimulatedHost) -> None:
    """All that a build wrote is synced before the seal says that it is whole."""
    trace = recorded(host, lambda one: one.deploy(text="new", lock="another"))
    seals = [
        (place, new) for place, _, new in moves(trace) if "s/" in new and Path(new).parent.name in ("trees", "venvs")
    ]
    sealed = [(place, new) for place, new in seals if new.endswith(".json")]
    assert len(sealed) == 2
    for place, new in sealed:
        synced = [n for n, one in enumerate(trace) if one.words[:2] == ("sync", "-f") and one.words[2] == new[:-5]]
        built = [n for n, one in enumerate(trace) if one.what == "waits" and n < place]
        records = [n for n, one in enumerate(trace) if one.what == "replace" and one.words[1] in beside(new)]
        assert synced, f"{new} was never synced"
        assert max(built) < synced[-1] < place
        assert records and max(records) < synced[-1], "what lies beside it is not on the disk when it counts"


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_switched_to_that_a_power_cut_could_undo(host: SimulatedHost, command: str) -> None:
    """When ``current`` is renamed, the record that says sealed and served is on the disk, and so are the units."""
    seen: list[tuple[str, str]] = []
    watch = host.programs.watch

    def look() -> None:
        target = str(host.paths.current.readlink())
        if not seen or seen[-1][0] != target:
            record = json.loads((host.paths.home / target / "release.json").read_bytes())
            seen.append((target, record["result"] if record["sealed"] else "not sealed"))
        watch()

    host.programs.watch = look
    trace = recorded(host, COMMANDS[command])
    assert seen[1][1] == "served"
    assert "not sealed" not in [result for _, result in seen]
    place = next(place for place, one in enumerate(trace) if is_switch(one))
    dirty: set[str] = set()
    for change in trace[:place]:
        if change.what in ("replace", "create", "mkdir", "symlink", "unlink"):
            dirty.add(str(Path(change.words[-1]).parent))
        elif change.what == "fsync":
            dirty.discard(change.words[0])
        elif change.words[:2] == ("sync", "-f"):
            dirty = {one for one in dirty if not one.startswith(change.words[2])}
    left = {one for one in dirty if "/releases/" in one or "/systemd/" in one or one.endswith(("/trees", "/venvs"))}
    assert not left

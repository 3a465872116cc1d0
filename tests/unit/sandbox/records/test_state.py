"""The sandbox's records, its directory, its locks, and which hosts nobody will miss."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine.locks import exclusive
from deployer.sandbox.machine.processes import OsProcess, children, kill, wait_until, with_argument
from deployer.sandbox.records.state import Record, State, directory_for, is_abandoned

GONE = OsProcess(pid=os.getpid(), started="another boot:1")


def record(**changes: object) -> Record:
    fields: dict[str, object] = {
        "name": "box1",
        "distribution": "bookworm",
        "backend": "nspawn",
        "address": "127.0.10.1",
        "ssh_port": 22,
        "http_port": 80,
        "host_key": "ssh-ed25519 AAAA comment",
        "phase": "up",
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_record_survives_the_disk() -> None:
    """What is stored is what is read back, processes included."""
    stored = record(owner=OsProcess.current(), init=GONE)
    assert Record.from_json(stored.to_json()) == stored


@pytest.mark.parametrize(
    ("changes", "init_alive", "abandoned"),
    [
        ({"owner": GONE}, True, True),
        ({"owner": GONE, "phase": "off"}, False, True),
        ({"owner": OsProcess.current()}, True, False),
        ({"owner": None}, True, False),
        ({"owner": None}, False, True),
        ({"owner": OsProcess.current(), "phase": "off"}, False, False),
        ({"owner": None, "phase": "off"}, False, False),
        ({"phase": "booting", "maker": OsProcess.current()}, False, False),
        ({"phase": "booting", "maker": GONE}, True, True),
        ({"phase": "booting", "maker": None}, True, True),
    ],
)
def test_which_hosts_are_abandoned(changes: dict[str, object], init_alive: bool, abandoned: bool) -> None:
    """A host goes when its owner is gone, its maker died half-way or it died itself, and never else."""
    assert is_abandoned(record(**changes), init_alive=init_alive) is abandoned


def test_the_directory_is_chosen_by_environment_and_user() -> None:
    """The variable wins; root and others have a default of their own."""
    chosen = {"DEPLOYER_SANDBOX_DIR": "/somewhere", "XDG_CACHE_HOME": "/cache"}
    assert directory_for(chosen, is_root=True) == Path("/somewhere")
    assert directory_for({}, is_root=True) == Path("/var/tmp/deployer-sandbox")
    assert directory_for({"XDG_CACHE_HOME": "/cache"}, is_root=False) == Path("/cache/deployer-sandbox")
    assert directory_for({}, is_root=False) == Path.home() / ".cache/deployer-sandbox"


def test_the_directory_is_closed_to_others(tmp_path: Path) -> None:
    """It holds the key to every host, so only its owner may enter, even if it was open before."""
    directory = tmp_path / "sandbox"
    directory.mkdir(mode=0o777)
    State.open({"DEPLOYER_SANDBOX_DIR": str(directory)})
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Where everybody may write, a link could lead to somebody else's directory."""
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(SandboxError, match="not safe"):
        State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path / "link")})


def test_an_unknown_host_is_named_beside_the_known_ones(tmp_path: Path) -> None:
    """A mistyped name is answered with the names there are."""
    state = State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path)})
    state.save(record(name="web1"))
    with pytest.raises(SandboxError, match=r"'web2'[\s\S]*Hosts: web1"):
        state.get("web2")


def test_an_unreadable_record_is_no_host(tmp_path: Path) -> None:
    """A directory whose record was never finished is left for the sweep and breaks no listing."""
    state = State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path)})
    state.host("half").mkdir()
    (state.host("half") / "record.json").write_text("{")
    assert state.records() == []


def test_a_record_is_private(tmp_path: Path) -> None:
    """Records are readable by their owner only, from their creation."""
    state = State.open({"DEPLOYER_SANDBOX_DIR": str(tmp_path)})
    state.save(record())
    assert (state.host("box1") / "record.json").stat().st_mode & 0o777 == 0o600


def test_labels_differ_between_sandboxes(tmp_path: Path) -> None:
    """Two sandboxes on one machine may both have a box1 without their containers colliding."""
    assert State(tmp_path / "a").label("box1") != State(tmp_path / "b").label("box1")
    assert len(State(tmp_path).label("x" * 31)) <= 64


def test_a_lock_makes_the_second_wait(tmp_path: Path) -> None:
    """Nobody enters while the lock is held, and the next one enters when it is let go."""
    entered = threading.Event()

    def enter() -> None:
        with exclusive(tmp_path / "lock"):
            entered.set()

    with exclusive(tmp_path / "lock"):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(5)
    assert entered.is_set()


def test_a_recycled_pid_is_another_process() -> None:
    """A process with the recorded pid but another start time is neither alive nor ever signalled."""
    assert OsProcess.current().is_alive()
    assert not GONE.is_alive()
    GONE.send(9)  # would end this very test run


def test_a_zombie_counts_as_gone() -> None:
    """A process that has ended but has not been reaped does not keep a host alive."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = OsProcess.of(child.pid)
        assert process is not None
        assert process.is_alive()
        assert kill(process, seconds=10)
        assert OsProcess.of(child.pid) is None


def test_processes_are_found_by_parent_and_by_argument() -> None:
    """A host's processes are found even when nobody wrote their pids down."""
    command = [sys.executable, "-c", "input()", "--directory=/nowhere/at/all"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        program = Path(sys.executable).name
        assert wait_until(lambda: with_argument(program, command[-1]) != [], seconds=10)
        assert [found.pid for found in with_argument(program, command[-1])] == [child.pid]
        assert with_argument(program, "--directory=/nowhere") == []
        assert child.pid in [found.pid for found in children(OsProcess.current())]
        child.kill()

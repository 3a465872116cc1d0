"""``deployer demo`` and ``deployer sandbox`` as users have them: a built wheel, a fresh environment, no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox.backends import mounts, nspawn
from deployer.sandbox.backends.cgroups import groups_of
from deployer.sandbox.hosts import down_all
from deployer.sandbox.machine.processes import in_control_group, with_argument
from deployer.sandbox.records.state import State
from tests.support.terminal import Terminal

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The `deployer` program of an environment that has nothing but the wheel and what it requires."""
    place = tmp_path_factory.mktemp("installed")
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, *pip, "wheel", "--no-deps", "-w", str(place), str(ROOT)], check=True, timeout=200)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True, timeout=100)
    subprocess.run([str(place / "venv/bin/python"), *pip, "install", str(wheel)], check=True, timeout=200)
    return str(place / "venv/bin/deployer")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """A sandbox of the test's own, with the images of this machine's; an empty directory to type in."""
    if (problem := nspawn.unusable()) is not None:
        pytest.skip(problem.problem)
    images = State.open(os.environ).images
    images.mkdir(exist_ok=True)
    monkeypatch.setenv("DEPLOYER_SANDBOX_DIR", str(tmp_path / "sandbox"))
    made = State.open(os.environ)
    made.images.symlink_to(images)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    yield made
    down_all()


def left(state: State, name: str = "box1") -> list[str]:
    """All that a command has left on this machine."""
    return [
        *map(str, mounts.mounted_below(state.directory)),
        *map(str, with_argument(nspawn.PROGRAM, f"--directory={state.host(name)}/merged")),
        *map(str, in_control_group(state.label(name))),
        *(str(group) for group in groups_of(state.label(name)) if group.exists()),
        *map(str, state.hosts.iterdir()),
        *map(str, Path.cwd().iterdir()),
        state.ssh_config.read_text(),
    ]


def run(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)


@pytest.mark.timeout(900)
def test_the_demo_loses_no_request_and_leaves_nothing(installed: str, state: State) -> None:
    """Set up, deployed, reloaded, a broken version refused, rolled back, under load: figures of each step."""
    done = run(installed, "demo", "--json", timeout=800)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["failed"], told["sent"] > 100) == (0, True)
    assert [(step["release"], step["outcome"]) for step in told["steps"]] == [
        ("", ""),
        ("v1 (code 1)", ""),
        ("v2 (code 2)", ""),
        ("v3 (code 2)", ""),
        ("v3 (code 2)", "refused, as it should be"),
        ("v5 (code 1)", ""),
    ]
    assert "about a minute" in done.stderr.splitlines()[0]
    assert left(state) == [""]


def test_ctrl_c_in_the_demo_leaves_nothing(installed: str, state: State, tmp_path: Path) -> None:
    """Twice, in the middle of a set-up: no host, mount, control group, process or file stays, and 130 says why."""
    terminal = Terminal([installed, "demo"], tmp_path / "empty")
    terminal.wait_for(b"directories", seconds=200)
    terminal.type("\x03")
    terminal.wait_for(b"removing box1", seconds=60)
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "the demo's host and project are gone" in terminal.text
    assert "Traceback" not in terminal.text
    assert left(state) == [""]


def test_a_host_comes_is_used_dies_and_goes(installed: str, state: State) -> None:
    """It stays when its command ends; the exit code of a command in it is its own; a dead one is told as that."""
    up = run(installed, "sandbox", "up", "web1", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["address"] == state.get("web1").address
    try:
        assert run(installed, "sandbox", "ssh", "web1", "--", "printf", "%s|", "a  b", "$HOME").stdout == "a  b|$HOME|"
        assert run(installed, "sandbox", "ssh", "web1", "--", "hostname; exit 7").returncode == 7
        again = run(installed, "sandbox", "up", "web1")
        assert (again.returncode, "already" in again.stderr) == (2, True)
        (supervisor,) = with_argument(nspawn.PROGRAM, f"--directory={state.host('web1')}/merged")
        supervisor.send(9)
        listed = json.loads(run(installed, "sandbox", "list", "--json").stdout)["hosts"]
        assert [(host["name"], host["state"]) for host in listed] == [("web1", "died")]
        dead = run(installed, "sandbox", "ssh", "web1")
        assert (dead.returncode, "web1 is not running" in dead.stderr) == (3, True)
    finally:
        gone = run(installed, "sandbox", "down", "--all", "--json")
    assert gone.returncode == 0, gone.stderr
    assert left(state, "web1") == [""]

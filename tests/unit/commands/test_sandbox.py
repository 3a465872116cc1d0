"""``deployer sandbox`` and ``deployer demo``: how they are typed, how they fail, what a signal leaves."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from deployer import __main__
from deployer.cli.standalone import Stopped, ended
from deployer.commands import sandbox
from deployer.commands.demo import demo
from deployer.commands.demo.project import APP
from deployer.sandbox import hosts
from deployer.sandbox.backends import docker, image
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine import commands, space
from deployer.sandbox.machine.processes import OsProcess, wait_until
from deployer.sandbox.records import registry
from deployer.sandbox.records.state import Record, State
from deployer.ui.answers.demo import DemoStep, demo_table
from deployer.ui.steps import Steps

pytestmark = pytest.mark.usefixtures("warm_fab")

DEPLOYER = str(Path(sys.executable).with_name("deployer"))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A sandbox of the test's own, without a host."""
    monkeypatch.setenv("DEPLOYER_SANDBOX_DIR", str(tmp_path / "sandbox"))
    monkeypatch.delenv("DEPLOYER_SANDBOX_BACKEND", raising=False)
    return State.open(os.environ)


def recorded(state: State, name: str, **changes: Any) -> Record:
    """A host that exists on paper alone."""
    usual: dict[str, Any] = {
        "name": name,
        "distribution": "bookworm",
        "backend": "nspawn",
        "address": "127.0.10.1",
        "ssh_port": 22,
        "http_port": 80,
        "host_key": "ssh-ed25519 AAAA",
        "phase": "up",
    }
    record = Record(**{**usual, **changes})
    state.save(record)
    return record


MISTAKES = [
    (["sandbox"], "up|down|list|ssh", "deployer sandbox --help"),
    (["sandbox", "dwon"], "invalid choice: 'dwon'", "deployer sandbox --help"),
    (["sandbox", "up", "--distribution", "buster"], "invalid choice: 'buster'", "deployer sandbox up --help"),
    (["sandbox", "up", "Web"], "'Web' cannot be a host's name", "small letters"),
    (["sandbox", "up", "box1"], "a sandbox host called 'box1' already", "deployer sandbox down box1"),
    (["sandbox", "down"], "name one host, or say --all", "deployer sandbox down --help"),
    (["sandbox", "down", "box1", "--all"], "name one host, or say --all", "deployer sandbox down --help"),
    (["sandbox", "down", "nope"], "no sandbox host called 'nope'", "deployer sandbox list"),
    (["sandbox", "ssh", "nope", "--", "id"], "no sandbox host called 'nope'", "deployer sandbox list"),
    (["sandbox", "list", "--", "id"], "no words are expected after --", "deployer sandbox list --help"),
    (["demo", "--distro", "trixie"], "unrecognized arguments: --distro", "deployer demo --help"),
]


@pytest.mark.parametrize(("words", "told", "next"), MISTAKES)
def test_a_mistake_ends_with_2_and_what_to_type(state: State, words: list[str], told: str, next: str) -> None:
    """No traceback, nothing made, standard output empty; with --json the same as an event."""
    recorded(state, "box1")
    done = subprocess.run([DEPLOYER, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert next in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_an_event_for_machines(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the failure is one line of JSON on standard output."""
    assert sandbox.main(["down", "nope", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["exit"]) == ("failed", 2)
    assert "nope" in told["message"]


def test_where_hosts_cannot_be_run_nothing_is_made(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without root and without Docker both commands say what is missing, before anything else is done."""
    monkeypatch.setattr("os.geteuid", lambda: state.directory.stat().st_uid)
    monkeypatch.setattr(
        "deployer.sandbox.backends.nspawn.unusable", lambda: SandboxError("no", hint="run it as root (sudo)")
    )
    monkeypatch.setattr(docker, "unusable", lambda _: SandboxError("no"))
    assert (sandbox.main(["up"]), demo.main([])) == (2, 2)
    told = capsys.readouterr().err
    assert told.count("Neither systemd-nspawn (which needs root on Linux) nor Docker can be used here.") == 2
    assert told.count("run it as root (sudo), or install and start Docker") == 2
    assert list(state.hosts.iterdir()) == []


def test_one_silent_engine_hides_no_other_host(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked once; its hosts are listed as unknown, the others as they are, and the exit code says it."""
    alive = OsProcess.current()
    recorded(state, "box1", init=alive)
    recorded(state, "box2", backend="docker", engine="unix:///gone.sock")
    recorded(state, "box3", backend="docker", engine="unix:///gone.sock")
    recorded(state, "box4")
    asked = []

    def silent(*_: object, **__: object) -> None:
        asked.append(1)
        raise SandboxError("The Docker engine at unix:///gone.sock does not answer.")

    monkeypatch.setattr(docker, "run", silent)
    monkeypatch.setattr(docker, "unusable", lambda _: None)
    assert sandbox.main(["list"]) == 3
    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert [(line[0], line[-1]) for line in lines[1:]] == [
        ("box1", "on"), ("box2", "unknown"), ("box3", "unknown"), ("box4", "died"),
    ]  # fmt: skip
    assert shown.out.splitlines()[0].index("ADDRESS") == shown.out.splitlines()[1].index("127.0.10.1")
    assert "unix:///gone.sock does not answer. So it is unknown whether box2, box3 run." in shown.err
    assert len(asked) == 1
    assert sandbox.main(["list", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)["hosts"]
    assert [host["state"] for host in found] == ["on", "unknown", "unknown", "died"]


def test_a_host_of_an_engine_that_is_gone_can_be_forgotten(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else its name would be taken for ever: plain `down` fails and says so, --force succeeds."""
    recorded(state, "box2", backend="docker", engine="unix:///gone.sock")
    monkeypatch.setattr(docker, "run", lambda *_, **__: (_ for _ in ()).throw(SandboxError("no answer")))
    assert sandbox.main(["down", "box2"]) == 2
    assert "deployer sandbox down box2 --force" in capsys.readouterr().err
    assert state.find("box2") is not None
    assert sandbox.main(["down", "box2", "--force"]) == 0
    assert state.find("box2") is None
    assert "box2" not in state.ssh_config.read_text()


def test_down_all_leaves_the_hosts_of_living_programs(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that runs beside keeps its host; what nobody owns goes, and one that cannot go does not keep the rest."""
    mine = OsProcess.current()
    recorded(state, "box1")
    recorded(state, "box2", owner=mine, init=mine)
    recorded(state, "box3", backend="docker", engine="unix:///gone.sock")
    recorded(state, "box4", phase="booting", maker=mine)
    recorded(state, "box5", phase="off")
    monkeypatch.setattr(docker, "run", lambda *_, **__: (_ for _ in ()).throw(SandboxError("no answer")))
    done = hosts.down_all()
    assert done.kept == {"box2": mine.pid, "box4": mine.pid}
    assert list(done.failed) == ["box3"]
    assert [record.name for record in state.records()] == ["box2", "box3", "box4"]


def test_the_first_signal_ends_and_later_ones_do_not_disturb_what_cleans_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C twice: what is in `finally` comes to its end, and the exit code tells the first signal."""
    cleaned = []
    before = signal.getsignal(signal.SIGINT)

    def body() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(30)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned.append(1)
        return 0

    assert ended(body, json=False, interrupted="nothing is left") == 128 + signal.SIGTERM
    assert cleaned == [1]
    assert "nothing is left" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bug_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw ends with 1, and not with a bare traceback."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert ended(lambda: 1 // 0, json=False, interrupted="") == 1
    assert "this is a bug of deployer: ZeroDivisionError" in capsys.readouterr().err


FAKE_MMDEBSTRAP = """#!/bin/sh
for target; do :; done
mkdir -p "$target/etc"
echo 'I: downloading packages with apt...'
(trap '' TERM; sleep 300) &
echo $! > "$target/child"
echo 'I: installing essential packages...'
sleep 300
"""


def test_ctrl_c_while_an_image_is_built_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the tree, nor a process of the builder's, be it one that ignores SIGTERM; and the lock is free."""
    binary = tmp_path / "bin/mmdebstrap"
    binary.parent.mkdir()
    binary.write_text(FAKE_MMDEBSTRAP)
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(commands, "GRACE_SECONDS", 0.5)
    images, told, children = tmp_path / "images", [], []

    def hear(text: str) -> None:
        told.append(text)
        if text.endswith("installing essential packages"):
            (tree,) = images.glob(".bookworm-*")
            child = OsProcess.of(int((tree / "child").read_text()))
            assert child is not None
            children.append(child)
            raise Stopped(signal.SIGINT)

    with pytest.raises(Stopped):
        image.ensure_tree(images, "bookworm", environment={}, progress=hear)
    assert [path.name for path in images.iterdir()] == ["bookworm.lock"]
    assert wait_until(lambda: not children[0].is_alive(), seconds=10)
    title = "building the bookworm image (once, about a minute)"
    assert told == [title, f"{title}: downloading packages with apt", f"{title}: installing essential packages"]


def test_a_build_that_fails_shows_what_was_said_and_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network mmdebstrap's own last lines are shown, and nothing of the image is left."""
    binary = tmp_path / "bin/mmdebstrap"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\necho \"E: Could not resolve 'deb.debian.org'\" >&2\nexit 25\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    with pytest.raises(SandboxError) as caught:
        image.ensure_tree(tmp_path / "images", "bookworm", environment={}, progress=lambda _: None)
    assert "`mmdebstrap` failed with status 25" in caught.value.problem
    assert "Could not resolve" in caught.value.console
    assert "deb.debian.org" in caught.value.hint
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["bookworm.lock"]


def test_too_small_a_disk_is_told_before_the_image_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is free of what is needed, and where else it can be put."""
    monkeypatch.setattr(space, "free_bytes", lambda _: 100 * space.MIB)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/mmdebstrap")
    with pytest.raises(SandboxError, match=r"100 MiB of 450 are free") as caught:
        image.ensure_tree(tmp_path, "bookworm", environment={}, progress=lambda _: None)
    assert "DEPLOYER_SANDBOX_DIR" in caught.value.hint


@pytest.mark.parametrize("error", [SandboxError("mount failed"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_disk_that_has_become_full_is_the_cause_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever failed for want of room says so, and which disk."""
    monkeypatch.setattr(space, "free_bytes", lambda _: 0)
    with pytest.raises(SandboxError, match="is full") as caught, space.watched(tmp_path):
        raise error
    assert str(tmp_path) in caught.value.problem


def test_what_fails_with_room_left_is_told_as_it_is(tmp_path: Path) -> None:
    """A full disk is claimed only where it was seen."""
    with pytest.raises(SandboxError, match="mount failed"), space.watched(tmp_path):
        raise SandboxError("mount failed")
    with pytest.raises(PermissionError), space.watched(tmp_path):
        raise PermissionError


def test_a_host_that_could_not_be_recorded_leaves_no_directory(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the first write does not keep the name taken."""

    class Engine:
        name = "nspawn"

        def endpoint(self, *_: object) -> object:
            from deployer.sandbox.backends.backend import Endpoint

            return Endpoint(address="127.0.10.1", ssh_port=22, http_port=80, listen="127.0.10.1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(registry.keys, "write_client_files", full)
    with pytest.raises(SandboxError, match="is full"):
        registry.register(state, Engine(), "box1", "bookworm", None, registry.Reservations())  # type: ignore[arg-type]
    assert list(state.hosts.iterdir()) == []


def test_whoever_waits_for_an_image_says_so(tmp_path: Path) -> None:
    """Two at once: the second tells that another builds, and then finds the image."""
    from deployer.sandbox.machine.locks import exclusive

    tree = image.tree_path(tmp_path, "bookworm", environment={})
    told: list[str] = []
    with exclusive(tmp_path / "bookworm.lock"):
        second = threading.Thread(
            target=image.ensure_tree, args=(tmp_path, "bookworm"), kwargs={"environment": {}, "progress": told.append}
        )
        second.start()
        assert wait_until(lambda: bool(told), seconds=10)
        tree.mkdir()
    second.join(10)
    assert told == ["waiting for another process that builds the bookworm image"]


def test_steps_are_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step once, as it begins; what is told of the same step is no line of its own."""
    with Steps() as steps:
        steps("building")
        steps("building: fetching")
        steps("booting")
    assert capsys.readouterr().err == "building\nbooting\n"


def test_the_list_of_tasks_names_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """`deployer --list` tells of the commands that are no tasks, and `fab --list` imports nothing of them."""
    done = subprocess.run([DEPLOYER, "--list"], capture_output=True, text=True)
    assert all(f"  {name} " in done.stdout for name in __main__.LOCAL)
    program = (
        "import sys; import deployer.tasks; "
        "print([name for name in sys.modules if name.startswith(('deployer.commands', 'deployer.sandbox'))])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_options_may_stand_before_the_command(state: State) -> None:
    """As `--dry` may before a task."""
    for words in (["--dry", "sandbox", "up"], ["sandbox", "up", "--dry"], ["-R", "demo"]):
        done = subprocess.run([DEPLOYER, *words], capture_output=True, text=True)
        assert (done.returncode, done.stdout[:6], done.stderr) == (0, "would ", "dry run: nothing was touched\n")


class Window(io.StringIO):
    """A terminal of 80 columns."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_the_figures_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine's, too, as one table; the last line sums requests and failures, and a lost one is told in red."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    step = "deploy a broken version 3"
    rows = [DemoStep(step="set up the host", seconds=40, release="", sent=0, failed=0)] + [
        DemoStep(step=step, seconds=95, release="v3 (code 2)", sent=2572, failed=lost, p50=29, p99=49, max=152)
        for lost in (0, 1)
    ]
    window = Window()
    demo_table(rows, stream=window)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", window.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"broken +1 min 35 s +v3 \(code 2\) +2,572 +1 +29 ms +49 ms +152 ms", "\n".join(lines))
    assert re.search(r"all of it +3 min 50 s +5,144 +1", "\n".join(lines))
    assert re.search(r"\x1b\[1;31m *1\x1b", window.getvalue())


def test_the_demos_app_is_whole() -> None:
    """What is deployed is in the package, and its code is Python that the oldest host can read."""
    files = {str(path.relative_to(APP)) for path in APP.rglob("*") if "__pycache__" not in path.parts}
    assert {"manage.py", "requirements.txt", "shop/wsgi.py", "shop/static/shop/site.css"} <= files
    for path in APP.rglob("*.py"):
        compile(path.read_text(), str(path), "exec")

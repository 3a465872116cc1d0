"""``fab`` that is forked is to its caller what the program is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.warmfab import DEPLOYER, FAB, Popen, Server

FABFILE = """\
import atexit, os, sys, threading, time
from pathlib import Path
from invoke import task

@task
def tell(c, exit=0):
    print(os.getcwd(), os.environ.get("COLOUR"), sys.stdin.read(), os.getpid(), os.getppid(), os.getsid(0))
    print("told", file=sys.stderr)
    sys.exit(exit)

@task
def leave(c):
    def later():
        time.sleep(0.2)
        sys.stdout.write("a thread")
    atexit.register(lambda: print(", then what was registered"))
    threading.Thread(target=later).start()
    sys.exit(3)

@task
def stay(c):
    try:
        Path("stays").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(9)
"""


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Popen, "server", server := Server())
        yield
    server.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "fabfile.py").write_text(FABFILE)
    return tmp_path


def test_a_call_is_a_process_of_its_own_and_a_child_of_the_caller(project: Path) -> None:
    """Directory, environment, input, both outputs, pid, parent, session and exit status are as they were asked for."""
    pipe = subprocess.PIPE
    with Popen(
        [FAB, "tell", "--exit=7"], cwd=project, env={**os.environ, "COLOUR": "green"},
        stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        out, err = process.communicate("asked")
    assert process.args[0] == FAB
    assert out.split() == [str(project), "green", "asked", str(process.pid), str(os.getpid()), str(process.pid)]
    assert (err, process.returncode) == ("told\n", 7)


def test_it_ends_as_an_interpreter_does(project: Path) -> None:
    """Threads are waited for, what was registered for the end is run, and nothing that was printed is lost."""
    with Popen([FAB, "leave"], cwd=project, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate()
    assert (out, process.returncode) == ("a thread, then what was registered\n", 3)


@pytest.mark.parametrize(("number", "exit"), [(signal.SIGINT, 9), (signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_signals_reach_it(project: Path, number: int, exit: int) -> None:
    """A signal to its pid does what it does to a program that was just started."""
    with Popen([FAB, "stay"], cwd=project) as process:
        while not (project / "stays").exists():
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == exit


def test_what_a_fork_cannot_give_is_really_started(project: Path) -> None:
    """Another interpreter's settings, a shell, descriptors to keep: the program itself is run."""
    server = Popen.server
    assert server is not None
    call = {"args": [FAB], "env": None, "cwd": None, "shell": False}
    assert server.can(call)
    assert server.can({**call, "args": (FAB, "status")})
    assert not server.can({**call, "env": {**os.environ, "PYTHONUTF8": "0"}})
    assert not server.can({**call, "env": {**os.environ, "LC_ALL": "C"}})
    assert not server.can({**call, "pass_fds": [3]})
    assert not server.can({**call, "args": ["ssh"]})
    assert not server.can({**call, "shell": True})
    assert not server.can({**call, "cwd": project / "absent"})


def test_a_wrong_command_line_is_explained_as_by_the_program(tmp_path: Path) -> None:
    """Our tasks change the ``fab`` that loads them: what is imported beforehand must not take that away."""
    (tmp_path / "fabfile.py").write_text("from deployer.tasks import namespace\n")
    pipe = subprocess.PIPE
    with Popen([FAB, "deplyo"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
        _, err = process.communicate()
    assert process.returncode == 2 and "fab deploy" in err


def test_deployer_is_the_program_of_its_own(tmp_path: Path) -> None:
    """Not ``fab``: it needs no fabfile, and has commands for this machine."""
    pipe = subprocess.PIPE
    with Popen([DEPLOYER, "--list"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=pipe, text=True) as process:
        out, _ = process.communicate()
    assert process.returncode == 0 and "On this machine alone:" in out
    with Popen([DEPLOYER, "sandbox", "dwon"], stdin=subprocess.DEVNULL, stderr=pipe, text=True) as process:
        _, err = process.communicate()
    assert process.returncode == 2 and "deployer sandbox --help" in err

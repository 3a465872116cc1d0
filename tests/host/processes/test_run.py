"""A command in the release that serves: what is accepted of it, and that it ends with whoever asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployer.host.errors import HostError
from deployer.host.processes import run
from deployer.host.processes.run import RunRequest
from deployer.host.system import journald, runner, systemd
from deployer.host.units.confinement import LINES, of_command
from deployer.wire.protocol import Exit
from deployer.wire.release.processes import Web

WEB = Web(server="gunicorn", target="shop.wsgi:application", workers=1, args=(), memory=0, unit=())


def test_words_stay_as_they_are() -> None:
    """Blanks, quotes, dollars, newlines: nobody reads them on the way."""
    words = ("sh", "-c", "echo $HOME; echo 'a  b'", "--", "", "a\nb", "%n", "\\")
    assert RunRequest.parse({"argv": list(words)}).argv == words


@pytest.mark.parametrize(
    ("shown", "told", "status"),
    [
        ("Result=success\nExecMainCode=1\nExecMainStatus=0", 0, 0),
        ("Result=exit-code\nExecMainCode=1\nExecMainStatus=42", 42, 42),
        ("Result=success\nExecMainCode=2\nExecMainStatus=15", 0, 143),
        ("Result=signal\nExecMainCode=2\nExecMainStatus=9", 255, 137),
        ("Result=core-dump\nExecMainCode=3\nExecMainStatus=11", 255, 139),
        ("Result=oom-kill\nExecMainCode=2\nExecMainStatus=9", 255, 137),
    ],
)
def test_how_it_ended(shown: str, told: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To systemd-run an end by SIGTERM is a success; to whoever asked for the command it is none."""
    monkeypatch.setattr(systemd, "systemctl", lambda *_: runner.CommandResult(0, shown, ""))
    assert run._status("x.service", told) == status


@pytest.mark.parametrize(
    ("shown", "told", "message"),
    [
        ("Result=timeout\nExecMainCode=2\nExecMainStatus=15", 1, "24 hours"),
        ("Result=resources\nExecMainCode=0\nExecMainStatus=0", 1, "did not start"),
        ("", 1, "did not start"),
        ("", 0, "is unknown"),
    ],
)
def test_an_end_without_a_status_is_a_failure(
    shown: str, told: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known to have gone well has not."""
    monkeypatch.setattr(systemd, "systemctl", lambda *_: runner.CommandResult(0, shown, ""))
    monkeypatch.setattr(journald, "own_lines", lambda *_: ["it said so"])
    with pytest.raises(HostError) as caught:
        run._status("x.service", told)
    assert message in caught.value.message
    assert caught.value.exit == Exit.BUG


def test_it_lives_under_the_apps_confinement() -> None:
    """Every line of the hardening, but for those that the app relaxes for itself."""
    assert of_command("run", WEB.unit) == list(LINES)
    relaxed = of_command("run", (("ProtectSystem", ("full",)), ("MemoryMax", ("1G",)), ("ExecStartPre", ("+/x",))))
    assert [value for name, value in relaxed if name == "ProtectSystem"] == ["full"]
    assert not {"MemoryMax", "ExecStartPre"} & {name for name, _ in relaxed}


WATCHED = """
import os, sys, time
from deployer.host.processes import run
run.HOLD = float(sys.argv[1])
with run.while_there_is_life():
    print("ready", flush=True)
    time.sleep(60)
"""


def watched(limit: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[3]
    argv: Sequence[str] = [sys.executable, "-c", WATCHED, limit]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_laptop_that_gives_no_sign_is_taken_for_gone() -> None:
    """The session ends, and with it what it runs, though the connection still stands."""
    with watched("0.5") as process:
        assert process.wait(30) == -15


def test_a_laptop_that_closes_its_end_is_gone() -> None:
    """At once, without waiting for the time limit."""
    with watched("1000") as process:
        assert process.stdin is not None
        process.stdin.write(b'{"op":"hold"}\n')
        process.stdin.close()
        assert process.wait(30) == -15

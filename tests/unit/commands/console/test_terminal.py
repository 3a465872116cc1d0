"""This machine's terminal while a command has it: restored whatever ends the process; what a host is told of it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.commands.console.session import _seconds
from deployer.commands.console.terminal import Escape, described
from deployer.errors import ConfigError

SCRIPT = """
import os, signal, sys, time
from deployer.commands.console.terminal import LocalTerminal
class Console:
    def give(self, data):
        os.write(1, b"<" + data + b">")
        return True
    def resize(self, rows, columns):
        os.write(1, b"[%d %d]" % (rows, columns))
with LocalTerminal() as terminal:
    terminal.serve(Console())
    os.write(1, b"ready")
    if sys.argv[1] == "raise":
        raise RuntimeError("bug")
    while True:
        time.sleep(0.05)
"""


@dataclass
class Held:
    """A process that has a terminal in the raw mode."""

    process: subprocess.Popen[bytes]
    ours: int
    theirs: int
    seen: bytes = b""

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 4096)

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON


def held(*arguments: str) -> Held:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[4],
        process_group=0,
    )
    return Held(process, ours, theirs)


@pytest.fixture
def terminal() -> Iterator[Held]:
    made = held("wait")
    made.wait_for(b"ready")
    yield made
    made.process.kill()
    made.process.wait()
    os.close(made.ours)
    os.close(made.theirs)


def test_every_key_goes_to_the_command(terminal: Held) -> None:
    """Ctrl-C, Ctrl-Z, Ctrl-D and Ctrl-\\ are keys like any other; nothing is echoed here."""
    assert terminal.is_raw
    os.write(terminal.ours, b"a\x03\x1a\x04\x1c")
    terminal.wait_for(b"\x1c>")
    assert b"".join(terminal.seen[5:].replace(b"><", b"").split()) == b"<a\x03\x1a\x04\x1c>"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_is_restored_before_a_signal_ends_the_process(terminal: Held, number: signal.Signals) -> None:
    """And the process ends by that signal, as it would have."""
    terminal.process.send_signal(number)
    assert terminal.process.wait(30) == -number
    assert not terminal.is_raw


def test_it_is_restored_while_the_process_is_stopped(terminal: Held) -> None:
    """SIGTSTP from outside; at SIGCONT it is the command's again, with the size that the window has now."""
    terminal.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert not terminal.is_raw
    termios.tcsetwinsize(terminal.theirs, (33, 99))
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for(b"[33 99]")
    assert terminal.is_raw


def test_it_is_restored_when_the_code_fails() -> None:
    """A bug of ours, a lost connection."""
    failing = held("raise")
    assert failing.process.wait(30) == 1
    assert not failing.is_raw


def test_a_new_size_of_the_window_is_told(terminal: Held) -> None:
    """SIGWINCH, with the size that the window has then."""
    termios.tcsetwinsize(terminal.theirs, (50, 132))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for(b"[50 132]")


def test_enter_tilde_dot_leaves(terminal: Held) -> None:
    """The way out when the connection hangs: as Ctrl-C would, with the terminal restored."""
    os.write(terminal.ours, b"\r~.")
    assert terminal.process.wait(30) in (-signal.SIGINT, 1, 130)
    assert not terminal.is_raw


@pytest.mark.parametrize(
    ("typed", "kept", "leaves"),
    [
        ([b"~."], b"", True),
        ([b"ls\r", b"~", b"."], b"ls\r", True),
        ([b"cd ~.\r"], b"cd ~.\r", False),
        ([b"~~."], b"~.", False),
        ([b"~", b"/x\r"], b"~/x\r", False),
        ([b"a~.b"], b"a~.b", False),
        ([b"\r~\x03"], b"\r~\x03", False),
    ],
)
def test_only_at_the_beginning_of_a_line_a_tilde_is_an_escape(typed: list[bytes], kept: bytes, leaves: bool) -> None:
    """As people know it from ssh; everything else reaches the command as it was typed."""
    escape = Escape()
    assert b"".join(escape.feed(one) for one in typed) == kept
    assert escape.leaves is leaves


def test_a_host_is_told_of_a_terminal_what_it_accepts() -> None:
    """Paths and odd values are left out: a host would refuse them."""
    told = described(
        {"TERM": "xterm-256color", "LANG": "de_DE.UTF-8", "LC_ALL": "/tmp/evil", "LC_TIME": "", "HOME": "/"}
    )
    assert told == {"term": "xterm-256color", "locale": {"LANG": "de_DE.UTF-8"}}
    assert described({"TERM": "../../x"})["term"] == described({})["term"] == "dumb"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("1w", 604800), ("1.5h", 5400)],
)
def test_a_time_limit_is_read(text: str, seconds: int) -> None:
    """With a unit, or in seconds."""
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "2w", "8d", "-5", "1.5s", "0.1h5", "99999999999"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    """With the option's name, and what to write."""
    with pytest.raises(ConfigError, match="--timeout") as caught:
        _seconds(text)
    assert "30m" in str(caught.value.next)

"""Why a host program did not start is told by what one more command on the host has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deployer.errors import ConfigError, DeployerError, Unreachable
from deployer.remote import startup
from deployer.remote.startup import Attempted
from deployer.ssh.channel import LongLineError

cause = pytest.mark.cause
WELL = "python=1\nsudo=1\nprogram=1\napp=1\nuser=deploy\nallowed=1\n"


class Channel:
    """What the command that looks around prints behind its mark; None: it hangs before that."""

    def __init__(self, facts: str | None) -> None:
        self.facts = facts

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close_stdin(self) -> None: ...

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        if self.facts is None:
            raise TimeoutError
        self.lines = [to + b"\n", *f"{self.facts}over=1\n".encode().splitlines(keepends=True)]
        return b"noise"

    def readline(self, deadline: float | None = None) -> bytes:
        return self.lines.pop(0) if self.lines else b""


class Link:
    host, user, is_root, by_hand = "web1", "deploy", False, "ssh deploy@web1"

    def __init__(self, facts: str | None, in_terminal: str = "") -> None:
        self.facts, self.in_terminal = facts, in_terminal

    def open(self, argv: Sequence[str], *, terminal: bool = False) -> Channel:
        return Channel(self.in_terminal if terminal else self.facts)


def told(link: Any, **attempted: Any) -> DeployerError:
    return startup.not_started(link, "shop", Attempted(**attempted))


class Hanging(Channel):
    """Prints what is known, and then nothing more: the disk that is asked for its room does not answer."""

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        self.lines = [to + b"\n", *str(self.facts).encode().splitlines(keepends=True)]
        return b""

    def readline(self, deadline: float | None = None) -> bytes:
        if not self.lines:
            raise TimeoutError
        return self.lines.pop(0)


def test_a_host_whose_disk_hangs_is_no_login_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our command began, so the login is well; that it never ended does not change that."""
    monkeypatch.setattr(Link, "open", lambda link, argv, terminal=False: Hanging(link.facts))
    error = startup.silent(Link(WELL), "shop", Attempted(), 60)  # type: ignore[arg-type]
    assert "its program has not answered within 60 s" in error.message


@cause("login-hangs")
def test_a_login_that_hangs_is_told_from_a_host_that_does() -> None:
    """No command of ours begins: something in the login waits."""
    error = startup.silent(Link(None), "shop", Attempted(noise=b"Last login: \x1b[31mtoday\n"), 60)  # type: ignore[arg-type]
    assert isinstance(error, Unreachable)
    assert "no command of ours begins within 15 s; it said: Last login: [31mtoday" in error.message


@cause("program-silent")
def test_a_program_that_hangs_where_others_run_is_the_hosts() -> None:
    """Its disk, or its memory, may be at the end."""
    error = startup.silent(Link(WELL), "shop", Attempted(), 60)  # type: ignore[arg-type]
    assert "its program has not answered within 60 s" in error.message
    assert "ssh deploy@web1 'uptime; df -h; free -m'" in error.next.commands


@cause("host-full")
def test_a_full_disk_is_named() -> None:
    """Where there is no room comes before that the program is damaged."""
    error = told(Link(f"{WELL}full=/var\n"), status=1)
    assert isinstance(error, ConfigError) and "the disk is full at /var" in error.message


def test_a_terminal_is_tried_before_it_is_asked_for() -> None:
    """requiretty is told only when sudo lets us in a terminal."""
    facts = WELL.replace("allowed=1\n", "")
    assert "sudo wants a terminal" in told(Link(facts, WELL)).message
    assert "sudo refuses" in told(Link(facts, facts)).message


def test_what_the_host_said_cannot_touch_the_terminal() -> None:
    """Nor does it flood it."""
    error = told(Link(WELL), status=1, stderr=b"\x1b[2J\x07bad \xff" + b"x" * 5000, noise=b"\n".join([b"line"] * 100))
    assert error.message.isprintable() and len(error.message) < 500
    assert len(error.logs) == 10 and all(line.isprintable() for line in error.logs)


def test_noise_that_never_ends_ends_the_look_around() -> None:
    """It is bounded there as well."""

    class Flood(Channel):
        def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
            raise LongLineError("too much", b"y\ny\n")

    class Flooded(Link):
        def open(self, argv: Sequence[str], *, terminal: bool = False) -> Channel:
            return Flood("")

    assert "no command of ours begins" in told(Flooded("")).message

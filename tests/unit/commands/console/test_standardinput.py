"""What is piped in: which kinds there are, and that each host gets all of it, once, at the pace of the slowest."""

from __future__ import annotations

import os
import pty
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from deployer.commands.console.standardinput import StandardInput, has_input
from deployer.wire.release.command import FRAME

PATIENCE = 30


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


class Taker:
    """A command on a host: what it got. It takes nothing while it is ``busy``."""

    def __init__(self) -> None:
        self.data = b""
        self.ended, self.full = threading.Event(), threading.Event()
        self.free = threading.Event()
        self.free.set()

    def give(self, data: bytes) -> bool:
        assert len(data) <= FRAME
        if not self.free.is_set():
            self.full.set()
        assert self.free.wait(PATIENCE)
        self.data += data
        return True

    def end_input(self) -> None:
        self.ended.set()


def test_files_pipes_and_sockets_are_input(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Whether anything is in them or not: a command that reads one waits, or reads its end, as everywhere."""
    assert has_input(pipe[0])
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        assert has_input(file.fileno())
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        assert has_input(ours.fileno())


def test_a_terminal_devnull_and_nothing_at_all_are_none() -> None:
    """What a person has typed ahead is for their shell; a closed descriptor may be anybody's by now."""
    ours, theirs = pty.openpty()
    assert not has_input(theirs)
    os.close(ours)
    os.close(theirs)
    assert not has_input(theirs)
    with Path(os.devnull).open() as nothing:
        assert not has_input(nothing.fileno())


def test_each_host_gets_all_of_it_once_all_have_begun(pipe: tuple[int, int]) -> None:
    """The one that begins last misses nothing, and the end comes to each."""
    one, two = Taker(), Taker()
    data = bytes(range(256)) * 1000
    threading.Thread(target=lambda: (os.write(pipe[1], data), os.close(pipe[1])), daemon=True).start()
    with StandardInput(["a", "b"], pipe[0]) as given:
        given.feed("a", one)  # type: ignore[arg-type]
        assert not one.ended.wait(0.2)
        assert one.data == b""
        given.feed("b", two)  # type: ignore[arg-type]
        assert one.ended.wait(PATIENCE) and two.ended.wait(PATIENCE)
    assert one.data == two.data == data


def test_the_slowest_sets_the_pace_until_it_is_over(pipe: tuple[int, int]) -> None:
    """A host that takes nothing holds up the others; when its command has ended they go on without it."""
    slow, quick = Taker(), Taker()
    slow.free.clear()
    data = b"x" * (4 * FRAME)
    threading.Thread(target=lambda: (os.write(pipe[1], data), os.close(pipe[1])), daemon=True).start()
    with StandardInput(["slow", "quick"], pipe[0]) as given:
        given.feed("slow", slow)  # type: ignore[arg-type]
        given.feed("quick", quick)  # type: ignore[arg-type]
        assert slow.full.wait(PATIENCE)
        assert len(quick.data) <= FRAME
        given.leave("slow")
        slow.free.set()
        assert quick.ended.wait(PATIENCE)
    assert quick.data == data
    assert not slow.ended.is_set()


def test_a_host_that_never_begins_is_not_waited_for(pipe: tuple[int, int]) -> None:
    """It could not be reached, or refused the command."""
    taker = Taker()
    os.write(pipe[1], b"hello\n")
    os.close(pipe[1])
    with StandardInput(["a", "b"], pipe[0]) as given:
        given.leave("b")
        given.feed("a", taker)  # type: ignore[arg-type]
        assert taker.ended.wait(PATIENCE)
    assert taker.data == b"hello\n"


def test_what_nobody_takes_any_more_stays_where_it_is(pipe: tuple[int, int]) -> None:
    """The rest of a pipe is for whoever reads it next, as in a loop of the shell."""
    taker = Taker()
    with StandardInput(["a"], pipe[0]) as given:
        given.feed("a", taker)  # type: ignore[arg-type]
    os.write(pipe[1], b"for the next\n")
    assert not taker.ended.wait(0.1) or taker.data == b""
    assert os.read(pipe[0], 100) == b"for the next\n"

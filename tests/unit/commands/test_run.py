"""Whether something was handed in: what a pipe, a file, a terminal, cron and CI look like."""

from __future__ import annotations

import os
import pty
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from deployer.commands.run import has_input


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def test_a_pipe_has_input_once_there_are_bytes_in_it(pipe: tuple[int, int]) -> None:
    """One that nobody has written to has none, and is not waited for; looking takes nothing out of it."""
    assert not has_input(pipe[0])
    os.write(pipe[1], b"print(1)\n")
    assert has_input(pipe[0]) and has_input(pipe[0])
    os.close(pipe[1])
    assert has_input(pipe[0])
    assert os.read(pipe[0], 100) == b"print(1)\n"
    assert not has_input(pipe[0])


def test_a_pipe_that_was_closed_without_a_word_has_none(pipe: tuple[int, int]) -> None:
    """As cron hands it over."""
    os.close(pipe[1])
    assert not has_input(pipe[0])


def test_a_file_has_what_was_not_read_yet(tmp_path: Path) -> None:
    """An empty one, and one that was read to its end, as by ``while read``, have none."""
    path = tmp_path / "hosts"
    path.write_text("")
    with path.open("rb", buffering=0) as file:
        assert not has_input(file.fileno())
        path.write_text("web1\nweb2\n")
        assert has_input(file.fileno())
        file.read()
        assert not has_input(file.fileno())


def test_a_socket_is_like_a_pipe() -> None:
    """Some CI runners and ssh servers hand over one; its end is no input."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        assert not has_input(ours.fileno())
        theirs.send(b"x")
        assert has_input(ours.fileno())
        ours.recv(1)
        theirs.close()
        assert not has_input(ours.fileno())


def test_a_terminal_devnull_and_nothing_at_all_have_none() -> None:
    """What a person has typed ahead is for their shell."""
    ours, theirs = pty.openpty()
    os.write(ours, b"typed ahead\n")
    assert not has_input(theirs)
    os.close(ours)
    os.close(theirs)
    assert not has_input(theirs)
    with Path(os.devnull).open() as nothing:
        assert not has_input(nothing.fileno())

"""Asks the person at the terminal, one question at a time for all threads."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from deployer.events import Event, Warn
from deployer.ssh.options import Question

__all__ = ["Prompt", "prompt", "to_stderr"]

_TERMINAL = "/dev/tty"
_LONGEST = 4096
"""Bytes of an answer: a terminal gives no longer line."""
_LFLAG = 3


class Prompt:
    """Asks at the terminal, not at standard input, and remembers answers that count once. For several threads.

    ``aside`` is entered while a question stands there: nobody else may draw on the terminal then.
    """

    def __init__(self, aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._aside = aside
        self._lock = threading.Lock()
        self._answers: dict[str, str | None] = {}
        self._open: tuple[int, list[Any]] | None = None
        self._closed = False

    def __call__(self, question: Question, wrong: str | None = None, /) -> str | None:
        with self._lock:
            if question.text in self._answers and (wrong is None or self._answers[question.text] != wrong):
                return self._answers[question.text]
            answer = None if self._closed else self._ask(question, again=wrong is not None)
            if question.once:
                self._answers[question.text] = answer
            return answer

    def close(self) -> None:
        """No more questions. One that stands there, asked by a thread that hangs at it, gives the terminal back."""
        self._closed = True
        standing, self._open = self._open, None
        if standing is not None:
            descriptor, before = standing
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
                os.write(descriptor, b"\n")

    def _ask(self, question: Question, *, again: bool) -> str | None:
        with self._aside(), _terminal() as descriptor:
            if descriptor is None:
                return None
            with self._silent(descriptor) if question.secret else nullcontext():
                os.write(descriptor, _shown(question, again=again))
                line = _line(descriptor)
            if question.secret or not line.endswith(b"\n"):
                os.write(descriptor, b"\n")  # what ended the answer was not shown
            return line[:-1].decode("utf-8", "surrogateescape") if line.endswith(b"\n") else None

    @contextmanager
    def _silent(self, descriptor: int) -> Iterator[None]:
        """What is typed is not shown. What was typed before the question is no answer to it."""
        before = termios.tcgetattr(descriptor)
        silent = list(before)
        silent[_LFLAG] &= ~termios.ECHO
        self._open = descriptor, before
        atexit.register(self.close)
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        try:
            yield
        finally:
            if self._open is not None:
                self._open = None
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def prompt(aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> Prompt | None:
    """A Prompt where there is a person to ask: one who sees or types something at this process's own terminal."""
    if not ((sys.stdin is not None and sys.stdin.isatty()) or sys.stderr.isatty()):
        return None
    with _terminal() as descriptor:
        return None if descriptor is None else Prompt(aside)


@contextmanager
def _terminal() -> Iterator[int | None]:
    """This process's terminal; None when it has none, or is in the background: to ask would stop it there."""
    try:
        descriptor = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        yield None
        return
    try:
        yield descriptor if _in_front(descriptor) else None
    finally:
        os.close(descriptor)


def _in_front(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def _line(descriptor: int) -> bytes:
    """A line, with its newline; without one where the input ends."""
    line = b""
    while not line.endswith(b"\n") and (data := os.read(descriptor, _LONGEST)):
        line += data
    return line


def _shown(question: Question, *, again: bool) -> bytes:
    """``web1: passphrase for /home/ada/.ssh/id_ed25519: ``. What a host wants said cannot touch the terminal."""
    lines = [line for line in question.note.splitlines() if line.strip()]
    where = f"{question.host}: " if question.host else ""
    text = question.text.strip().removesuffix(":")
    lines.append(f"{where}{'wrong, once more: ' if again else ''}{text}: ")
    return "\n".join("".join(one if one.isprintable() else " " for one in line) for line in lines).encode()


def to_stderr(event: Event) -> None:
    """A Reporter for tasks that have none: warnings only."""
    if isinstance(event, Warn):
        sys.stderr.write(f"{event.host}: {event.text}\n")

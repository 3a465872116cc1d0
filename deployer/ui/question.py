"""The question at Ctrl-C while a host works: stop watching, abort, or keep following."""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from deployer.remote.decision import Decide, Decision
from deployer.ui.style.text import clean

__all__ = ["Part", "Pausable", "Pause", "on_interrupt"]

TRIES = 3
ANSWERS = {
    "": Decision.LEAVE,
    "l": Decision.LEAVE,
    "leave": Decision.LEAVE,
    "a": Decision.ABORT,
    "abort": Decision.ABORT,
    "f": Decision.FOLLOW,
    "follow": Decision.FOLLOW,
}
CHOICES = (
    ("Enter", "stop watching: the host finishes alone (fab attach to follow it again)"),
    ("a", "abort: undo what was done; the old release serves"),
    ("f", "keep following"),
)
OF_A_FLEET = (
    ("Enter", "keep following"),
    ("a", "abort: undo what the hosts did; the old release serves on all of them"),
    ("l", "stop watching: hosts that have switched keep it, the others discard it"),
)
"""Several hosts do not finish without this machine: Enter does not leave them."""

Part = str | tuple[str, str]
"""A text, or a text and its style."""


class Pause:
    """The terminal during a question. ``put(end, *parts)`` writes; ``lines`` counts the lines written so far."""

    def __init__(self, put: Callable[..., None]) -> None:
        self._put = put
        self.lines = 0

    def say(self, *parts: Part) -> None:
        self._put("\n", *parts)
        self.lines += 1

    def ask(self, stdin: TextIO) -> str:
        """What is typed, with its newline; empty at the end of the input and at Ctrl-C."""
        self._put("", ("? ", "bold"))
        try:
            typed = stdin.readline()
        except KeyboardInterrupt:
            typed = ""
        if not typed.endswith("\n"):
            self._put("\n")
        self.lines += 1
        return typed


class Pausable(Protocol):
    """A reporter that can hand over the terminal for a while."""

    def pause(self) -> AbstractContextManager[Pause]: ...


def on_interrupt(report: Pausable, *, fleet: bool = False, stdin: TextIO | None = None) -> Decide:
    """Asks the person who pressed Ctrl-C. The end of the input and another Ctrl-C stop watching; so does Enter, but for
    several hosts."""
    choices = OF_A_FLEET if fleet else CHOICES
    goes_on = "and the hosts continue" if fleet else "and the host continues"
    usual = Decision.FOLLOW if fleet else Decision.LEAVE

    def decide(doing: str) -> Decision:
        keyboard = stdin or sys.stdin
        with report.pause() as pause:
            _forget_typed(keyboard)
            pause.say()
            pause.say((f"{clean(doing)}, {goes_on}.", "bold"))
            pause.say(("Stop watching, abort, or keep following?", "bold"))
            for key, meaning in choices:
                pause.say((f"  {key:<6}", "bold cyan"), meaning)
            return _answer(pause, keyboard, {**ANSWERS, "\n": usual}, "/".join(key for key, _ in choices))

    return decide


def _answer(pause: Pause, stdin: TextIO, answers: Mapping[str, Decision], keys: str) -> Decision:
    """``answers`` has the meaning of Enter under a newline; an empty text is the end of the input."""
    for _ in range(TRIES):
        typed = pause.ask(stdin)
        decision = answers.get(typed.strip().lower() or typed)
        if decision is not None:
            return decision
        pause.say(f"please type one of {keys}")
    return Decision.LEAVE


def _forget_typed(stdin: TextIO) -> None:
    """Discard what was typed before the question."""
    try:
        termios.tcflush(stdin.fileno(), termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):
        return

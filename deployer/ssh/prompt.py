"""Asking the person at the terminal, once, whoever wants to know."""

from __future__ import annotations

import getpass
import sys
import threading

from deployer.events import Event, Warn


class Prompt:
    """Asks each question once and remembers the answer; safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, str | None] = {}

    def __call__(self, question: str) -> str | None:
        with self._lock:
            if question not in self._answers:
                try:
                    self._answers[question] = getpass.getpass(question) or None
                except EOFError:
                    self._answers[question] = None
            return self._answers[question]


def to_stderr(event: Event) -> None:
    """A Reporter for tasks that have none: warnings only."""
    if isinstance(event, Warn):
        sys.stderr.write(f"{event.host}: {event.text}\n")

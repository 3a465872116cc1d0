"""A reporter that is suspended while a person is asked: one event at a time, and none meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from deployer.events import Event

__all__ = ["SuspendableReporter"]


class SuspendableReporter:
    """Takes events from any thread, in order and one at a time; in an ``aside`` they wait for its end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = Lock()
        self._asides, self._closed = 0, False
        self._waiting: deque[tuple[Event, float]] = deque()

    def __call__(self, event: Event) -> None:
        with self._turn:
            self._waiting.append((event, self._clock()))
            if not self._asides:
                self._take_all()

    def close(self) -> None:
        """Take what still waits, and finish. What comes later is dropped."""
        with self._turn:
            self._asides = 0
            self._take_all()
            self._closed = True
            self._finish()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is drawn or printed, for something else writes to the terminal; that stays."""
        with self._turn:
            if not self._asides:
                self._suspend()
            self._asides += 1
        try:
            yield
        finally:
            with self._turn:
                self._asides = max(self._asides - 1, 0)
                if not self._asides and not self._closed:
                    self._resume()
                    self._take_all()

    def _take_all(self) -> None:
        while self._waiting and not self._closed:
            self._take(*self._waiting.popleft())

    # What a reporter defines; each is called with ``_turn`` locked.

    def _take(self, event: Event, now: float) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Print what is left to be said at the end."""

    def _suspend(self) -> None:
        """The first ``aside`` begins."""

    def _resume(self) -> None:
        """The last ``aside`` is over."""

"""Plain lines for logs and pipes: one a thing that happened, no colours, no cursor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TextIO

from deployer import events as ev
from deployer.ui.plain.lines import marks_for
from deployer.ui.plain.log import Log
from deployer.ui.question import Part, Pause
from deployer.ui.stream import safe

__all__ = ["Held", "PlainReporter"]

BEAT = 1.0
"""Seconds between two looks at whether a log has been silent for too long."""


class Held:
    """What a reporter of lines does while something is asked: it keeps what comes, and writes it after."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asides = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is written meanwhile."""
        with self._lock:
            self._asides += 1
        try:
            yield
        finally:
            with self._lock:
                self._asides -= 1
                if not self._asides:
                    self._take_all()

    def _take_all(self) -> None:
        """Write all that was kept; the lock is held."""
        raise NotImplementedError


class PlainReporter(Held):
    """Writes the lines of a log. With several hosts a thread sees to it that the log is never silent for long."""

    def __init__(
        self,
        stream: TextIO,
        *,
        title: str = "",
        hosts: Sequence[str] = (),
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._stream, self._clock = safe(stream), clock
        self._log = Log(title=title, hosts=hosts, verbose=verbose, marks=marks_for(stream))
        self._over = Event()
        self._waiting: deque[tuple[ev.Event, float]] = deque()
        self._heart = Thread(target=self._beat, daemon=True, name="log") if len(hosts) > 1 else None

    def __call__(self, event: ev.Event) -> None:
        with self._lock:
            self._waiting.append((event, self._clock()))
            if not self._asides:
                self._take_all()

    def _take_all(self) -> None:
        while self._waiting:
            event, now = self._waiting.popleft()
            self._write(self._log.lines(event, now))
            if self._heart and not self._heart.is_alive() and not self._over.is_set():
                self._heart.start()

    def close(self) -> None:
        """Print what was held back."""
        self._over.set()
        with self._lock:
            self._take_all()
            self._write(self._log.rest(self._clock()))

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with self._lock:
                if not self._over.is_set() and not self._asides:
                    self._write(self._log.beat(self._clock()))

    def _write(self, lines: Iterator[str]) -> None:
        self._stream.write("".join(line.rstrip() + "\n" for line in lines))
        self._stream.flush()

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """No line comes between a question and its answer."""
        with self.aside():
            yield Pause(self._put)

    def _put(self, end: str, *parts: Part) -> None:
        self._stream.write("".join(part if isinstance(part, str) else part[0] for part in parts) + end)
        self._stream.flush()

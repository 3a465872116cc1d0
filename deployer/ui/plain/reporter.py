"""The reporter for logs and pipes: plain lines, no colours, no cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO

from deployer import events as ev
from deployer.ui.plain.lines import marks_for
from deployer.ui.plain.log import Log
from deployer.ui.question import Part, Pause
from deployer.ui.stream import safe
from deployer.ui.suspendable import SuspendableReporter

__all__ = ["PlainReporter"]

BEAT = 1.0
"""Seconds between two checks whether the log has been silent for too long."""


class PlainReporter(SuspendableReporter):
    """Writes the lines of a log. With several hosts a thread writes where they are after a silence."""

    def __init__(
        self,
        stream: TextIO,
        *,
        title: str = "",
        hosts: Sequence[str] = (),
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._stream = safe(stream)
        self._log = Log(title=title, hosts=hosts, verbose=verbose, marks=marks_for(stream))
        self._over = Event()
        self._heart = Thread(target=self._beat, daemon=True, name="log") if len(hosts) > 1 else None

    def _take(self, event: ev.Event, now: float) -> None:
        self._write(self._log.lines(event, now))
        if self._heart and not self._heart.is_alive() and not self._over.is_set():
            self._heart.start()

    def _finish(self) -> None:
        self._over.set()
        self._write(self._log.rest(self._clock()))

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with self._turn:
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

"""The reporter for terminals: draws the view in place, and prints above it what is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.text import Text

from deployer import events as ev
from deployer.ui.live.frame import Frame
from deployer.ui.live.view import View
from deployer.ui.question import Part, Pause
from deployer.ui.stream import safe
from deployer.ui.suspendable import SuspendableReporter

__all__ = ["LiveReporter", "console_on"]


def console_on(stream: TextIO, *, width: int | None = None) -> Console:
    """A console that interprets nothing in the text it is given."""
    return Console(file=safe(stream), width=width, markup=False, highlight=False, emoji=False)


class LiveReporter(SuspendableReporter):
    """Draws a view in place; when the command has ended, leaves what is to stay of it.

    Two locks, always taken in this order: ``_turn`` for one event at a time, ``_state`` around the view's state, which
    the drawing thread reads. Nothing is printed under ``_state``. A question holds ``_floor``.
    """

    def __init__(
        self,
        console: Console,
        *,
        title: str = "",
        hosts: Sequence[str] = (),
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._console, self._view = console, View(title=title, hosts=hosts, verbose=verbose)
        self._live: Frame | None = None
        self._was_live = False
        self._state, self._floor = Lock(), Lock()

    def _take(self, event: ev.Event, now: float) -> None:
        with self._state:
            self._view.apply(event, now)
        if isinstance(event, (ev.Connecting, ev.PhaseStarted)):
            self._start()
        if self._view.ends_live(event):
            self._stop()
        self._view.say(event, self._console)
        if self._view.settled():
            self._finish()

    def _finish(self) -> None:
        self._stop()
        self._view.settle(self._console, self._clock())

    def _suspend(self) -> None:
        self._was_live = self._live is not None
        self._stop()

    def _resume(self) -> None:
        if self._was_live:
            self._start()

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """The view stands still above a question; afterwards both are erased, and the view goes on."""
        pause = Pause(self._put)
        with self._floor, self.aside():
            frame = self._frame()
            for line in frame:
                self._put("\n", line)
            try:
                yield pause
            finally:
                self._console.file.write(f"\x1b[{len(frame) + pause.lines}A\r\x1b[J")

    def _put(self, end: str, *parts: Part | Text) -> None:
        self._console.print(Text.assemble(*parts), end=end, no_wrap=True, overflow="ellipsis")

    def draw(self) -> RenderableType:
        """What is on the screen now."""
        return Group(*self._frame())

    def _frame(self) -> list[Text]:
        with self._state:
            return self._view.frame(self._clock(), *self._console.size)

    def _start(self) -> None:
        if self._live is None:
            self._live = Frame(self._console, self._frame)
            self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

"""The live view for terminals: what the hosts are doing, in place; what was said stays above it."""

from __future__ import annotations

import time
from collections import deque
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

__all__ = ["LiveReporter", "console_on"]


def console_on(stream: TextIO, *, width: int | None = None) -> Console:
    """A console that interprets nothing in the text it is given."""
    return Console(file=safe(stream), width=width, markup=False, highlight=False, emoji=False)


class LiveReporter:
    """Draws a view in place; when the command has ended, leaves what is to stay of it.

    Two locks, always taken in this order: ``_turn`` for one event at a time, ``_state`` around the view's state,
    which the drawing thread reads. Nothing is printed under ``_state``. ``_floor`` is held by a question.
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
        self._console, self._clock = console, clock
        self._view = View(title=title, hosts=hosts, verbose=verbose)
        self._live: Frame | None = None
        self._closed, self._asides, self._was_live = False, 0, False
        self._turn, self._state, self._floor = Lock(), Lock(), Lock()
        self._waiting: deque[tuple[ev.Event, float]] = deque()

    def __call__(self, event: ev.Event) -> None:
        with self._turn:
            self._waiting.append((event, self._clock()))
            if not self._asides:
                self._take_all()

    def _take_all(self) -> None:
        while self._waiting and not self._closed:
            self._take(*self._waiting.popleft())

    def _take(self, event: ev.Event, now: float) -> None:
        with self._state:
            self._view.apply(event, now)
        if isinstance(event, (ev.Connecting, ev.PhaseStarted)):
            self._start()
        if self._view.ends_live(event):
            self._stop()
        self._view.say(event, self._console)
        if self._view.settled():
            self._settle()

    def close(self) -> None:
        """Give the terminal back, and print all that was held."""
        with self._turn:
            self._asides = 0
            self._take_all()
            self._closed = True
            self._settle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is drawn or printed: the terminal is somebody else's, and what they write there stays."""
        with self._turn:
            if not self._asides:
                self._was_live = self._live is not None
                self._stop()
            self._asides += 1
        try:
            yield
        finally:
            with self._turn:
                self._asides = max(self._asides - 1, 0)
                if not self._asides and not self._closed:
                    if self._was_live:
                        self._start()
                    self._take_all()

    @contextmanager
    def pause(self) -> Iterator[Pause]:
        """The view stands still, and the terminal is somebody else's; afterwards what they said is wiped away."""
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

    def _settle(self) -> None:
        self._stop()
        self._view.settle(self._console, self._clock())

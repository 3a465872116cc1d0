"""Which hosts have not answered yet: one line on a terminal, for commands that print nothing before the last answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread

from rich.console import Console
from rich.text import Text

from deployer import events as ev
from deployer.ui.live.frame import Frame
from deployer.ui.style.names import Names
from deployer.ui.style.paint import cut, spinner
from deployer.ui.style.text import clean, seconds

__all__ = ["WaitingLine"]

PATIENCE = 0.5
"""Seconds before the line appears."""


class WaitingLine:
    """Draws the line while hosts are awaited; erases it while anything else is printed (``aside``), and at the end.

    With ``streams`` a host is awaited only until it is connected: it prints whenever it has something.
    """

    def __init__(
        self,
        console: Console,
        hosts: Sequence[str],
        *,
        streams: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._clock, self._streams = console, clock, streams
        self._names, self._begun = Names(hosts), clock()
        self._waiting = dict.fromkeys(hosts, "connecting")
        self._doing = ""
        self._live: Frame | None = None
        self._asides, self._may_draw = 0, False
        self._lock, self._over = Lock(), Event()
        Thread(target=self._begin, daemon=True, name="awaited").start()

    def __call__(self, event: ev.Event) -> None:
        """Note how far a host is."""
        with self._lock:
            match event:
                case ev.Connected() if not self._streams:
                    if event.host in self._waiting:
                        self._waiting[event.host] = "asked"
                case ev.PhaseStarted():
                    self._doing = f"{clean(event.phase)} {clean(event.detail)}".strip()
                case ev.PhaseDone():
                    self._doing = ""
                case ev.Connected() | ev.Failed() | ev.Finished() | ev.Logs() | ev.Output():
                    self._waiting.pop(event.host, None)
            self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line is erased while something else writes to the terminal."""
        with self._lock:
            self._asides += 1
            self._stop()
        try:
            yield
        finally:
            with self._lock:
                self._asides -= 1
                self._draw()

    def close(self) -> None:
        """Erase the line for good."""
        self._over.set()
        with self._lock:
            self._may_draw = False
            self._stop()

    def lines(self) -> list[Text]:
        """``waiting for web3 (connecting), web7  4 s``."""
        now, width = self._clock(), self._console.width
        waiting = dict(self._waiting)
        took = f"  {seconds(now - self._begun)}"
        text = Text.assemble("  ", (spinner(now), "cyan"), " ")
        connecting = [host for host, state in waiting.items() if state == "connecting"]
        what = "connecting to" if len(connecting) == len(waiting) else "waiting for"
        if self._doing:
            text.append(self._doing)
        else:
            text.append(f"{what} {self._names.fitting(list(waiting), width - len(what) - len(took) - 6)}")
        text.truncate(max(width - len(took), 4), overflow="ellipsis")
        return [cut(text.append(took, style="dim"), width)]

    def _begin(self) -> None:
        if not self._over.wait(PATIENCE):
            with self._lock:
                self._may_draw = not self._over.is_set()
                self._draw()

    def _draw(self) -> None:
        wanted = self._may_draw and not self._asides and bool(self._waiting)
        if wanted and self._live is None:
            self._live = Frame(self._console, self.lines)
            self._live.start()
        elif not wanted:
            self._stop()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

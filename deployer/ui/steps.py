"""The steps of a command on this machine, on standard error: each as it begins, and how long it takes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from deployer.ui import is_live
from deployer.ui.stream import safe
from deployer.ui.text import clean, seconds

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

__all__ = ["Steps"]

BEAT = 10.0
"""Seconds without a line, where nothing is drawn in place, after which there is one."""


class Steps:
    """Called with a text it begins a step; ``TITLE: MORE`` tells more of the step ``TITLE``. A context manager.

    On a terminal the step at work is drawn in place, with its seconds; one that is over stays as a line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._title = self._detail = ""
        self._since = 0.0
        self._over = threading.Event()
        self._screen = _Screen(self._stream, self._line) if is_live(self._stream) else None
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Steps:
        if self._screen is None:
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._settle("✗" if kind else "✓")
        if self._beating is not None:
            self._beating.join()

    def __call__(self, text: str) -> None:
        if self._title and text.startswith(f"{self._title}: "):
            self._detail = text[len(self._title) + 2 :]
            return
        self._settle("✓")
        self._since = time.monotonic()
        self._title, self._detail = text, ""
        if self._screen is None:
            self._write(text)
        else:
            self._screen.start()

    def _settle(self, mark: str) -> None:
        """End the step at work: on a terminal its line stays."""
        title, self._title = self._title, ""
        if self._screen is not None and title:
            self._screen.stop()
            self._write(f"{mark} {title}  {seconds(time.monotonic() - self._since)}")

    def _line(self) -> str:
        detail = f"  {self._detail}" if self._detail else ""
        return f"{self._title}  {seconds(time.monotonic() - self._since)}{detail}"

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            if title := self._title:
                took = seconds(time.monotonic() - self._since)
                self._write(f"still {title}{f': {self._detail}' if self._detail else ''} ({took})")

    def _write(self, text: str) -> None:
        stream = safe(self._stream)
        stream.write(f"{clean(text)}\n")
        stream.flush()


class _Screen:
    """The one line that is drawn in place."""

    def __init__(self, stream: TextIO, line: Callable[[], str]) -> None:
        self._stream = stream
        self._line = line
        self._live: Live | None = None

    def start(self) -> None:
        from rich.live import Live

        from deployer.ui.live.reporter import console_on

        console = console_on(self._stream)
        self._live = Live(console=console, get_renderable=self._draw, transient=True, refresh_per_second=8)
        self._live.start(refresh=True)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> Text:
        from rich.text import Text

        mark = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(time.monotonic() * 8) % 10]
        return Text(f"{mark} {clean(self._line())}", no_wrap=True, overflow="ellipsis")

"""The steps of a command on this machine, on standard error: each as it begins, and how long it takes."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from deployer.ui import is_live
from deployer.ui.stream import safe
from deployer.ui.style.text import clean, seconds

if TYPE_CHECKING:
    from deployer.ui.live.frame import Frame

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
        self._live = is_live(self._stream)
        self._frame: Frame | None = None
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Steps:
        if not self._live:
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
        if self._live:
            self._draw()
        else:
            self._write(text)

    def _settle(self, mark: str) -> None:
        """End the step at work: on a terminal its line stays."""
        title, self._title = self._title, ""
        if self._frame is not None:
            self._frame.stop()
            self._frame = None
            self._write(f"{mark} {title}  {seconds(time.monotonic() - self._since)}")

    def _draw(self) -> None:
        from rich.text import Text

        from deployer.ui.live.frame import Frame
        from deployer.ui.live.reporter import console_on
        from deployer.ui.style.paint import cut, spinner

        console = console_on(self._stream)

        def lines() -> list[Text]:
            now = time.monotonic()
            took = seconds(now - self._since)
            return [cut(Text(f"{spinner(now)} {clean(self._title)}  {took}  {clean(self._detail)}"), console.width)]

        self._frame = Frame(console, lines)
        self._frame.start()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            if title := self._title:
                took = seconds(time.monotonic() - self._since)
                self._write(f"still {title}{f': {self._detail}' if self._detail else ''} ({took})")

    def _write(self, text: str) -> None:
        stream = safe(self._stream)
        stream.write(f"{clean(text)}\n")
        stream.flush()

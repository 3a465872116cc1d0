"""A terminal without a person: what the live view draws, and all it has printed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from rich.console import Console

from deployer import events as ev
from deployer.ui.live.reporter import LiveReporter
from deployer.ui.stream import safe

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A terminal that remembers all that was written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Live:
    """A live view on an 80-column terminal; ``screen`` is what it draws, ``text`` all it printed."""

    def __init__(self, *, height: int = 30, verbose: bool = False, hosts: Sequence[str] = ()) -> None:
        self.file, self.clock = Terminal(), Clock()
        self.console = Console(
            file=safe(self.file), width=80, height=height, force_terminal=True, _environ={"TERM": "xterm"}
        )
        self.report = LiveReporter(
            self.console, title="deploy shop", hosts=hosts or ("web1",), verbose=verbose, clock=self.clock
        )

    def feed(self, events: Iterable[ev.Event]) -> Live:
        for event in events:
            self.report(event)
        return self

    def screen(self) -> list[str]:
        quiet = Console(file=io.StringIO(), width=80)
        with quiet.capture() as capture:
            quiet.print(self.report.draw())
        return [line.rstrip() for line in capture.get().splitlines()]

    def text(self) -> str:
        self.report.close()
        return ANSI.sub("", self.file.getvalue())

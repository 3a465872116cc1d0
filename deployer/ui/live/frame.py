"""Lines that are drawn again and again in the same place of a terminal, also when its window is resized."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console, ConsoleRenderable, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

__all__ = ["Frame"]


class Frame(Live):
    """Draws what ``lines`` returns, several times a second, and erases it at the end.

    A terminal that becomes narrower folds long lines; the rows this adds are erased, too. The cursor rests at the
    beginning of the last line, so that the ``^C`` which a terminal echoes adds no row to a line as wide as the window.
    """

    def __init__(self, console: Console, lines: Callable[[], list[Text]]) -> None:
        self._lines = lines
        self._next: list[Text] = []
        self._drawn: list[int] = []
        super().__init__(
            console=console,
            refresh_per_second=12.5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=console.file is sys.stderr,
        )

    def get_renderable(self) -> RenderableType:
        self._next = self._lines()
        return Group(*self._next)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        with self._lock:
            drawn = super().process_renderables(renderables)
            return [self._unfolded(), *drawn, Control(ControlType.CARRIAGE_RETURN)]

    def _unfolded(self) -> Control:
        """Erases the rows that folding added: those of the last line are below the cursor."""
        width = self.console.width
        folds = [max(length - 1, 0) // width for length in self._drawn]
        self._drawn = [min(line.cell_len, width) for line in self._next]
        below = [(ControlType.CURSOR_DOWN, folds[-1])] if folds and folds[-1] else []
        return Control(*below, *((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * sum(folds))

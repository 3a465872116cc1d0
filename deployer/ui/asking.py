"""Questions in a terminal, each with an answer that Enter takes. They go to standard error, as all for people."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from deployer.ui.style.text import clean

__all__ = ["Terminal", "is_terminal", "show_lines"]

_TRIES = 3
_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def show_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines; in a terminal those that are no command, which are indented, are wrapped between words."""
    out = stream or sys.stdout
    width = shutil.get_terminal_size().columns if out.isatty() else 0
    for line in (one for text in lines for one in text.split("\n")):
        whole = not width or line.startswith(" ") or len(line) <= width
        rows = [line] if whole else textwrap.wrap(line, width, subsequent_indent="  ", **_WORDS)
        out.write("".join(f"{clean(row)}\n" for row in rows))


class Terminal:
    """Who sits at the terminal. The end of the input is Enter, and so is a third answer that does not fit."""

    present = True

    def __init__(self, stdin: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdin = stdin or sys.stdin
        self._stderr = stderr or sys.stderr

    def tell(self, lines: Sequence[str]) -> None:
        """Say something before a question."""
        show_lines(lines, self._stderr)

    def ask(self, question: str, default: str, fits: Callable[[str], str]) -> str:
        """The answer; ``fits`` says what is wrong with one, or nothing."""
        for _ in range(_TRIES):
            self._stderr.write(f"{clean(question)}{f' [{clean(default)}]' if default else ''}: ")
            self._stderr.flush()
            answer = self._stdin.readline().strip() or default
            problem = fits(answer)
            if not problem:
                return answer
            self._stderr.write(f"  {problem}\n")
        return default

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """One of the choices, by its number or as it is written."""
        self._stderr.write(f"{clean(question)}\n")
        for number, choice in enumerate(choices, 1):
            self._stderr.write(f"  {number}  {clean(choice)}\n")

        def fits(text: str) -> str:
            known = text in choices or (text.isdigit() and 1 <= int(text) <= len(choices))
            return "" if known else f"please type a number from 1 to {len(choices)}"

        answer = self.ask("Number", "1", fits)
        return answer if answer in choices else choices[int(answer) - 1]

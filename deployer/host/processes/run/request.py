"""What a laptop asks for when it wants a command run, and what it sends while that runs."""

from __future__ import annotations

from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import MOST_NUMBER, PROCESS, PROCESS_LENGTH
from deployer.wire.reader import TEXT, Reader
from deployer.wire.release.command import (
    FRAME,
    KINDS,
    LIMITS,
    LOCALE,
    LOCALE_NAMES,
    MANAGE,
    PLACE,
    RUN,
    SHELL,
    SIZE,
    TERM,
)
from deployer.wire.release.processes import MOST_WORDS, argv_problem

_PROCESS_OR_NONE = pattern(rf"(?:{PROCESS.pattern})?\Z")


@dataclass(frozen=True)
class Size:
    """The size of a terminal, in characters."""

    rows: int
    columns: int

    @classmethod
    def read(cls, read: Reader) -> Size:
        return cls(read.integer("rows", *SIZE), read.integer("columns", *SIZE))


@dataclass(frozen=True)
class TerminalRequest:
    """The laptop's terminal: its kind, its size, and the variables of its locale."""

    term: str
    size: Size
    locale: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, value: Any) -> TerminalRequest:
        """Raises ValueError."""
        read = Reader(value, "run.terminal")
        terminal = cls(term=read.text("term", TERM), size=Size.read(read), locale=_locale(read.raw("locale")))
        read.done()
        return terminal


def _locale(value: Any) -> tuple[tuple[str, str], ...]:
    read = Reader(value, "run.terminal.locale")
    found = tuple((name, read.text(name, LOCALE)) for name in LOCALE_NAMES if read.has(name))
    read.done()
    return found


@dataclass(frozen=True)
class RunRequest:
    """What to run: a program, found in the app's PATH, and its arguments. No shell is involved.

    ``release`` is a number (0: what serves), ``process`` the one whose place it takes (empty: none), ``timeout`` in
    seconds. ``takes_input``: the laptop sends input, and says when it ends; with a ``terminal`` it always does.
    ``raw``: standard output is passed on as bytes, not as lines. ``place`` names the host in the prompt of a shell.
    """

    kind: str
    argv: tuple[str, ...]
    release: int = 0
    process: str = ""
    timeout: int = LIMITS[1]
    takes_input: bool = False
    raw: bool = False
    place: str = ""
    terminal: TerminalRequest | None = None

    @classmethod
    def parse(cls, message: Any) -> RunRequest:
        """Raises ValueError."""
        read = Reader(message, "run")
        terminal = read.raw("terminal")
        request = cls(
            kind=read.choice("kind", KINDS),
            argv=read.texts("argv", TEXT, MOST_WORDS),
            release=read.integer("release", 0, MOST_NUMBER),
            process=read.text("process", _PROCESS_OR_NONE, PROCESS_LENGTH),
            timeout=read.integer("timeout", *LIMITS),
            takes_input=read.boolean("input"),
            raw=read.boolean("raw"),
            place=read.text("place", PLACE),
            terminal=None if terminal is None else TerminalRequest.parse(terminal),
        )
        read.done()
        if problem := _problem(request):
            raise ValueError(f"run.argv: {problem}")
        return request


def _problem(request: RunRequest) -> str:
    if request.kind == RUN:
        return argv_problem(request.argv)
    if request.kind == SHELL:
        return "a shell takes no words" if request.argv else ""
    assert request.kind == MANAGE
    return argv_problem(["manage.py", *request.argv])


@dataclass(frozen=True)
class Frame:
    """So many bytes of input follow the message."""

    length: int


@dataclass(frozen=True)
class InputEnd:
    """There is no more input."""


def sent_meanwhile(message: dict[str, Any]) -> Frame | InputEnd | Size | None:
    """What a laptop says to a command that runs; None for a keep-alive. Raises ValueError."""
    read = Reader(message, "a message to a command")
    op = read.choice("op", ("hold", "input", "end", "size"))
    said: Frame | InputEnd | Size | None = None
    if op == "input":
        said = Frame(read.integer("length", 1, FRAME))
    elif op == "end":
        said = InputEnd()
    elif op == "size":
        said = Size.read(read)
    read.done()
    return said

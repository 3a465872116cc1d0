"""The kinds of processes that a release has, as they are asked for: web, those in the background, and timers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import PROCESS, PROCESS_LENGTH, WEB
from deployer.wire.reader import LINE, MOST_ITEMS, MOST_TEXT, TEXT, Reader

SERVERS = ("gunicorn", "uvicorn", "hypercorn", "command")
WORKERS = (1, 256)
COUNT = (0, 64)
"""How many of one process run on a host."""
STOP = (0.0, 86400.0)
"""Seconds that a process gets to end."""
RUN = (1.0, 7 * 86400.0)
"""Seconds that a timer's run may take."""
MOST_MEMORY = 1 << 60
"""Bytes."""
MOST_PROCESSES = 50
"""Processes that a release may have, and timers."""
MOST_VALUES = 32
"""Values of one directive."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
TARGET = pattern(rf"{_NAME}(?:\.[A-Za-z0-9_]+)*:{_NAME}(?:\.{_NAME})*(?:\(\))?\Z")
"""The callable that a server runs: ``shop.wsgi:application``, ``shop.asgi:create()``."""
TARGET_LENGTH = 255
DIRECTIVE_VALUE = pattern(r"(?![\s\S]*\\\Z)[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\Z")
"""A directive's value. With a backslash at the end, the next line would belong to it."""
_TARGET = pattern(rf"(?:{TARGET.pattern})?\Z")
DIRECTIVE = pattern(r"[A-Z][A-Za-z0-9]{1,40}\Z")
"""The name of a systemd directive."""
CALENDAR = pattern(r"[A-Za-z0-9*~,./: +_-]{1,200}\Z")
"""A time as systemd.time(7) writes it. Which of them systemd reads, only the host knows."""

Unit = tuple[tuple[str, tuple[str, ...]], ...]
"""Overrides of systemd directives: each with its values. The host has the allow-list."""


@dataclass(frozen=True)
class Web:
    """The web process. ``target`` is ``module:attribute``; ``args`` more arguments, or the whole free command.

    ``memory`` is what the user expects one generation to need, in bytes (0: not said).
    """

    server: str
    target: str
    workers: int
    args: tuple[str, ...]
    memory: int
    unit: Unit

    @classmethod
    def parse(cls, value: Any) -> Web:
        read = Reader(value, "web")
        web = cls(
            server=read.choice("server", SERVERS),
            target=read.text("target", _TARGET, TARGET_LENGTH),
            workers=read.integer("workers", *WORKERS),
            args=read.texts("args"),
            memory=read.integer("memory", 0, MOST_MEMORY),
            unit=_unit(read.raw("unit"), "web.unit"),
        )
        read.done()
        if (web.server == "command") != (not web.target) or (web.server == "command" and not web.args):
            raise ValueError("web: a server needs a target, a free command its arguments")
        if web.server == "command":
            _check_words(web.args, "web.args")
        return web


def _unit(value: Any, where: str) -> Unit:
    read = Reader(value, where)
    names = sorted(value)
    for name in names:
        if not DIRECTIVE.fullmatch(name):
            raise ValueError(f"{where}: {name[:60]!r} is not the name of a systemd directive")
    return tuple((name, read.texts(name, DIRECTIVE_VALUE, MOST_VALUES)) for name in names)


@dataclass(frozen=True)
class Process:
    """A kind of process that runs all the time and takes no requests, ``count`` of it.

    ``stop`` is how many seconds one gets to finish what it has in hand. With ``overlap`` the new one starts when the
    old one was told to stop, without when it has ended. ``check`` is a shell command that must succeed before the
    switch (empty: none): a worker cannot be tried out in private, it would take jobs.
    """

    name: str
    command: tuple[str, ...]
    count: int
    stop: float
    overlap: bool
    check: str
    unit: Unit

    @classmethod
    def parse(cls, value: Any) -> Process:
        read = Reader(value, "process")
        process = cls(
            name=_name(read, "process"),
            command=_words(read, "process"),
            count=read.integer("count", *COUNT),
            stop=read.seconds("stop", *STOP),
            overlap=read.boolean("overlap"),
            check=read.text("check", TEXT, MOST_TEXT),
            unit=_unit(read.raw("unit"), "process.unit"),
        )
        read.done()
        return process

    def instances(self) -> tuple[str, ...]:
        """The names in its units: ``worker``, then ``worker.2`` and so on."""
        return tuple(f"{self.name}.{index}" if index > 1 else self.name for index in range(1, self.count + 1))


@dataclass(frozen=True)
class Timer:
    """A command that runs at the times of ``calendar`` (systemd.time(7)), and is let finish whatever happens.

    With ``persistent`` a run that was missed while the host was off is made up for. ``timeout`` is seconds after which
    a run is ended (0: never).
    """

    name: str
    command: tuple[str, ...]
    calendar: str
    persistent: bool
    timeout: float
    unit: Unit

    @classmethod
    def parse(cls, value: Any) -> Timer:
        read = Reader(value, "timer")
        timer = cls(
            name=_name(read, "timer"),
            command=_words(read, "timer"),
            calendar=read.text("calendar", CALENDAR, 200),
            persistent=read.boolean("persistent"),
            timeout=read.seconds("timeout", 0, RUN[1]),
            unit=_unit(read.raw("unit"), "timer.unit"),
        )
        read.done()
        return timer


def words_problem(words: Sequence[str]) -> str:
    """Why a command of these words cannot be run; empty when it can.

    The first word is a program: a name, a path inside the code, or one from the root.
    """
    if not words or not words[0]:
        return "is empty"
    parts = [part for part in words[0].split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        return f"must begin with a name, a path inside the code or one from the root, not {words[0][:200]!r}"
    if len(words) > MOST_ITEMS:
        return f"has {len(words)} words, and may have {MOST_ITEMS}"
    if any(len(word) > MOST_TEXT for word in words):
        return f"has a word of more than {MOST_TEXT} characters"
    if not all(map(LINE.fullmatch, words)):
        return "must be one line, without control characters"
    return ""


MOST_WORDS = 1000
MOST_ARGV = 64 * 1024
"""Words and bytes of a command that ``fab run`` sends."""


def argv_problem(words: Sequence[str]) -> str:
    """Why ``fab run`` cannot run these words; empty when it can. They may have several lines."""
    if not words or not words[0]:
        return "there is no command"
    if not all(map(TEXT.fullmatch, words)):
        return "an argument is not UTF-8 text, or holds a NUL"
    if len(words) > MOST_WORDS or any(len(word) > MOST_TEXT for word in words):
        return f"the command has more than {MOST_WORDS} words, or one of more than {MOST_TEXT} characters"
    if sum(len(word.encode()) for word in words) > MOST_ARGV:
        return f"the command is longer than {MOST_ARGV >> 10} KiB"
    return ""


def _check_words(words: tuple[str, ...], where: str) -> None:
    if problem := words_problem(words):
        raise ValueError(f"{where}: {problem}")


def _name(read: Reader, where: str) -> str:
    name = read.text("name", PROCESS, PROCESS_LENGTH)
    if name == WEB:
        raise ValueError(f"{where}.name: {WEB} is what answers requests")
    return name


def _words(read: Reader, where: str) -> tuple[str, ...]:
    words = read.texts("command")
    _check_words(words, f"{where}.command")
    return words

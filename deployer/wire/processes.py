"""The kinds of processes that a release has, as they are asked for: web, those in the background, and timers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from deployer.wire.protocol import PROCESS, PROCESS_LENGTH, WEB
from deployer.wire.reader import TEXT, Reader

SERVERS = ("gunicorn", "uvicorn", "hypercorn", "command")

_VALUE = re.compile(r"(?![\s\S]*\\\Z)[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\Z")
"""A directive's value. A backslash at its end would make the next line a part of it."""
_TARGET = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.()]*)?\Z")
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]{1,40}\Z")
CALENDAR = re.compile(r"[A-Za-z0-9*~,./: +_-]{1,200}\Z")

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
            target=read.text("target", _TARGET, 255),
            workers=read.integer("workers", 1, 1024),
            args=read.texts("args"),
            memory=read.integer("memory", 0, 1 << 60),
            unit=_unit(read.raw("unit"), "web.unit"),
        )
        read.done()
        if (web.server == "command") != (not web.target) or (web.server == "command" and not web.args):
            raise ValueError("web: a server needs a target, a free command its arguments")
        if web.server == "command":
            check_program(web.args[0], "web.args")
        return web


def _unit(value: Any, where: str) -> Unit:
    read = Reader(value, where)
    names = sorted(value)
    for name in names:
        if not _DIRECTIVE.fullmatch(name):
            raise ValueError(f"{where}: {name[:60]!r} is not the name of a systemd directive")
    return tuple((name, read.texts(name, _VALUE, 32)) for name in names)


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
            count=read.integer("count", 1, 64),
            stop=read.seconds("stop", 0, 86400),
            overlap=read.boolean("overlap"),
            check=read.text("check", TEXT, 16384),
            unit=_unit(read.raw("unit"), "process.unit"),
        )
        read.done()
        return process

    def instances(self) -> tuple[str, ...]:
        """What its units are named by: ``worker``, then ``worker.2`` and so on."""
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
            timeout=read.seconds("timeout", 0, 7 * 86400),
            unit=_unit(read.raw("unit"), "timer.unit"),
        )
        read.done()
        return timer


def check_program(word: str, where: str) -> None:
    """Raises ValueError, naming ``where``, when a command's first word leads out of the code, or names nothing."""
    parts = [part for part in word.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ValueError(f"{where}: {word[:200]!r} is no program: say a name, a path in the code, or one from the root")


def _name(read: Reader, where: str) -> str:
    name = read.text("name", PROCESS, PROCESS_LENGTH)
    if name == WEB:
        raise ValueError(f"{where}.name: {WEB} is what answers requests")
    return name


def _words(read: Reader, where: str) -> tuple[str, ...]:
    words = read.texts("command")
    if not words or not words[0]:
        raise ValueError(f"{where}.command: there is no command")
    check_program(words[0], f"{where}.command")
    return words

"""Accidents to order, inside the host program of a test host. Root puts this file there; the product has no part in it.

It runs before anything of the host program is imported, reads what is ordered from files below ``HOME``, and does
nothing when there is nothing. Python 3.9, standard library only; ``pathlib`` must not be imported before the patches.

orders.json   {"app": "shop", "boundary": {"at": "phase.done check", "do": "kill" | "pause"},
               "write": {"command": "job", "what": "replace /srv/shop/current", "do": "fail" | "kill",
                         "errno": 28, "sticky": true}}
lease         seconds that a fleet's candidates wait for a sign of the laptop; read when a program starts
clock         seconds by which the host program's wall clock is wrong; read whenever it is asked for the time
reached       made when the boundary is reached, so that it is reached once; whoever pauses goes on when it is ``go``
writes        with "what": "", the writes in their order, one a line; numbers are N there, and digests HASH
broken        there from the write on that failed; a sticky fault lasts as long as it is there
"""

from __future__ import annotations

import builtins
import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

HOME = "/run/deployer-faults"
PAUSE = 120.0  # seconds
_REAL_OPEN, _REAL_OS_OPEN, _REAL_TIME = builtins.open, os.open, time.time
_HASH, _NUMBER = re.compile("[0-9a-f]{64}"), re.compile("(?<=[/v])[0-9]+")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def apply(argv: list[str]) -> None:
    """Have what is ordered happen to the command ``argv`` (command, app, …)."""
    command, app = [*argv, "", ""][:2]
    time.time = _wrong_time
    _shorten_lease()
    orders = _orders()
    if orders.get("app") != app:
        return
    write = orders.get("write")
    if write and write["command"] == command:
        _Writes(write).patch()
    boundary = orders.get("boundary")
    if boundary and command == "job":
        _patch_events(boundary)


def _orders() -> dict[str, Any]:
    try:
        with _REAL_OPEN(HOME + "/orders.json") as file:
            value: dict[str, Any] = json.load(file)
            return value
    except OSError:
        return {}


def _wrong_time() -> float:
    try:
        with _REAL_OPEN(HOME + "/clock") as file:
            return _REAL_TIME() + float(file.read() or 0)
    except OSError:
        return _REAL_TIME()


def _shorten_lease() -> None:
    """A constant of the host program, of which nobody but root can have another: here it is changed in memory."""
    if not _there("lease"):
        return
    from deployer.wire import protocol

    with _REAL_OPEN(HOME + "/lease") as file:
        setattr(protocol, "FLEET_LEASE", float(file.read()))  # noqa: B010


def _once(name: str) -> bool:
    """Make the file ``name``; False when it is there already."""
    try:
        os.close(_REAL_OS_OPEN(f"{HOME}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def _there(name: str) -> bool:
    return os.access(f"{HOME}/{name}", os.F_OK)


def label(name: str, fields: dict[str, Any]) -> str:
    """What a boundary is called: the event that was written last, and the phase it tells of."""
    return " ".join(filter(None, (name, fields.get("phase"))))


def _patch_events(order: dict[str, Any]) -> None:
    from deployer.host.job.events import EventLog

    begin, write = EventLog.__init__, EventLog.__call__

    def opened(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        _at("begun", order)

    def written(self: Any, name: str, **fields: Any) -> None:
        write(self, name, **fields)
        _at(label(name, fields), order)

    setattr(EventLog, "__init__", opened)  # noqa: B010
    setattr(EventLog, "__call__", written)  # noqa: B010


def _at(boundary: str, order: dict[str, Any]) -> None:
    if boundary != order["at"] or not _once("reached"):
        return
    if "clock" in order:
        with _REAL_OPEN(HOME + "/clock", "w") as file:
            file.write(str(order["clock"]))
    if order["do"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    deadline = time.monotonic() + PAUSE
    while order["do"] == "pause" and not _there("go") and time.monotonic() < deadline:
        time.sleep(0.01)


class _Writes:
    """Looks at each write of this process to the disk, and has the one that is ordered fail."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order

    def patch(self) -> None:
        for name in ("mkdir", "symlink", "link", "rename", "replace", "fsync", "ftruncate"):
            setattr(os, name, self.failing(name, getattr(os, name), lambda arguments: True))
        os.open = self.failing("open", os.open, lambda arguments: bool(arguments[1] & _WRITING))
        builtins.open = self.failing("open", builtins.open, _opens_to_write)  # type: ignore[assignment]

    def failing(self, name: str, real: Any, counts: Callable[[tuple[Any, ...]], bool]) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            if counts(arguments):
                path = _path(arguments[1 if name == "symlink" else 0])
                if not path.startswith(("/dev/", "/proc/", HOME, "pipe:", "socket:")):
                    self.look(f"{name} {_NUMBER.sub('N', _HASH.sub('HASH', path))}")
            return real(*arguments, **options)

        return called

    def look(self, what: str) -> None:
        if not self.order["what"]:
            with _REAL_OPEN(HOME + "/writes", "a") as file:
                file.write(what + "\n")
            return
        broken = self.order["sticky"] and _there("broken")
        if broken or (what == self.order["what"] and _once("broken")):
            if self.order["do"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self.order["errno"], os.strerror(self.order["errno"]))


def _path(value: Any) -> str:
    """The path of what is written, by name or by descriptor."""
    if isinstance(value, int):
        try:
            return os.readlink(f"/proc/self/fd/{value}")  # noqa: PTH115
        except OSError:
            return ""
    return str(value)


def _opens_to_write(arguments: tuple[Any, ...]) -> bool:
    path, mode = (*arguments, "r")[:2]
    return isinstance(path, str) and any(letter in mode for letter in "wax+")

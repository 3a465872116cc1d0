"""What is piped into a command: read once, and given to every host that runs it, at the pace of the slowest."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from deployer.remote.console import Console
from deployer.wire.release.command import FRAME

__all__ = ["StandardInput", "has_input"]


def has_input(descriptor: int = 0) -> bool:
    """Whether a command gets input: from a file, a pipe, a socket. Never waits.

    From a terminal it gets some only where it has a terminal itself. /dev/null and a closed descriptor have none.
    """
    if sys.stdin is None:  # it was closed, and its number may be that of anything by now
        return False
    try:
        mode = os.fstat(descriptor)
        nothing = Path(os.devnull).stat()
    except OSError:
        return False
    return not os.isatty(descriptor) and not (stat.S_ISCHR(mode.st_mode) and mode.st_rdev == nothing.st_rdev)


class StandardInput:
    """Is read from when the command has begun on each of ``hosts``, or has ended there before; ends with the block.

    A host whose command has ended is waited for no longer. When none is left it is not read any further.
    """

    def __init__(self, hosts: Iterable[str], descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._awaited = set(hosts)
        self._consoles: dict[str, Console] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._over, self._end = os.pipe()

    def __enter__(self) -> StandardInput:
        threading.Thread(target=self._work, daemon=True, name="input").start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        self._ready.set()

    def feed(self, host: str, console: Console) -> None:
        """The command has begun on ``host``."""
        with self._lock:
            self._consoles[host] = console
            self._arrived(host)

    def leave(self, host: str) -> None:
        """The command is over on ``host``, or never began there."""
        with self._lock:
            self._consoles.pop(host, None)
            self._arrived(host)

    def _arrived(self, host: str) -> None:
        """Call it with the lock."""
        self._awaited.discard(host)
        if not self._awaited:
            self._ready.set()

    def _work(self) -> None:
        self._ready.wait()
        while data := self._read():
            for console in self._reading():
                console.give(data)
            if not self._reading():
                return
        for console in self._reading():
            console.end_input()

    def _read(self) -> bytes:
        """The next bytes; none at the end of the input, or of the block."""
        try:
            ready, _, _ = select.select([self._descriptor, self._over], [], [])
            return b"" if self._over in ready else os.read(self._descriptor, FRAME)
        except OSError:
            return b""

    def _reading(self) -> list[Console]:
        with self._lock:
            return list(self._consoles.values())

"""A command in a terminal, as a person has it."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from collections.abc import Callable
from pathlib import Path


class Terminal:
    """A command in a terminal of its own; ``seen`` is all that it has drawn there."""

    def __init__(self, argv: list[str], cwd: Path, **env: str) -> None:
        self.seen = b""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(argv[0], argv, {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env})
        self.before = termios.tcgetattr(self.descriptor)

    @property
    def text(self) -> str:
        """What it has drawn; at Ctrl-C the kernel drops what was on its way, be it in the middle of a character."""
        return self.seen.decode(errors="replace")

    def wait_for(self, text: bytes, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.text
            assert self._read(), f"ended before {text!r}: {self.text}"

    def read_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Take what it draws, as a terminal does, until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.text
            assert self._read(0.1), f"ended: {self.text}"

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def _read(self, seconds: float = 1) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        try:
            data = os.read(self.descriptor, 65536) if ready else b""
        except OSError:
            return False
        self.seen += data
        return bool(data) or not ready

    def end(self, seconds: float = 120) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.text}"
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)

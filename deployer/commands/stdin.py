"""Whether something was handed in on standard input. It is looked at, and never read."""

from __future__ import annotations

import array
import fcntl
import os
import stat
import termios

__all__ = ["has_input"]


def has_input(descriptor: int = 0) -> bool:
    """Whether there is data that a command could read now: the rest of a file, bytes in a pipe or a socket.

    Never waits. A terminal, /dev/null, a closed descriptor, and a pipe that nobody writes to (cron, CI) have none.
    """
    try:
        mode = os.fstat(descriptor)
        if stat.S_ISREG(mode.st_mode):
            return mode.st_size > os.lseek(descriptor, 0, os.SEEK_CUR)
        if stat.S_ISFIFO(mode.st_mode) or stat.S_ISSOCK(mode.st_mode):
            return _waiting(descriptor) > 0
    except OSError:
        return False
    return False


def _waiting(descriptor: int) -> int:
    """Bytes that are there to be read."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]

"""The pseudo-terminal of a command: one end is the command's, the other is this program's."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import struct
import termios
from pathlib import Path

from deployer.host.processes.run.request import Size
from deployer.wire.lazydata import dataclass

_DATABASES = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
_FALLBACKS = ("xterm-256color", "xterm", "vt100")
"""What most terminals understand."""


@dataclass(frozen=True)
class Terminal:
    """``ours`` reads what the command prints and writes what is typed; ``theirs`` is what the command has."""

    ours: int
    theirs: int

    @classmethod
    def open(cls, user: str, size: Size) -> Terminal:
        """A terminal that belongs to ``user``, as one after a login does: programs open it by its name.

        Raises OSError when the host has none left.
        """
        ours, theirs = os.openpty()
        os.fchown(theirs, pwd.getpwnam(user).pw_uid, _group())
        os.fchmod(theirs, 0o620)
        terminal = cls(ours, theirs)
        terminal.resize(size)
        return terminal

    def resize(self, size: Size) -> None:
        """Tell the command, by SIGWINCH, that its window has another size."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def _group() -> int:
    """The group of terminals; -1 (as it is) where the host has none."""
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return -1


def known(term: str, databases: tuple[str, ...] = _DATABASES) -> str:
    """``term`` if the host knows that kind of terminal, else one that most terminals understand."""
    for name in (term, *_FALLBACKS):
        if any(Path(root, sub, name).exists() for root in databases for sub in (name[0], f"{ord(name[0]):x}")):
            return name
    return term

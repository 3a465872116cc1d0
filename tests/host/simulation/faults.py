"""What may go wrong at a given change that the host program makes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

WRITES = frozenset({"create", "write", "mkdir", "symlink", "link", "replace", "rename", "fsync"})
"""What needs room on the disk."""
CHANGES = WRITES | {"unlink", "rmdir", "truncate", "rm"}
"""What a read-only disk refuses."""
REMOVING = frozenset({"replace", "rename", "unlink", "rmdir", "truncate", "rm"})
"""What may take something away."""
REFUSED_BY = {errno.ENOSPC: WRITES, errno.EROFS: CHANGES - {"fsync"}, errno.EIO: CHANGES}


class Killed(BaseException):
    """The program is dead. Whatever it still tries raises this again."""


class PowerLost(Killed):
    """And so is every other."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL of the program that is about to make change ``at``. A write is torn: half of it is on the disk."""

    at: int


@dataclass(frozen=True)
class PowerCut:
    """The host loses its power just before change ``at``; with ``forgets`` all that was not synced is gone, too."""

    at: int
    forgets: bool = False


@dataclass(frozen=True)
class Terminate:
    """SIGTERM before change ``at``; with ``shutdown`` because the host goes down."""

    at: int
    shutdown: bool = False


@dataclass(frozen=True)
class DiskFails:
    """From change ``at`` on (``lasts``), or only there, the disk refuses what that error refuses."""

    at: int
    error: int
    lasts: bool = True


@dataclass(frozen=True)
class CommandFails:
    """The command at change ``at`` (systemctl and its like) fails; any other change is as always."""

    at: int


@dataclass(frozen=True)
class Meanwhile:
    """Somebody else does something just before change ``at``."""

    at: int
    act: Callable[[], None]


Fault = Union[Kill, PowerCut, Terminate, DiskFails, CommandFails, Meanwhile]  # noqa: UP007  (Python 3.9 runs it, too)

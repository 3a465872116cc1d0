"""Room on the disk: how much there is, and what is said when it is not enough."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.wire.advice import do
from deployer.wire.sizes import size

_MAKE_ROOM = do("make room (fab releases shows what is kept; keep in deploy.toml says how many), then fab deploy")


def free_bytes(path: str) -> int:
    """Bytes that may still be written below ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def disk_error(error: OSError, path: Path, what: str) -> HostError:
    """A failed write, told so that it can be acted on. ``path`` is where, unless the error itself knows better."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full_disk(Path(error.filename) if isinstance(error.filename, str) else path, what, [])
    return HostError(f"{what} failed: {error}")


def require_room(directory: Path, needed: int, what: str) -> None:
    """Raises HostError when fewer than ``needed`` bytes are free below ``directory``."""
    free = free_bytes(str(directory))
    if free < needed:
        raise HostError(
            f"the disk is full: {what} needs {size(needed)} below {directory}, {size(free)} are free",
            next=_MAKE_ROOM,
        )


def full_disk(path: Path, what: str, lines: Sequence[str]) -> HostError:
    where = next(directory for directory in (path, *path.parents) if directory.is_dir())
    return HostError(
        f"the disk is full: {what} needs more than the {size(free_bytes(str(where)))} left below {where}",
        logs=list(lines)[-20:],
        next=_MAKE_ROOM,
    )

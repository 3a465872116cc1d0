"""Free space and inodes on the disk, and the errors when there is too little."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.wire.advice import do
from deployer.wire.sizes import size

_LITTLE, _FEW = 4 << 20, 16
"""Bytes, and inodes."""
_FEWER_FILES = do(
    "remove what has many small files (df -i shows the disks; fab releases what is kept), then fab deploy"
)
_MAKE_ROOM = do("make room (fab releases shows what is kept; keep in deploy.toml says how many), then fab deploy")


def free_bytes(path: str) -> int:
    """Bytes that can still be written below ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def free_inodes(path: str) -> int | None:
    """How many files and directories can still be made below ``path``; None where that is not counted (btrfs)."""
    status = os.statvfs(path)
    return status.f_favail if status.f_files else None


def is_full(path: str) -> bool:
    """Whether what fails there may fail for that: somebody else may have made a little room again."""
    inodes = free_inodes(path)
    return free_bytes(path) < _LITTLE or (inodes is not None and inodes < _FEW)


def disk_error(error: OSError, path: Path, what: str) -> HostError:
    """The error for a failed write. ``path`` is where, unless the error itself has a path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full_disk(Path(error.filename) if isinstance(error.filename, str) else path, what, [])
    return HostError(f"{what} failed: {error}")


def require_room(directory: Path, needed: int, what: str, files: int = 0) -> None:
    """Raises HostError when fewer than ``needed`` bytes are free below ``directory``, or inodes for fewer ``files``."""
    inodes = free_inodes(str(directory))
    if inodes is not None and inodes < files:
        raise HostError(
            f"the disk has no inodes left: {what} needs {files:,} below {directory}, {inodes:,} are free",
            next=_FEWER_FILES,
        )
    free = free_bytes(str(directory))
    if free < needed:
        raise HostError(
            f"the disk is full: {what} needs {size(needed)} below {directory}, {size(free)} are free",
            next=_MAKE_ROOM,
        )


def full_disk(path: Path, what: str, lines: Sequence[str]) -> HostError:
    """The error for a full disk."""
    where = next(directory for directory in (path, *path.parents) if directory.is_dir())
    inodes = free_inodes(str(where))
    if inodes is not None and inodes < _FEW <= free_bytes(str(where)) // 4096:
        return HostError(
            f"the disk has no inodes left: {what} needs more files than can be made below {where}",
            logs=list(lines)[-20:],
            next=_FEWER_FILES,
        )
    return HostError(
        f"the disk is full: {what} needs more than the {size(free_bytes(str(where)))} left below {where}",
        logs=list(lines)[-20:],
        next=_MAKE_ROOM,
    )

"""Files that survive a power cut: temp + fsync + rename, and the directory fsynced too."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put ``content`` at ``path`` in one step; with ``mode`` from the first byte on."""
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    write_file(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n", mode)


def read_json(path: Path) -> Any:
    """The value stored at ``path``; None when there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def point(link: Path, target: str) -> None:
    """Make the symbolic link ``link`` lead to ``target`` by one ``rename(2)``: never absent in between."""
    temporary = link.with_name(f".{link.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    os.replace(str(temporary), str(link))
    sync_directory(link.parent)


def make_directory(path: Path, mode: int) -> None:
    """A directory with exactly ``mode``, made or mended."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    os.chmod(str(path), mode)


def remove_tree(path: Path) -> None:
    """Remove a directory whatever is in it; absent is fine. Never follows a link."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(str(path))


def give(path: Path, uid: int, gid: int) -> None:
    """Give a tree that root has just written to ``uid:gid``, to build in; no link is followed."""
    for _, directories, names, descriptor in os.fwalk(str(path), follow_symlinks=False):
        for name in names + directories:
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, uid, gid)


def seal(path: Path, owner: int) -> int:
    """Take a tree that ``owner`` has built in for root: read-only, without set-id bits. Returns its size in bytes.

    Every entry is opened without following links and changed through its descriptor, so that an owner who swaps
    entries meanwhile changes nothing outside the tree. Raises PermissionError for a hard link to a file that is not
    the owner's.
    """
    total = 0
    for _, _, names, descriptor in os.fwalk(str(path), follow_symlinks=False):
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o755)
        total += sum(_seal_entry(name, descriptor, owner) for name in names)
    return total


def _seal_entry(name: str, directory: int, owner: int) -> int:
    status = os.lstat(name, dir_fd=directory)
    if not stat.S_ISREG(status.st_mode):
        os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)
        return 0
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if status.st_nlink > 1 and status.st_uid != owner:
            raise PermissionError(f"{name!r} is a hard link to a file of another user")
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, (status.st_mode | 0o444) & 0o555)
        return status.st_size
    finally:
        os.close(descriptor)

"""Trees that a build has written, or is going to: read, given to the builder, and taken back by root.

Root works here next to a user who may be hostile and act at the same time. Whatever that user could have put there is
opened without following links, then examined and changed through its descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deployer.host.system import writers

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH = 200
"""The deepest nesting of directories in a tree: each one open takes a descriptor."""


def open_below(root: Path, path: str, flags: int) -> int:
    """A descriptor of ``path`` (relative, with ``/``) below ``root``; no part of ``path`` may be a link.

    Opens only directories and regular files, and never waits for the other end of a pipe. Raises OSError.
    """
    with _directory_of(root, path) as (directory, name):
        with contextlib.suppress(FileNotFoundError):
            mode = os.lstat(name, dir_fd=directory).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise OSError(errno.EINVAL, "neither a regular file nor a directory", path)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=directory)


def mode_below(root: Path, path: str) -> int:
    """Type and mode of ``path``, found as by :func:`open_below`, of a link its own; 0 when there is nothing.

    Opens only directories. Raises OSError when a parent is not a directory.
    """
    try:
        with _directory_of(root, path) as (directory, name):
            return os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def directory_below(root: Path, path: str) -> Iterator[int]:
    """A directory below ``root`` (empty: itself), opened as by :func:`open_below`, for the block. Raises OSError."""
    descriptor = open_below(root, path, os.O_RDONLY | os.O_DIRECTORY) if path else os.open(str(root), _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _directory_of(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """The directory of ``path``, opened, and the last part of its name."""
    *parents, name = path.split("/")
    if any(part in ("", ".", "..") for part in (*parents, name)):
        raise OSError(errno.EINVAL, "not a plain path", path)
    directory = os.open(str(root), _DIRECTORY)
    try:
        for parent in parents:
            inner = os.open(parent, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory, name
    finally:
        os.close(directory)


def read_below(root: Path, path: str, limit: int) -> bytes:
    """The first ``limit`` bytes of a regular file below ``root``, found as by :func:`open_below`. Raises OSError."""
    with os.fdopen(open_below(root, path, os.O_RDONLY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(limit)


def give(path: Path, uid: int, gid: int) -> None:
    """Give a tree that only root has written to ``uid:gid``, to build in; no link is followed.

    A directory changes hands after its content: until then its new owner can swap nothing in it. Raises PermissionError
    when the tree was given away before or is nested too deep; remove it then.
    """
    directory = os.open(str(path), _DIRECTORY)
    try:
        _give(directory, uid, gid, 0)
    finally:
        os.close(directory)


def _give(directory: int, uid: int, gid: int, depth: int) -> None:
    _refuse_depth(depth)
    if os.fstat(directory).st_uid != 0:
        raise PermissionError("a build has already been given this code: it must be uploaded again")
    for name in os.listdir(directory):
        if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _give(inner, uid, gid, depth + 1)
            finally:
                os.close(inner)
        else:
            _refuse_shared(name, directory)
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    os.fchown(directory, uid, gid)


def _refuse_shared(name: str, directory: int) -> None:
    """Raises PermissionError for a file that has another name: another tree has it, too."""
    if os.lstat(name, dir_fd=directory).st_nlink > 1:
        raise PermissionError(f"{name!r} is shared with another tree, and cannot be given away")


def take(path: Path, owner: int) -> int:
    """Take a tree that ``owner`` has built in: root's, writable for nobody else, without set-id bits. Returns its size
    in bytes.

    Afterwards nobody can write to it, not even through descriptors opened before (see ``writers``). Sockets, pipes and
    devices are removed. Raises PermissionError for what belongs to another user (a hard link, a file moved in), for
    another file system, for too deep nesting, for files that are open for writing elsewhere, and for sparse files
    larger than their file system: root reads all of them later.
    """
    directory = os.open(str(path), _DIRECTORY)
    try:
        size = _Taking(owner, os.fstat(directory).st_dev).directory(directory, 0)
        writers.shut_out(directory)
        system = os.fstatvfs(directory)
        if size > system.f_blocks * system.f_frsize:
            raise PermissionError(f"the built tree claims {size // 2**20:,} MiB, more than its file system holds")
        return size
    finally:
        os.close(directory)


class _Taking:
    """Takes one tree. ``_taken`` are the files that are root's already: further hard links to them are fine."""

    def __init__(self, owner: int, device: int) -> None:
        self._owner = owner
        self._device = device
        self._taken: set[tuple[int, int]] = set()

    def directory(self, directory: int, depth: int) -> int:
        _refuse_depth(depth)
        self._refuse_foreign(os.fstat(directory), "a directory")
        os.fchown(directory, 0, 0)
        os.fchmod(directory, 0o755)
        # From here on only root can change what is in it: what is listed now is all there will be.
        return sum(self._entry(name, directory, depth) for name in os.listdir(directory))

    def _entry(self, name: str, parent: int, depth: int) -> int:
        mode = os.lstat(name, dir_fd=parent).st_mode
        if stat.S_ISLNK(mode):
            os.chown(name, 0, 0, dir_fd=parent, follow_symlinks=False)
            return 0
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            os.unlink(name, dir_fd=parent)
            return 0
        flags = _DIRECTORY if stat.S_ISDIR(mode) else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=parent)
        try:
            return self.directory(descriptor, depth + 1) if stat.S_ISDIR(mode) else self._file(descriptor, name)
        finally:
            os.close(descriptor)

    def _file(self, descriptor: int, name: str) -> int:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in self._taken:
            return 0
        self._refuse_foreign(status, repr(name))
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, (status.st_mode | 0o644) & 0o755)
        self._taken.add((status.st_dev, status.st_ino))
        return status.st_size

    def _refuse_foreign(self, status: os.stat_result, what: str) -> None:
        if status.st_uid != self._owner:
            raise PermissionError(f"{what} in the built tree belongs to another user (uid {status.st_uid})")
        if status.st_dev != self._device:
            raise PermissionError(f"{what} in the built tree lies on another file system")


def _refuse_depth(depth: int) -> None:
    if depth > _DEPTH:
        raise PermissionError(f"directories are nested more than {_DEPTH} deep")

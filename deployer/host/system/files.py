"""Files that survive a power cut (temp + fsync + rename, and the directory fsynced too), and trees that change hands.

Root works here beside a user who may be hostile and does not hold still: whatever that user could have put there is
opened without following links, looked at through its descriptor, and changed through its descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.system import writers

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TEMPORARY, GONE = ".tmp", ".gone"
_DEPTH = 200
"""Directories within directories that a tree may have: each one open takes a descriptor."""


def sync_directory(path: Path) -> None:
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, mode: int = 0o644, *, modified: int = 0) -> None:
    """Put ``content`` at ``path`` in one step; with ``mode`` from the first byte on. ``modified`` is the time it is to
    be of, in nanoseconds since 1970 (0: now)."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if modified:
                os.utime(file.fileno(), ns=(modified, modified))
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    write_file(path, json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n", mode)


def read_json(path: Path) -> Any:
    """The value stored at ``path``; None when there is no such file. Raises Damaged when it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise Damaged(path) from None


def read_object(path: Path) -> dict[str, Any] | None:
    """The object stored at ``path``; None when there is no such file. Raises Damaged when it is something else."""
    value = read_json(path)
    if value is not None and not isinstance(value, dict):
        raise Damaged(path)
    return value


def read_text(path: Path) -> str:
    """The text of somebody else's file. Whatever bytes are in it: what is no UTF-8 comes as lone surrogates, which no
    pattern of ours matches. Raises OSError."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def append_line(path: Path, line: bytes) -> None:
    """Add one line (without its newline) to a file that only grows, durably. Raises OSError; nothing is added then.

    What a power cut left of a line is ended first: it spoils no line but itself. The file's name is on the disk before
    its first line, even when whoever made the file died before that.
    """
    descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            sync_directory(path.parent)
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        text = (b"\n" if torn else b"") + line + b"\n"
        try:
            written = os.write(descriptor, text)
            if written != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def point(link: Path, target: str) -> None:
    """Make the symbolic link ``link`` lead to ``target`` by one ``rename(2)``: never absent in between."""
    temporary = link.with_name(f".{link.name}{TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        temporary.symlink_to(target)
        os.replace(str(temporary), str(link))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(link.parent)


def make_directory(path: Path, mode: int) -> None:
    """A directory with exactly ``mode``, made or mended; it outlives a power cut, and so do those that it lies in."""
    if not path.parent.exists():
        make_directory(path.parent, 0o755)
    path.mkdir(mode=mode, exist_ok=True)
    os.chmod(str(path), mode)
    sync_directory(path.parent)


def own_directory(path: Path, mode: int, uid: int, gid: int) -> bool:
    """Make or mend a directory below directories of root's; True when something changed."""
    with contextlib.suppress(FileNotFoundError):
        before = os.lstat(str(path))
        if (before.st_mode, before.st_uid, before.st_gid) == (stat.S_IFDIR | mode, uid, gid):
            return False
    make_directory(path, mode)
    os.chown(str(path), uid, gid, follow_symlinks=False)
    return True


def remove_tree(path: Path) -> None:
    """Remove a directory whatever is in it, however deep; absent is fine. Never follows a link.

    It goes under its name in one step, and only then bit by bit: nobody ever takes a half for the whole.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    gone = path if path.name.endswith(GONE) else path.with_name(f".{path.name}{GONE}")
    if path.exists() and gone != path:
        _remove(gone)
        with contextlib.suppress(OSError):  # a full disk may have no room even for that
            os.rename(str(path), str(gone))
        _remove(path)
    _remove(gone)


def _remove(path: Path) -> None:
    if not path.exists():
        return
    done = subprocess.run(
        ["/bin/rm", "-rf", "--one-file-system", "--", str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace").strip()[-400:])


def names(path: Path) -> list[str]:
    """The names in a directory, sorted; none where there is no such directory."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_debris(name: str) -> bool:
    """Whether a file or directory of ours is the rest of a write or a removal that was cut short."""
    return name.startswith(".") and name.endswith((TEMPORARY, GONE))


def lock(path: Path) -> int | None:
    """A descriptor that holds a lock (flock(2)) on a file or directory until it is closed, or its process dies.

    None when ``path`` is something else by then, or gone. Those who hold it may be several.
    """
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        if os.stat(str(path)).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """For the block nobody else is in one for the same directory; False when somebody is."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        first = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            first = False
        yield first
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds a lock on it: it has not died, then."""
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def open_below(root: Path, path: str, flags: int) -> int:
    """A descriptor of ``path`` (relative, with ``/``) below ``root``; no part of ``path`` may be a link.

    Opens directories and regular files alone, and never waits for the far end of a pipe. Raises OSError.
    """
    with _directory_of(root, path) as (directory, name):
        with contextlib.suppress(FileNotFoundError):
            mode = os.lstat(name, dir_fd=directory).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise OSError(errno.EINVAL, "neither a regular file nor a directory", path)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=directory)


def mode_below(root: Path, path: str) -> int:
    """The type and mode of ``path``, found as by :func:`open_below`, of a link its own; 0 when there is none.

    Opens nothing but directories. Raises OSError when a directory on the way is none.
    """
    try:
        with _directory_of(root, path) as (directory, name):
            return os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _directory_of(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """The directory that ``path`` lies in, and its name there."""
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
    """Give a tree that root alone has written to ``uid:gid``, to build in; no link is followed.

    A directory goes after all that is in it: until then its new owner can swap nothing there. Raises PermissionError
    when somebody has had the tree before, or it is nested too deep; the tree is then best removed.
    """
    directory = os.open(str(path), _DIRECTORY)
    try:
        _give(directory, uid, gid, 0)
    finally:
        os.close(directory)


def _give(directory: int, uid: int, gid: int, depth: int) -> None:
    _refuse_depth(depth)
    if os.fstat(directory).st_uid != 0:
        raise PermissionError("a build has had this code before: it must be sent afresh")
    for name in os.listdir(directory):
        if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _give(inner, uid, gid, depth + 1)
            finally:
                os.close(inner)
        else:
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    os.fchown(directory, uid, gid)


def seal(path: Path, owner: int) -> int:
    """Take a tree that ``owner`` has built in for root: read-only, without set-id bits. Returns its size in bytes.

    Nobody can write to it any more, through whatever was opened before (``host/system/writers.py``). Sockets, pipes
    and devices are removed. Raises PermissionError for what belongs to somebody else (a hard link, a file moved in from
    elsewhere), for another file system, for directories nested too deep, for files that somebody has open for writing,
    and for files with holes that are larger together than their file system: root reads all of them afterwards.
    """
    directory = os.open(str(path), _DIRECTORY)
    try:
        size = _Seal(owner, os.fstat(directory).st_dev).directory(directory, 0)
        writers.shut_out(directory)
        system = os.fstatvfs(directory)
        if size > system.f_blocks * system.f_frsize:
            raise PermissionError(f"the built tree claims {size // 2**20:,} MiB, more than its file system holds")
        return size
    finally:
        os.close(directory)


class _Seal:
    """One tree's change of hands. ``_taken`` are files that are root's by now: their further hard links are fine."""

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
        os.fchmod(descriptor, (status.st_mode | 0o444) & 0o555)
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

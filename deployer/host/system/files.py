"""Files that survive a power cut: written to a temporary file, synced, renamed, the directory synced. And locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TEMPORARY, GONE = ".tmp", ".gone"
"""The endings of files that are being written, and of trees that are being removed."""
_DEPTH = 200
"""Directories within directories that a tree may have: each one open takes a descriptor."""


def sync_directory(path: Path) -> None:
    """fsync(2) a directory, so that the names in it survive a power cut. Raises OSError."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, mode: int = 0o644, *, modified: int = 0, durable: bool = True) -> None:
    """Replace the file at ``path`` in one step; it has ``mode`` from the first byte. Raises OSError.

    ``modified`` is its modification time in nanoseconds since 1970 (0: now). Unless it is ``durable``, a power cut may
    take it back.
    """
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
            if durable:
                os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace the file at ``path`` by ``value`` as compact JSON, as :func:`write_file` does. Raises OSError."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    write_file(path, text.encode() + b"\n", mode, durable=durable)


def read_json(path: Path) -> Any:
    """The value stored at ``path``; None when there is no such file. Raises Damaged when it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise Damaged(path) from None


def read_object(path: Path) -> dict[str, Any] | None:
    """The object stored at ``path``; None when there is no such file. Raises Damaged when it is not an object."""
    value = read_json(path)
    if value is not None and not isinstance(value, dict):
        raise Damaged(path)
    return value


def read_text(path: Path) -> str:
    """The text of a file that others write. Bytes that are not UTF-8 become lone surrogates, which match no pattern
    here. Raises OSError."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> bool:
    """Replace the file at ``path`` unless it holds ``text`` already; whether it was. Raises OSError."""
    if path.exists() and read_text(path) == text:
        return False
    write_file(path, text.encode(), mode)
    return True


def append_line(path: Path, line: bytes) -> None:
    """Append one line (without its newline) to a log, durably. Raises OSError, and then nothing is appended.

    A line torn by a power cut is ended first, so that it spoils only itself. The file's name is synced before its first
    line, even if the process that created the file died before that.
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
    """Point the symbolic link ``link`` to ``target`` in one ``rename(2)``: it is never absent. Raises OSError."""
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
    """Make a directory, or correct its mode; it and its parents survive a power cut. Raises OSError."""
    if not path.parent.exists():
        make_directory(path.parent, 0o755)
    path.mkdir(mode=mode, exist_ok=True)
    os.chmod(str(path), mode)
    sync_directory(path.parent)


def own_directory(path: Path, mode: int, uid: int, gid: int) -> bool:
    """Make a directory with this mode and owner, or correct them, below directories of root's; True if it changed
    anything."""
    with contextlib.suppress(FileNotFoundError):
        before = os.lstat(str(path))
        if (before.st_mode, before.st_uid, before.st_gid) == (stat.S_IFDIR | mode, uid, gid):
            return False
    make_directory(path, mode)
    os.chown(str(path), uid, gid, follow_symlinks=False)
    return True


def remove_tree(path: Path) -> None:
    """Remove a directory with all its content, or a file; absent is fine. Never follows a link. Raises OSError.

    It is renamed first, in one step, so that a half-removed tree never passes for a whole one.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    gone = path if path.name.endswith(GONE) else _gone(path)
    if path.exists() and gone != path:
        _remove(gone)
        with contextlib.suppress(OSError):  # a full disk may have no room even for that
            os.rename(str(path), str(gone))
        _remove(path)
    _remove(gone)


def put_away_or_remove(path: Path) -> None:
    """Rename a directory, in one step, to a name by which it counts no more; absent is fine. Where that cannot be, as
    one of its name is still being removed, remove it. Raises OSError."""
    try:
        os.rename(str(path), str(_gone(path)))
    except FileNotFoundError:
        pass
    except OSError:
        remove_tree(path)


def _gone(path: Path) -> Path:
    return path.with_name(f".{path.name}{GONE}")


def _remove(path: Path) -> None:
    if not path.exists():
        return
    with contextlib.suppress(OSError):  # an empty directory takes no program
        os.rmdir(str(path))
        return
    done = subprocess.run(
        ["/bin/rm", "-rf", "--one-file-system", "--", str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace").strip()[-400:])


def names(path: Path) -> list[str]:
    """The names in a directory, sorted; none if there is no such directory."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_debris(name: str) -> bool:
    """Whether a name is that of a write or a removal that was interrupted."""
    return name.startswith(".") and name.endswith((TEMPORARY, GONE))


def is_gone(name: str) -> bool:
    """Whether a name is that of what was renamed in order to be removed."""
    return name.startswith(".") and name.endswith(GONE)


def lock(path: Path) -> int | None:
    """A descriptor that holds a shared lock (flock(2)) on a file or directory until it is closed or its process dies.

    None when ``path`` is gone or has been replaced. Several processes may hold it.
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
    """Hold an exclusive lock on a directory for the block; False when another process holds one."""
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


@contextlib.contextmanager
def locked(path: Path, seconds: float = 10.0) -> Iterator[None]:
    """Hold an exclusive lock on a directory for the block. Raises TimeoutError when another process does not give it up
    within that time."""
    deadline = time.monotonic() + seconds
    while True:
        with alone(path) as first:
            if first:
                yield
                return
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{path} has been locked by another process for {seconds:g} s")
        time.sleep(0.02)


def is_locked(path: Path) -> bool:
    """Whether a living process holds a lock on ``path``."""
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

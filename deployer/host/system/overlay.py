"""A directory that a user may change as if it were all his own, while nothing in it changes: what he writes goes to
another one (overlayfs).

The lower layer is the directory itself, read-only and shown with its files as that user's (an idmapped mount,
mount_setattr(2)); the upper layer holds what he changes. That wants Linux 5.19, and a file system that can be both.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deployer.host.system import mounts, proc

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""System calls, by the number that all architectures of Linux share."""
_AT, _EMPTY_PATH, _FROM_DESCRIPTOR = -100, 0x1000, 4
_CLONE, _CLOSE_ON_EXEC = 1, os.O_CLOEXEC
_READ_ONLY, _IDMAP, _PRIVATE = 1, 0x100000, 1 << 18
"""Private: what is mounted on a directory appears wherever a shared mount shows it (mount_namespaces(7))."""
_FLAGS = 2 | 4
"""nosuid, nodev."""
_OPTIONS = "redirect_dir=on,metacopy=off,index=off,volatile"
"""A directory that was below may be renamed; files are copied whole; nothing is synced (what a power cut leaves of a
build counts for nothing)."""
_PATIENCE, _PAUSE = 10.0, 0.05
LOWER, UPPER, _WORK = "lower", "upper", "work"
_OPAQUE, _REDIRECT = "trusted.overlay.opaque", "trusted.overlay.redirect"
_DEPTH, _CHUNK = 200, 1 << 20


def mount(tree: Path, scratch: Path, uid: int, gid: int) -> None:
    """Have all of ``tree`` be ``uid:gid``'s, and what is written there go to ``scratch``, an empty directory that only
    root can enter. Raises OSError where the kernel or the file system does not offer it; nothing stays."""
    for name in (LOWER, UPPER, _WORK):
        (scratch / name).mkdir(mode=0o755)
        (scratch / name).chmod(0o755)
    os.chown(str(scratch / UPPER), uid, gid)
    below = scratch / LOWER
    _show(tree, below, uid, gid)
    try:
        options = f"lowerdir={below},upperdir={scratch / UPPER},workdir={scratch / _WORK},{_OPTIONS}"
        if _library().mount(b"overlay", os.fsencode(tree), b"overlay", ctypes.c_ulong(_FLAGS), options.encode()):
            raise _error(tree)
    finally:
        mounts.detach(below)  # the overlay has it for itself


def unmount(tree: Path) -> None:
    """Take the overlay away. Raises PermissionError when somebody still has something of it open, OSError."""
    deadline = time.monotonic() + _PATIENCE
    while _library().umount2(os.fsencode(tree), ctypes.c_int(8)):
        error = _error(tree)
        if error.errno != errno.EBUSY:
            raise error
        if time.monotonic() >= deadline:
            others = ", ".join(proc.users(tree)) or "in another mount namespace"
            raise PermissionError(f"another process than the build's uses it, or is in it: {others}")
        time.sleep(_PAUSE)


def clear(tree: Path, scratch: Path) -> None:
    """Unmount what an interrupted build has left, whoever uses it. Raises OSError."""
    for place in (tree, scratch / LOWER):
        while mounts.is_mount_point(place):
            mounts.detach(place)


def is_renamed(upper: Path) -> bool:
    """Whether a directory from below was renamed: what it holds is not all above."""
    return any(_REDIRECT in os.listxattr(directory, follow_symlinks=False) for directory, *_ in os.walk(str(upper)))


class Copied(NamedTuple):
    """The paths of the ``files`` that were copied, and of all at which, or below which, something has ``changed``; and
    what was ``replaced`` or removed: its path, by the name that it has where it was moved to."""

    files: list[str]
    changed: list[str]
    replaced: dict[str, str]


def copy(upper: Path, tree: Path, removed: Path, owner: int) -> Copied:
    """Copy what ``owner`` has changed into ``tree``, and move what that replaces or removes to ``removed``, an empty
    directory.

    Whoever has kept a mount of the overlay (in a mount namespace of his own) can still change what lies above: no link
    is followed, and nothing that he could ever open gets into the tree. Raises PermissionError for what belongs to
    another user and for too deep nesting, OSError.
    """
    with contextlib.ExitStack() as opened:
        source, target, aside = (
            opened.enter_context(_opened(str(place), None)) for place in (upper, tree, removed)
        )  # fmt: skip
        copying = _Copying(owner, aside)
        copying.directory(source, target, "", 0)
    return Copied(copying.copied, copying.changed, copying.replaced)


class _Copying:
    """Copies one tree. ``aside`` is where what it replaces is moved to, under a number."""

    def __init__(self, owner: int, aside: int) -> None:
        self.copied: list[str] = []
        self.changed: list[str] = []
        self.replaced: dict[str, str] = {}
        self._owner, self._aside = owner, aside

    def directory(self, source: int, target: int, prefix: str, depth: int) -> None:
        if depth > _DEPTH:
            raise PermissionError(f"directories are nested more than {_DEPTH} deep")
        for name in sorted(os.listdir(source)):
            seen = os.lstat(name, dir_fd=source)
            if not stat.S_ISDIR(seen.st_mode):
                self.changed.append(f"{prefix}{name}")
            if is_whiteout(seen):
                self._clear(name, target, prefix)
            elif stat.S_ISDIR(seen.st_mode):
                self._inner(name, source, target, prefix, depth)
            elif stat.S_ISLNK(seen.st_mode):
                self._clear(name, target, prefix)
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            elif stat.S_ISREG(seen.st_mode):
                self._file(name, source, target, prefix)
                self.copied.append(f"{prefix}{name}")

    def _inner(self, name: str, source: int, target: int, prefix: str, depth: int) -> None:
        with _opened(name, source) as inner:
            if _OPAQUE in os.listxattr(inner) or not stat.S_ISDIR(_mode(name, target)):
                self.changed.append(f"{prefix}{name}")
                self._clear(name, target, prefix)
                os.mkdir(name, 0o755, dir_fd=target)
                os.chmod(name, 0o755, dir_fd=target)
            with _opened(name, target) as place:
                self.directory(inner, place, f"{prefix}{name}/", depth + 1)

    def _file(self, name: str, source: int, target: int, prefix: str) -> None:
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, os.O_RDONLY | flags, dir_fd=source), "rb") as file:
            status, system = os.fstat(file.fileno()), os.fstatvfs(target)
            if status.st_uid not in (self._owner, 0) or not stat.S_ISREG(status.st_mode):
                raise PermissionError(f"{name!r} in the built tree belongs to another user (uid {status.st_uid})")
            if status.st_size > system.f_bavail * system.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            self._clear(name, target, prefix)
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
            with os.fdopen(made, "wb") as new:
                left = status.st_size
                while left and (piece := file.read(min(left, _CHUNK))):
                    new.write(piece)
                    left -= len(piece)
                new.flush()
                os.fchmod(new.fileno(), (status.st_mode | 0o644) & 0o755)
                os.utime(new.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))

    def _clear(self, name: str, directory: int, prefix: str) -> None:
        """Move away what has that name."""
        if _mode(name, directory):
            number = str(len(self.replaced))
            os.rename(name, number, src_dir_fd=directory, dst_dir_fd=self._aside)
            self.replaced[number] = f"{prefix}{name}"


@contextlib.contextmanager
def _opened(name: str, parent: int | None) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mode(name: str, directory: int) -> int:
    """The type and mode of an entry, of a link its own; 0 when there is none."""
    try:
        return os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return 0


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it stands for the removal of what is below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _show(tree: Path, target: Path, uid: int, gid: int) -> None:
    """Mount ``tree`` at ``target``, read-only, with root's files as ``uid:gid``'s. Raises OSError."""
    with _mapped(uid, gid) as namespace:
        descriptor = _call(_OPEN_TREE, _AT, os.fsencode(tree), _CLONE | _CLOSE_ON_EXEC)
        try:
            attributes = struct.pack("QQQQ", _IDMAP | _READ_ONLY, 0, _PRIVATE, namespace)
            _call(_MOUNT_SETATTR, descriptor, b"", _EMPTY_PATH, attributes, len(attributes))
            _call(_MOVE_MOUNT, descriptor, b"", _AT, os.fsencode(target), _FROM_DESCRIPTOR)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _mapped(uid: int, gid: int) -> Iterator[int]:
    """A user namespace in which root stands for ``uid:gid`` (user_namespaces(7)), as a descriptor. Raises OSError."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["/usr/bin/unshare", "--user", "/bin/cat"], **pipes) as inside:  # type: ignore[call-overload]
        try:
            inside.stdin.write(b".")
            inside.stdin.flush()
            if inside.stdout.read(1) != b".":
                raise OSError(errno.EOPNOTSUPP, "there are no user namespaces")
            for name, number in (("uid", uid), ("gid", gid)):
                Path(f"/proc/{inside.pid}/{name}_map").write_text(f"0 {number} 1")
            namespace = os.open(f"/proc/{inside.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            inside.kill()
    try:
        yield namespace
    finally:
        os.close(namespace)


def _call(number: int, *arguments: object) -> int:
    done = int(_library().syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        raise _error(None)
    return done


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(path: Path | None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), *([str(path)] if path else []))

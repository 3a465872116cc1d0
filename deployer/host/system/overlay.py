"""A directory that a user may change as if it were all his own, while nothing in it changes: what he writes goes to
another one (overlayfs).

Below is the directory itself, read-only and shown with its files as that user's (an idmapped mount, mount_setattr(2));
above is what he changes. That wants Linux 5.19, and a file system that can be both.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from deployer.host.system import mounts

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""System calls, by the number that all architectures of Linux share."""
_AT, _EMPTY_PATH, _FROM_DESCRIPTOR = -100, 0x1000, 4
_CLONE, _CLOSE_ON_EXEC = 1, os.O_CLOEXEC
_READ_ONLY, _IDMAP, _PRIVATE = 1, 0x100000, 1 << 18
"""Private: what is mounted on a directory appears wherever a shared mount shows it (mount_namespaces(7))."""
_NEW_USER = 0x10000000
_FLAGS = 2 | 4
"""nosuid, nodev."""
_OPTIONS = "redirect_dir=on,metacopy=off,index=off,volatile"
"""A directory that was below may be renamed; files are copied whole; nothing is synced (what a power cut leaves of a
build counts for nothing)."""
_PATIENCE, _PAUSE = 10.0, 0.05
BELOW, ABOVE, _WORK = "below", "above", "work"
_MARK = "trusted.overlay."
_OPAQUE, _REDIRECT = f"{_MARK}opaque", f"{_MARK}redirect"


def mount(tree: Path, room: Path, uid: int, gid: int) -> None:
    """Have all of ``tree`` be ``uid:gid``'s, and what is written there go to ``room``, an empty directory that only
    root can enter. Raises OSError where the kernel or the file system does not offer it; nothing stays."""
    for name in (BELOW, ABOVE, _WORK):
        (room / name).mkdir(mode=0o755)
        (room / name).chmod(0o755)
    os.chown(str(room / ABOVE), uid, gid)
    below = room / BELOW
    _show(tree, below, uid, gid)
    try:
        options = f"lowerdir={below},upperdir={room / ABOVE},workdir={room / _WORK},{_OPTIONS}"
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
            raise PermissionError("a process that is not the build's still uses the tree")
        time.sleep(_PAUSE)


def clear(tree: Path, room: Path) -> None:
    """Unmount what an interrupted build has left, whoever uses it. Raises OSError."""
    for place in (tree, room / BELOW):
        while mounts.is_mount_point(place):
            mounts.detach(place)


def is_renamed(above: Path) -> bool:
    """Whether a directory from below was renamed: what it holds is not all above."""
    return any(_has(path, _REDIRECT) for path, _ in _directories(above))


def move(above: Path, tree: Path, removed: Path) -> list[str]:
    """Move what was changed into ``tree``, and what it replaces or removes to ``removed``, an empty directory. Returns
    the paths of the files that were moved. Raises OSError.

    Only root can write to any of them.
    """
    moved: list[str] = []
    count = 0
    for path, names in _directories(above):
        place = tree / path.relative_to(above)
        for name in names:
            source, target = path / name, place / name
            made, there = os.lstat(str(source)), _mode(target)
            is_directory = stat.S_ISDIR(made.st_mode)
            keeps = is_directory and stat.S_ISDIR(there) and not _has(source, _OPAQUE)
            if there and not keeps:
                os.rename(str(target), str(removed / str(count)))
                count += 1
            if is_directory and not keeps:
                target.mkdir(mode=0o755)
                target.chmod(0o755)
            elif not is_directory and not is_whiteout(made):
                _unmark(source)
                os.rename(str(source), str(target))
                moved.append(str(target.relative_to(tree)))
    return moved


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it stands for the removal of what is below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _directories(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each directory, before those in it, with the names in it."""
    names = sorted(os.listdir(str(top)))
    yield top, names
    for name in names:
        if stat.S_ISDIR(_mode(top / name)):
            yield from _directories(top / name)


def _mode(path: Path) -> int:
    try:
        return os.lstat(str(path)).st_mode
    except FileNotFoundError:
        return 0


def _has(path: Path, mark: str) -> bool:
    try:
        os.getxattr(str(path), mark, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return False
    return True


def _unmark(path: Path) -> None:
    for mark in os.listxattr(str(path), follow_symlinks=False):
        if mark.startswith(_MARK):
            os.removexattr(str(path), mark, follow_symlinks=False)


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
    ours, theirs = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(theirs[1])
            done = _library().unshare(_NEW_USER)
            os.write(ours[1], b"n" if done else b"y")
            os.read(theirs[0], 1)
        os._exit(0)
    try:
        os.close(ours[1])
        if os.read(ours[0], 1) != b"y":
            raise OSError(errno.EOPNOTSUPP, "there are no user namespaces")
        for name, number in (("uid", uid), ("gid", gid)):
            Path(f"/proc/{child}/{name}_map").write_text(f"0 {number} 1")
        namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (ours[0], *theirs):
            os.close(descriptor)
        os.waitpid(child, 0)
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

"""Mounts that show a directory at a second place: read-only, without devices, programs or symbolic links in it."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS, _REMOUNT, _NO_LINKS, _BIND = 1, 2, 4, 8, 32, 256, 4096
_DETACH, _NO_FOLLOW = 2, 8
_OPTIONS = {"ro", "nosuid", "nodev", "noexec", "nosymfollow"}
"""As mountinfo has them (proc(5))."""


def show(descriptor: int, target: Path) -> None:
    """Mount an open directory at ``target``. Raises OSError, also when the kernel is older than 5.10; nothing stays."""
    _mount(f"/proc/self/fd/{descriptor}", target, _BIND)
    try:
        flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS | _NO_LINKS
        _mount("none", target, _BIND | _REMOUNT | flags)
        if not is_shown(target):
            raise OSError(errno.EOPNOTSUPP, "the kernel knows no mounts without symbolic links", str(target))
    except BaseException:
        detach(target)
        raise


def detach(target: Path) -> None:
    """Unmount what is at ``target``; what is still open there goes on. Raises OSError."""
    if _library().umount2(os.fsencode(target), ctypes.c_int(_DETACH | _NO_FOLLOW)):
        raise _error(target)


def is_mount_point(target: Path) -> bool:
    """Whether anything is mounted there."""
    return _options(target) is not None


def is_shown(target: Path) -> bool:
    """Whether a mount like those of :func:`show` is there."""
    return _OPTIONS.issubset(_options(target) or ())


def _options(target: Path) -> set[str] | None:
    """The options of the topmost mount at ``target``; None when nothing is mounted there."""
    found = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")
        if len(words) > 5 and words[4] == os.fsencode(target):
            found = {os.fsdecode(word) for word in words[5].split(b",")}
    return found


def _mount(source: str, target: Path, flags: int) -> None:
    """mount(2), of a directory. Raises OSError."""
    library = _library()
    if library.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None):
        raise _error(target)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(target: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(target))

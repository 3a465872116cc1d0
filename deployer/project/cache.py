"""What can be found out again, kept in the user's cache directory: files that are whole, or do not count.

It saves time and nothing else: what cannot be read, written or trusted is as good as absent, and nobody is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

__all__ = ["Cache", "cache_directory", "name_of"]

_CHECK = 32
"""Bytes at the end of each file: the SHA-256 of all before them."""
_FILES, _BYTES = 50, 100 << 20
"""Files of a cache altogether, and what they may hold."""
_STALE = 3600
"""Seconds after which a file that was begun and never finished is removed."""


class Cache:
    """A directory of such files, each with a name of its own."""

    def __init__(self, directory: Path | None) -> None:
        """``directory``: None where there is no place for it."""
        self._directory = directory

    def load(self, name: str, most: int) -> bytes:
        """A file's content, of ``most`` bytes; empty when there is none, or it is longer, damaged, or may be another
        user's."""
        if self._directory is None or not _private_directory(self._directory):
            return b""
        path = self._directory / name
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not _private(os.fstat(file.fileno()), stat.S_ISREG, 0o077):
                    return b""
                data = file.read(most + _CHECK + 1)
            os.utime(path)  # what is used stays
        except OSError:
            return b""
        body, check = data[:-_CHECK], data[-_CHECK:]
        return body if len(body) <= most and hashlib.sha256(body).digest() == check else b""

    def save(self, name: str, body: bytes) -> None:
        """Keep a content. Several may do that at once: the last one stays. Where there are too many files, those go
        that were not used for longest."""
        if self._directory is None:
            return
        with contextlib.suppress(OSError):
            if not _may_be_made(self._directory):
                return
            # Whatever the umask: another cache may be beside this one, and nobody else may write to either
            self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._directory.mkdir(mode=0o700)
            if _private_directory(self._directory):
                _replace(self._directory / name, body + hashlib.sha256(body).digest())
                _prune(self._directory, keep={name})


def cache_directory(*below: str) -> Path | None:
    """Where the user's programs keep what can be found out again, or a directory in it; None where there is no such
    place."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen, "deployer", *below)
    try:
        return Path.home().joinpath(".cache/deployer", *below)
    except RuntimeError:
        return None


def name_of(project: Path) -> str:
    """The name of the file that is about a project."""
    return hashlib.sha256(os.fsencode(project)).hexdigest()[:32]


def _may_be_made(directory: Path) -> bool:
    """Whether that is a place of this user's own: root leaves no directories in the home of another, as sudo may have
    it."""
    there = next(place for place in (directory, *directory.parents) if os.path.lexists(place))
    return os.geteuid() != 0 or there.lstat().st_uid == 0


def _private_directory(path: Path) -> bool:
    try:
        return _private(path.lstat(), stat.S_ISDIR, 0o022)
    except OSError:
        return False


def _private(status: os.stat_result, kind: Callable[[int], bool], others: int) -> bool:
    """Whether it is of that kind, this user's, and without those rights for others."""
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & others


def _replace(path: Path, data: bytes) -> None:
    """Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def _prune(directory: Path, keep: Collection[str]) -> None:
    """Remove the files that were not used for longest, where there are too many, and those never finished."""
    with os.scandir(directory) as found:
        files = [(one.stat(follow_symlinks=False), one.name) for one in found if one.is_file(follow_symlinks=False)]
    files.sort(key=lambda one: (one[1] in keep, one[0].st_mtime), reverse=True)
    total = count = 0
    for status, name in files:
        begun = name.startswith("new-")
        total, count = total + status.st_size, count + 1
        stale = begun and status.st_mtime < time.time() - _STALE
        full = not begun and name not in keep and (count > _FILES or total > _BYTES)
        if stale or full:
            with contextlib.suppress(FileNotFoundError):
                (directory / name).unlink()

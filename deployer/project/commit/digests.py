"""What was found out about blobs before, kept in the user's cache directory: one file for each project.

It saves time and nothing else: what cannot be read, written or trusted is as good as empty, and nobody is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from deployer.project.commit.blobs import Known

_MAGIC = b"deployer blobs 1\n"
"""Another number is needed when the records change, or what ``filters`` takes for a content that stands for another."""
_RECORD = struct.Struct("<B32s32sQB")
_CHECK = 32
"""Bytes at the end: the SHA-256 of all before them."""
_MOST = 400_000
"""Blobs in one file: 30 MB."""
_SPARE = 5_000
"""Blobs of other commits that are kept whatever the size of the project, beside as many as the project has files."""
_FILES, _BYTES = 50, 100 << 20
"""Files of this cache altogether, and what they may hold."""
_STALE = 3600
"""Seconds after which a file that was begun and never finished is removed."""


class Digests:
    """The digests of one project's blobs, by their names in git."""

    def __init__(self, project: Path, directory: Path | None = None) -> None:
        """``directory``: another one than the user's cache directory."""
        self._directory = directory or cache_directory()
        self._name = hashlib.sha256(os.fsencode(project)).hexdigest()[:32]

    def load(self) -> dict[str, Known]:
        """All that is known; nothing when there is no file, or it is damaged, of another version, or another user's."""
        if self._directory is None or not _private_directory(self._directory):
            return {}
        path = self._directory / self._name
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not _private(os.fstat(file.fileno()), stat.S_ISREG, 0o077):
                    return {}
                data = file.read(len(_MAGIC) + _MOST * _RECORD.size + _CHECK + 1)
            os.utime(path)  # what is used stays
        except OSError:
            return {}
        return _parse(data)

    def save(self, used: Mapping[str, Known], known: Mapping[str, Known]) -> None:
        """Keep what the project uses now, and of what was known before as much as there is room for."""
        if self._directory is None:
            return
        kept = dict(list(used.items())[:_MOST])
        room = min(_MOST, 2 * len(kept) + _SPARE) - len(kept)
        kept.update([item for item in known.items() if item[0] not in kept][: max(room, 0)])
        with contextlib.suppress(OSError):
            if not _may_be_made(self._directory):
                return
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._directory.mkdir(mode=0o700)
            if _private_directory(self._directory):
                _replace(self._directory / self._name, _format(kept))
                _prune(self._directory, keep={self._name})


def cache_directory() -> Path | None:
    """Where the user's programs keep what can be found out again; None where there is no such place."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen) / "deployer"
    try:
        return Path.home() / ".cache/deployer"
    except RuntimeError:
        return None


def _format(blobs: Mapping[str, Known]) -> bytes:
    records = [
        _RECORD.pack(len(name) // 2, bytes.fromhex(name), bytes.fromhex(known.digest), known.size, known.raw)
        for name, known in blobs.items()
    ]
    data = b"".join([_MAGIC, *records])
    return data + hashlib.sha256(data).digest()


def _parse(data: bytes) -> dict[str, Known]:
    body, check = data[:-_CHECK], data[-_CHECK:]
    if not body.startswith(_MAGIC) or (len(body) - len(_MAGIC)) % _RECORD.size:
        return {}
    if hashlib.sha256(body).digest() != check:
        return {}
    return {
        name[:length].hex(): Known(size, digest.hex(), raw)
        for length, name, digest, size, raw in _RECORD.iter_unpack(memoryview(body)[len(_MAGIC) :])
    }


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
    """Several may do that at once: the last one stays. Raises OSError."""
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

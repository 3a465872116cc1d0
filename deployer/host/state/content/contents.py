"""What a directory holds that only root can change: what its file system says of each file, and each file's digest.

A change that goes through the kernel shows in a file's inode, size, modification time or mode (inode(7)): a file all of
whose are what they were when its digest was taken need not be read again. What a medium loses by itself shows only in
the content.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deployer.host.state.content.records import ByPath, Record
from deployer.host.system import ownership
from deployer.wire.tree.entry import directories_of

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = 3
"""How many changed files a message names."""


def listing(directory: bytes) -> ByPath:
    """Inode, size, modification time (nanoseconds), mode of each file and link below a directory. Raises OSError."""
    found: ByPath = {}
    with opened(directory) as place:
        _list(place, b"", found)
    return found


@contextlib.contextmanager
def opened(directory: bytes, parent: int | None = None) -> Iterator[int]:
    """A directory; its files are then reached without the names above it being looked up again for each."""
    place = os.open(directory, _DIRECTORY, dir_fd=parent)
    try:
        yield place
    finally:
        os.close(place)


def _list(directory: int, prefix: bytes, found: ByPath) -> None:
    inner = []
    with os.scandir(directory) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                inner.append(name)
            else:
                found[prefix + name] = _seen(entry.stat(follow_symlinks=False))
    for name in inner:
        with opened(name, directory) as place:
            _list(place, prefix + name + b"/", found)


def _seen(status: os.stat_result) -> bytes:
    return b"%d %d %d %o" % (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def listing_again(directory: Path, before: Record, changed: Iterable[str]) -> tuple[ByPath, set[bytes]]:
    """What is there now at the paths ``changed``, and below them; and the paths of what was there ``before``. No link
    is followed. Raises OSError."""
    tops, paths = set(changed), before.paths
    gone: set[bytes] = set()
    new: ByPath = {}
    # What lies below another of them is listed with that, or is no longer there: a link may have taken its place.
    for top in map(os.fsencode, (path for path in tops if tops.isdisjoint(directories_of([path])))):
        gone.update((top, *paths[bisect.bisect_left(paths, top + b"/") : bisect.bisect_left(paths, top + b"0")]))
        _list_at(directory, os.fsdecode(top), new)
    return new, gone


def _list_at(directory: Path, path: str, found: ByPath) -> None:
    """Add what is at a path, and below it."""
    parent, _, name = path.rpartition("/")
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        ownership.directory_below(directory, parent) as place,
    ):
        seen = os.lstat(name, dir_fd=place)
        if stat.S_ISDIR(seen.st_mode):
            with opened(os.fsencode(name), place) as inner:
                _list(inner, os.fsencode(path) + b"/", found)
        else:
            found[os.fsencode(path)] = _seen(seen)


def digests(
    directory: bytes, seen: Mapping[bytes, bytes], known: Mapping[bytes, bytes], *, cached: bool = True
) -> ByPath:
    """Digest and mode of each file in a listing of ``directory``: as they are ``known``, else read.

    Unless ``cached``, what the page cache holds of a file is dropped first (posix_fadvise(2)): it would hide what the
    medium has lost. Raises OSError.
    """
    with opened(directory) as top:
        return {path: known[path] if path in known else _read(path, top, seen[path], cached) for path in seen}


def _read(path: bytes, top: int, seen: bytes, cached: bool) -> bytes:
    mode = int(seen.rpartition(b" ")[2], 8)
    if stat.S_ISLNK(mode):
        return digest_and_mode("-> " + link_digest(os.readlink(path, dir_fd=top)), mode)
    return digest_and_mode(_digest(path, top, cached) if stat.S_ISREG(mode) else "neither a file nor a link", mode)


def digest_and_mode(content: str, mode: int) -> bytes:
    """What is recorded of a file with this digest, or of a link with ``-> `` and that of its target."""
    return b"%s %o" % (content.encode(), stat.S_IMODE(mode))


def link_digest(target: bytes) -> str:
    return hashlib.sha256(target).hexdigest()


def _digest(path: bytes, top: int, cached: bool) -> str:
    """The digest of a regular file. Raises OSError, also when it is no longer one."""
    found = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=top)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{os.fsdecode(path)} is not a regular file")
        if not cached:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            piece = os.read(descriptor, _CHUNK)
            if not piece:
                return found.hexdigest()
            found.update(piece)
    finally:
        os.close(descriptor)


def text_digest(text: bytes) -> str:
    """The digest of a record, as a seal has it."""
    return hashlib.sha256(text).hexdigest()


def changed(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> list[bytes]:
    """The paths that differ, sorted. New bytecode does not count: root may have run a program of the release."""
    known = {path for path in after if path in before or b"__pycache__/" not in path}
    return sorted(path for path in before.keys() | known if before.get(path) != after.get(path))


def named(paths: list[bytes]) -> str:
    """Paths for people: the first of them, and how many more there are."""
    told = ", ".join(os.fsdecode(path) for path in paths[:_NAMED])
    return told + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")

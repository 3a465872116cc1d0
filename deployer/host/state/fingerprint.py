"""What a sealed directory holds, file by file, so that any later change of it is found and named."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

_CHUNK = 1 << 20
_NAMED = 3
"""Changed files that a message names."""


def sums(directory: Path) -> bytes:
    """A line for each file and link below ``directory``, sorted: digest, mode, path. Raises OSError.

    Only for a directory that nobody but root can change.
    """
    lines: list[bytes] = []
    _below(os.fsencode(directory), b"", lines)
    return b"".join(sorted(lines))


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def changed(before: bytes, after: bytes) -> str:
    """Which files differ between two lists of sums, for people; empty when none does.

    Bytecode that has come since is no change: root may have run a program of the release.
    """
    old, new = _parsed(before), _parsed(after)
    known = {path for path in new if path in old or b"__pycache__/" not in path}
    paths = sorted(path for path in old.keys() | known if old.get(path) != new.get(path))
    named = ", ".join(os.fsdecode(path) for path in paths[:_NAMED])
    return named + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")


def _parsed(text: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b"  ") for line in text.split(b"\0") if line)
    return {path: head for head, _, path in lines}


def _below(directory: bytes, prefix: bytes, lines: list[bytes]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            path = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                _below(entry.path, path + b"/", lines)
                continue
            content = _link(entry.path) if stat.S_ISLNK(status.st_mode) else _file(entry.path)
            lines.append(b"%s %o  %s\0" % (content.encode(), stat.S_IMODE(status.st_mode), path))


def _link(path: bytes) -> str:
    return "-> " + hashlib.sha256(os.readlink(path)).hexdigest()


def _file(path: bytes) -> str:
    """Raises OSError, also for what has become no regular file."""
    found = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{os.fsdecode(path)} is not a regular file")
        while True:
            piece = os.read(descriptor, _CHUNK)
            if not piece:
                return found.hexdigest()
            found.update(piece)
    finally:
        os.close(descriptor)

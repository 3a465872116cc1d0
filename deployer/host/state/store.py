"""Content-addressed directories that are whole or do not count: trees of code, virtual environments.

``<key>/`` is the content, at the path it will be used at for ever (a virtual environment's scripts name their
own path). ``<key>.sums`` has the digest of each file. ``<key>.json`` is its seal: written last, it says the directory
is complete, root-owned and read-only. A directory without a seal is the rest of an attempt that died, and is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.system import files, ownership
from deployer.host.system.runner import run

_KINDS = (".json", ".sums")
_CHUNK = 1 << 20
_NAMED = 3
"""Changed files that a message names."""


@dataclass(frozen=True)
class Store:
    """One kind of content below ``directory``."""

    directory: Path

    def path(self, key: str) -> Path:
        return self.directory / key

    def seal_path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def sums_path(self, key: str) -> Path:
        return self.directory / f"{key}.sums"

    def record(self, key: str) -> dict[str, Any] | None:
        """What was sealed under ``key``; None when nothing was, or its seal cannot be read any more."""
        try:
            record = files.read_object(self.seal_path(key)) if key else None
        except Damaged:
            return None
        return record if record is not None and self.path(key).is_dir() else None

    def begin(self, key: str) -> Path:
        """An empty directory, root's alone, for new content."""
        self.remove(key)
        self.path(key).mkdir(mode=0o755)
        return self.path(key)

    def seal(self, key: str, owner: int, record: dict[str, Any]) -> dict[str, Any]:
        """Take the content for root, read-only; make it durable; then say that it is whole."""
        size = ownership.take(self.path(key), owner)
        text = sums(self.path(key))
        files.write_file(self.sums_path(key), text, 0o600)
        done = run(["sync", "-f", str(self.path(key))], timeout=600)
        if not done.ok:
            raise HostError(f"{self.path(key)} could not be made durable", logs=done.tail())
        sealed = {**record, "size": size, "sums": sums_digest(text)}
        files.write_json(self.seal_path(key), sealed, 0o600)
        return sealed

    def damage(self, key: str) -> str:
        """What is no longer as it was sealed, for people; empty when all is. Reads every file."""
        record = self.record(key)
        if record is None:
            return f"{self.path(key)} is gone, or its seal is"
        if "sums" not in record:
            return ""  # sealed by a version that took no sums
        try:
            found = sums(self.path(key))
            if sums_digest(found) == record["sums"]:
                return ""
            before = self.sums_path(key).read_bytes()
        except OSError as error:
            return f"{self.path(key)} cannot be read: {error}"
        if sums_digest(before) != record["sums"]:
            return str(self.sums_path(key))
        changed = changed_files(before, found)
        return f"below {self.path(key)}: {changed}" if changed else ""

    def mark_damaged(self, key: str, damage: str) -> None:
        """Say in the seal that the content is damaged: it is not given out again, but what runs from it goes on."""
        record = self.record(key)
        if record is not None:  # else it has just been removed
            files.write_json(self.seal_path(key), {**record, "damaged": damage}, 0o600)

    def mark_altered(self, key: str, path: str) -> None:
        """Say in the seal that a source file is not as it was shipped: no upload builds on it any more."""
        record = self.record(key)
        if record is not None:
            files.write_json(self.seal_path(key), {**record, "altered": [*record.get("altered", ()), path]}, 0o600)

    def remove(self, key: str) -> None:
        for path in (self.seal_path(key), self.sums_path(key)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                files.sync_directory(self.directory)
        files.remove_tree(self.path(key))

    def all_keys(self) -> list[str]:
        """Every key that has a directory, a seal or sums."""
        names = (entry.name for entry in self.directory.iterdir() if not entry.name.startswith("."))
        return sorted({name[:-5] if name.endswith(_KINDS) else name for name in names})

    def keep_only(self, wanted: Iterable[str]) -> list[str]:
        """Remove all content that ``wanted`` does not name; return the keys removed."""
        removed = [key for key in self.all_keys() if key not in set(wanted)]
        for key in removed:
            self.remove(key)
        return removed


def sums(directory: Path) -> bytes:
    """A line for each file and link below ``directory``, sorted: digest, mode, path. Raises OSError.

    Only for a directory that nobody but root can change.
    """
    lines: list[bytes] = []
    _below(os.fsencode(directory), b"", lines)
    return b"".join(sorted(lines))


def sums_digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def changed_files(before: bytes, after: bytes) -> str:
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

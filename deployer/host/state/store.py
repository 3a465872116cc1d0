"""Content-addressed directories that are complete or do not count: trees of code, virtual environments.

``<key>/`` is the content, at its final path from the start (a virtual environment's scripts contain their own path).
``<key>.sums`` has the digest of each file. ``<key>.json`` is the seal: written last, it says that the directory is
complete, root's and read-only. A directory without a seal is left over from an attempt that died, and is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

from deployer.host.errors import Damaged, HostError
from deployer.host.system import files, ownership
from deployer.host.system.runner import run
from deployer.wire.lazydata import dataclass

_KINDS = (".json", ".sums")
_CHUNK = 1 << 20
_NAMED = 3
"""How many changed files a message names."""


@dataclass(frozen=True)
class Store:
    """The content of one kind below ``directory``."""

    directory: Path

    def path(self, key: str) -> Path:
        return self.directory / key

    def seal_path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def sums_path(self, key: str) -> Path:
        return self.directory / f"{key}.sums"

    def record(self, key: str) -> dict[str, Any] | None:
        """The seal of ``key``; None when there is none, or it cannot be read."""
        try:
            record = files.read_object(self.seal_path(key)) if key else None
        except Damaged:
            return None
        return record if record is not None and self.path(key).is_dir() else None

    def begin(self, key: str) -> Path:
        """A new empty directory for content, root's alone. Raises OSError."""
        self.remove(key)
        self.path(key).mkdir(mode=0o755)
        return self.path(key)

    def seal(
        self, key: str, owner: int, record: dict[str, Any], finish: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Take the content for root, read-only; let ``finish`` add to it; sync it; then write the seal, and return it.

        Raises PermissionError as :func:`deployer.host.system.ownership.take`, HostError, OSError.
        """
        size = ownership.take(self.path(key), owner)
        finish()
        text = sums(self.path(key))
        files.write_file(self.sums_path(key), text, 0o600)
        done = run(["sync", "-f", str(self.path(key))], timeout=600)
        if not done.ok:
            raise HostError(f"{self.path(key)} could not be made durable", logs=done.tail())
        sealed = {**record, "size": size, "sums": sums_digest(text)}
        files.write_json(self.seal_path(key), sealed, 0o600)
        return sealed

    def damage(self, key: str) -> str:
        """What differs from the seal, for people; empty when nothing does. Reads every file."""
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
        """Record in the seal that the content is damaged: it is not used again, but what runs from it goes on."""
        record = self.record(key)
        if record is not None:  # else it has just been removed
            files.write_json(self.seal_path(key), {**record, "damaged": damage}, 0o600)

    def mark_altered(self, key: str, path: str) -> None:
        """Record in the seal that a source file differs from what was shipped: no upload builds on it any more."""
        record = self.record(key)
        if record is not None:
            files.write_json(self.seal_path(key), {**record, "altered": [*record.get("altered", ()), path]}, 0o600)

    def remove(self, key: str) -> None:
        """Remove content, its seal first. Raises OSError."""
        self._unseal(key)
        files.remove_tree(self.path(key))

    def put_away(self, key: str) -> None:
        """The same, but that the directory is only renamed: :mod:`deployer.host.state.cleanup` removes it."""
        self._unseal(key)
        try:
            files.put_away(self.path(key))
        except OSError:
            files.remove_tree(self.path(key))

    def _unseal(self, key: str) -> None:
        for path in (self.seal_path(key), self.sums_path(key)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                files.sync_directory(self.directory)

    def all_keys(self) -> list[str]:
        """Every key that has a directory, a seal or sums."""
        names = (entry.name for entry in self.directory.iterdir() if not entry.name.startswith("."))
        return sorted({name[:-5] if name.endswith(_KINDS) else name for name in names})

    def keep_only(self, wanted: Iterable[str], *, later: bool = False) -> list[str]:
        """Remove all content that ``wanted`` does not name, or put it away to be removed ``later``; its keys."""
        removed = [key for key in self.all_keys() if key not in set(wanted)]
        for key in removed:
            (self.put_away if later else self.remove)(key)
        return removed


def sums(directory: Path) -> bytes:
    """A line for each file and link below ``directory``, sorted: digest, mode, path. Raises OSError.

    Only for directories that nobody but root can change.
    """
    lines: list[bytes] = []
    _below(os.fsencode(directory), b"", lines)
    return b"".join(sorted(lines))


def sums_digest(text: bytes) -> str:
    """The digest of a list of sums, as a seal has it."""
    return hashlib.sha256(text).hexdigest()


def changed_files(before: bytes, after: bytes) -> str:
    """The files that differ between two lists of sums, for people; empty when none does.

    New bytecode does not count: root may have run a program of the release.
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
    """The digest of a regular file. Raises OSError, also when it is no longer one."""
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

"""Content-addressed directories that are complete or do not count: trees of code, virtual environments.

``<key>/`` is the content, at its final path from the start (a virtual environment's scripts contain their own path).
``<key>.sums`` has the digest of each file, ``<key>.files`` what its file system said of it when that was taken.
``<key>.json`` is the seal: written last, it says that the directory is complete, root's and read-only. A directory
without a seal is left over from an attempt that died, and is removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from deployer.host.errors import Damaged, HostError
from deployer.host.state import contents
from deployer.host.system import files, ownership
from deployer.host.system.runner import run
from deployer.wire.lazydata import dataclass

_KINDS = (".json", ".sums", ".files")
_NOTHING: Mapping[bytes, bytes] = {}


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

    def files_path(self, key: str) -> Path:
        return self.directory / f"{key}.files"

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
        seen = contents.listing(os.fsencode(self.path(key)))
        text = contents.as_text(contents.digests(os.fsencode(self.path(key)), seen, _NOTHING))
        files.write_file(self.sums_path(key), text, 0o600)
        files.write_file(self.files_path(key), contents.as_text(seen), 0o600)
        done = run(["sync", "-f", str(self.path(key))], timeout=600)
        if not done.ok:
            raise HostError(f"{self.path(key)} could not be made durable", logs=done.tail())
        sealed = {**record, "size": size, "sums": contents.text_digest(text)}
        files.write_json(self.seal_path(key), sealed, 0o600)
        return sealed

    def seen(self, key: str) -> contents.Heads:
        """What the file system said of each file when its digest was taken; nothing where that is not recorded."""
        with contextlib.suppress(OSError):
            return contents.parse(self.files_path(key).read_bytes())
        return {}

    def damage(self, key: str, trusted: Mapping[bytes, bytes] = _NOTHING) -> str:
        """What differs from the seal, for people; empty when nothing does.

        Every file is read from the medium, but those of which the file system still says what ``trusted`` does.
        """
        return self._compare(key, trusted)[0]

    def prove(self, key: str, trusted: Mapping[bytes, bytes]) -> str:
        """As :meth:`damage`; what had to be read and is whole need not be read the next time. Raises OSError."""
        damage, seen = self._compare(key, trusted)
        if not damage and seen and seen != trusted and seen != self.seen(key):
            files.write_file(self.files_path(key), contents.as_text(seen), 0o600)
        return damage

    def _compare(self, key: str, trusted: Mapping[bytes, bytes]) -> tuple[str, contents.Heads]:
        """What differs, and what the file system said of all files before they were read."""
        record, seen = self.record(key), contents.Heads()
        if record is None:
            return f"{self.path(key)} is gone, or its seal is", seen
        if "sums" not in record:
            return "", seen  # sealed by a version that took no sums
        try:
            seen = contents.listing(os.fsencode(self.path(key)))
            changed = self._changed(key, str(record["sums"]), seen, trusted) if seen != trusted else []
        except OSError as error:
            return f"{self.path(key)} cannot be read: {error}", seen
        except ValueError as error:
            return str(error), seen
        return f"below {self.path(key)}: {contents.named(changed)}" if changed else "", seen

    def _changed(self, key: str, sums: str, seen: contents.Heads, trusted: Mapping[bytes, bytes]) -> list[bytes]:
        """The paths that differ from what was sealed. Raises ValueError when the list of digests does, OSError."""
        before = self.sums_path(key).read_bytes()
        is_whole = contents.text_digest(before) == sums
        heads = contents.parse(before)
        known = {path: heads[path] for path in heads if is_whole and path in seen and trusted.get(path) == seen[path]}
        found = contents.digests(os.fsencode(self.path(key)), seen, known, cached=False)
        if contents.text_digest(contents.as_text(found)) == sums:
            return []
        if not is_whole:
            raise ValueError(str(self.sums_path(key)))
        return contents.changed(heads, found)

    def mark_damaged(self, key: str, damage: str) -> None:
        """Record in the seal that the content is damaged: it is not used again, but what runs from it goes on.

        So is all other content that shares a damaged file.
        """
        record = self.record(key)
        if record is None:
            return  # it has just been removed
        self._mark(key, record, damaged=damage)
        for other in self._sharing(key, str(record.get("sums", ""))):
            sharing = self.record(other)
            if sharing is not None and not sharing.get("damaged"):
                self._mark(other, sharing, damaged=damage)

    def _sharing(self, key: str, sums: str) -> list[str]:
        """Other content with one of the files of ``key`` that are damaged."""
        try:
            seen = contents.listing(os.fsencode(self.path(key)))
            damaged = {contents.inode(seen[path]) for path in self._changed(key, sums, seen, _NOTHING) if path in seen}
        except (OSError, ValueError):
            return []
        others = (one for one in self.all_keys() if one != key) if damaged else ()
        return [one for one in others if not damaged.isdisjoint(map(contents.inode, self.seen(one).values()))]

    def mark_altered(self, key: str, path: str) -> None:
        """Record in the seal that a source file differs from what was shipped: no upload builds on it any more."""
        record = self.record(key)
        if record is not None:
            self._mark(key, record, altered=[*record.get("altered", ()), path])

    def _mark(self, key: str, record: dict[str, Any], **marks: object) -> None:
        files.write_json(self.seal_path(key), {**record, **marks}, 0o600)

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
        for path in (self.seal_path(key), self.sums_path(key), self.files_path(key)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                files.sync_directory(self.directory)

    def all_keys(self) -> list[str]:
        """Every key that has a directory, a seal or sums."""
        names = (entry.name for entry in self.directory.iterdir() if not entry.name.startswith("."))
        return sorted({name.partition(".")[0] if name.endswith(_KINDS) else name for name in names})

    def keep_only(self, wanted: Iterable[str], *, later: bool = False) -> list[str]:
        """Remove all content that ``wanted`` does not name, or put it away to be removed ``later``; its keys."""
        removed = [key for key in self.all_keys() if key not in set(wanted)]
        for key in removed:
            (self.put_away if later else self.remove)(key)
        return removed

"""Content-addressed directories that are complete or do not count: trees of code, virtual environments.

``<key>/`` is the content, at its final path from the start (a virtual environment's scripts contain their own path).
``<key>.sums`` has the digest of each file, ``<key>.files`` what its file system said of it when that was taken.
``<key>.json`` is the seal: written last, it says that the directory is complete, root's and read-only. A directory
without a seal is left over from an attempt that died, and is removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.state.content import contents
from deployer.host.state.content.listing import Listing
from deployer.host.state.content.records import ByPath, Examined, Record, size_of
from deployer.host.system import files, overlay
from deployer.host.system.runner import run
from deployer.wire.lazydata import dataclass

SEAL, SUMS, FILES, ENTRIES, IDS = "json", "sums", "files", "entries", "ids"
_SCRATCH = f".overlay{files.TEMPORARY}"
_CLONE = ".clone"
_CLONE_DRAFT = f"{_CLONE}{files.TEMPORARY}"
ENDS = (SEAL, SUMS, FILES, ENTRIES, IDS)
"""The ends of the names of the records beside content."""
_LARGE = 200_000
"""Size in bytes of the ``files`` record from which content is listed by a process: about 2000 files."""


@dataclass(frozen=True)
class Store:
    """The content of one kind below ``directory``."""

    directory: Path

    def path(self, key: str) -> Path:
        return self.directory / key

    def beside(self, key: str, end: str) -> Path:
        """A record of the content."""
        return self.directory / f"{key}.{end}"

    def clone(self, key: str) -> Path:
        """Where a clone of the content lies, ready to become other content: :mod:`deployer.host.build.code.clone`."""
        return self.directory / f".{key}{_CLONE}"

    def clone_draft(self, key: str) -> Path:
        """Where a clone is made; whoever makes it holds a lock on it."""
        return self.directory / f".{key}{_CLONE_DRAFT}"

    def clone_drafts(self) -> list[Path]:
        return [self.directory / name for name in files.names(self.directory) if name.endswith(_CLONE_DRAFT)]

    def put_away_clones(self, but: str = "") -> None:
        """Put clones away, to be removed: all ``but`` that of one key. Raises OSError."""
        for name in files.names(self.directory):
            if name.startswith(".") and name.endswith(_CLONE) and self.directory / name != self.clone(but):
                files.put_away_or_remove(self.directory / name)

    def seal_path(self, key: str) -> Path:
        return self.beside(key, SEAL)

    def sums_path(self, key: str) -> Path:
        return self.beside(key, SUMS)

    def files_path(self, key: str) -> Path:
        return self.beside(key, FILES)

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

    def examine(self, key: str, like: Collection[str] = ()) -> Examined:
        """The content as it is. Files that it shares with sealed content ``like`` it are not read. Raises OSError.

        Only for content that nobody but root can change.
        """
        directory = os.fsencode(self.path(key))
        seen, known = contents.listing(directory), ByPath()
        for other in like:
            known.update(self._shared(other, seen))
        digests = contents.digests(directory, seen, known)
        return Examined(Record(seen), Record(digests), size_of(seen.values()))

    def recorded(self, key: str) -> Examined | None:
        """What is recorded of sealed content; nothing is looked at. None when it is damaged, or its records are."""
        record, seen = self.record(key), self._seen(key)
        digests = self.sums(key, str((record or {}).get("sums", "")))
        if record is None or record.get("damaged") or not digests.by_path:
            return None
        if seen.by_path.keys() != digests.by_path.keys():
            return None
        size = record.get("size")  # earlier versions did not record it
        return Examined(seen, digests, size if isinstance(size, int) else size_of(seen.by_path.values()))

    def examine_again(self, key: str, before: Examined, changed: Iterable[str]) -> tuple[Examined, Collection[bytes]]:
        """The content where only what is at the paths ``changed``, and below them, differs from what it was ``before``;
        and the paths of the files that are there now, or were. Raises OSError."""
        new, gone = contents.listing_again(self.path(key), before.seen, changed)
        digests = contents.digests(os.fsencode(self.path(key)), new, {})
        return before.changed(gone, new, digests), new.keys() | gone

    def _shared(self, key: str, seen: ByPath) -> ByPath:
        """Digest and mode of the files with which sealed content agrees."""
        record = self.record(key)
        before, digests = self.seen(key), self.sums(key, str((record or {}).get("sums", ""))).by_path
        if record is None or record.get("damaged"):
            return {}
        return {path: digests[path] for path, one in seen.items() if before.get(path) == one and path in digests}

    def unchanged(self, key: str) -> ByPath:
        """Digest and mode of each file of sealed content of which the file system says what it did then. Raises
        OSError."""
        return self._shared(key, contents.listing(os.fsencode(self.path(key))))

    def sums(self, key: str, digest: str) -> Record:
        """The recorded digests, whose own digest this is; none when the record is damaged or gone."""
        with contextlib.suppress(OSError):
            text = self.sums_path(key).read_bytes()
            if contents.text_digest(text) == digest:
                return Record.parse(text)
        return Record({})

    def seal(self, key: str, record: dict[str, Any], found: Examined) -> dict[str, Any]:
        """Record and sync the content, to which only root can write; then write the seal, and return it. Raises
        HostError, OSError."""
        text = found.digests.text
        files.write_file(self.sums_path(key), text, 0o600, durable=False)
        files.write_file(self.files_path(key), found.seen.text, 0o600, durable=False)
        done = run(["sync", "-f", str(self.path(key))], timeout=600)
        if not done.ok:
            raise HostError(f"{self.path(key)} could not be made durable", logs=done.tail())
        sealed = {**record, "size": found.size, "sums": contents.text_digest(text)}
        self.mark(key, sealed)
        return sealed

    def seen(self, key: str) -> ByPath:
        """What the file system said of each file when its digest was taken; nothing where that is not recorded."""
        return self._seen(key).by_path

    def _seen(self, key: str) -> Record:
        with contextlib.suppress(OSError):
            return Record.parse(self.files_path(key).read_bytes())
        return Record({})

    def remember(self, key: str, seen: Mapping[bytes, bytes]) -> None:
        """Record what the file system said of files that were read and found whole: they need not be read again. Raises
        OSError."""
        files.write_file(self.files_path(key), Record(dict(seen)).text, 0o600)

    def begin_listing(self, key: str) -> Listing:
        """Start to list the files of sealed content; in a process of its own when many are recorded."""
        large = False
        with contextlib.suppress(OSError):
            large = self.files_path(key).stat().st_size >= _LARGE
        return Listing(os.fsencode(self.path(key)), apart=large)

    def has(self, key: str, path: str, place: Path) -> bool:
        """Whether a path in content is the file at a ``place``. Files are only ever shared under one path."""
        try:
            return os.path.samestat(os.lstat(str(self.path(key) / path)), os.lstat(str(place)))
        except OSError:
            return False

    def mark(self, key: str, record: dict[str, Any], **marks: object) -> None:
        """Write the seal again, with marks. Raises OSError."""
        files.write_json(self.seal_path(key), {**record, **marks}, 0o600)

    def remove(self, key: str) -> None:
        """Remove content, its seal first, and what an interrupted build of it has left beside it. Raises OSError."""
        self._unseal(key)
        overlay.clear(self.path(key), scratch_of(self.path(key)))
        for name in files.names(self.directory):
            if name.startswith(f".{key}.") and name.endswith(files.TEMPORARY):
                files.remove_tree(self.directory / name)
        files.remove_tree(self.path(key))

    def put_away(self, key: str) -> None:
        """The same, but that the directory is only renamed: :mod:`deployer.host.state.cleanup` removes it."""
        self._unseal(key)
        files.put_away_or_remove(self.path(key))

    def _unseal(self, key: str) -> None:
        for end in ENDS:
            with contextlib.suppress(FileNotFoundError):
                self.beside(key, end).unlink()
                if end == SEAL:
                    files.sync_directory(self.directory)

    def all_keys(self) -> list[str]:
        """Every key that has a directory or a record."""
        names = (entry.name for entry in self.directory.iterdir() if not entry.name.startswith("."))
        return sorted({name.partition(".")[0] for name in names})

    def keep_only(self, wanted: Iterable[str], *, later: bool = False) -> list[str]:
        """Remove all content that ``wanted`` does not name, or put it away to be removed ``later``; its keys."""
        removed = [key for key in self.all_keys() if key not in set(wanted)]
        for key in removed:
            (self.put_away if later else self.remove)(key)
        return removed


def scratch_of(content: Path) -> Path:
    """Where what a build writes is kept apart from content that is being made. Its name is that of debris."""
    return content.with_name(f".{content.name}{_SCRATCH}")


def content_of(scratch: Path) -> Path | None:
    """The content that such a directory belongs to; None when it is none."""
    name = scratch.name
    return scratch.with_name(name[1 : -len(_SCRATCH)]) if name.startswith(".") and name.endswith(_SCRATCH) else None

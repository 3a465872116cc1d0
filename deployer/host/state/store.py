"""Content-addressed directories that are whole or do not count: trees of code, virtual environments.

``<key>/`` is the content, at the path it will be used at for ever (a virtual environment's scripts name their
own path). ``<key>.sums`` has the digest of each file. ``<key>.json`` is its seal: written last, it says the directory
is complete, root-owned and read-only. A directory without a seal is the rest of an attempt that died, and is removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.state import fingerprint
from deployer.host.system import files
from deployer.host.system.runner import run

_KINDS = (".json", ".sums")


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
        self.discard(key)
        self.path(key).mkdir(mode=0o755)
        return self.path(key)

    def seal(self, key: str, owner: int, record: dict[str, Any]) -> dict[str, Any]:
        """Take the content for root, read-only; make it durable; then say that it is whole."""
        size = files.seal(self.path(key), owner)
        text = fingerprint.sums(self.path(key))
        files.write_file(self.sums_path(key), text, 0o600)
        done = run(["sync", "-f", str(self.path(key))], timeout=600)
        if not done.ok:
            raise HostError(f"{self.path(key)} could not be made durable", logs=done.tail())
        sealed = {**record, "size": size, "sums": fingerprint.digest(text)}
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
            found = fingerprint.sums(self.path(key))
            if fingerprint.digest(found) == record["sums"]:
                return ""
            before = self.sums_path(key).read_bytes()
        except OSError as error:
            return f"{self.path(key)} cannot be read: {error}"
        if fingerprint.digest(before) != record["sums"]:
            return str(self.sums_path(key))
        changed = fingerprint.changed(before, found)
        return f"below {self.path(key)}: {changed}" if changed else ""

    def condemn(self, key: str, damage: str) -> None:
        """Say in the seal that the content is damaged: it is not given out again, but what runs from it goes on."""
        record = self.record(key)
        if record is not None:  # else it has just been removed
            files.write_json(self.seal_path(key), {**record, "damaged": damage}, 0o600)

    def mark_altered(self, key: str, path: str) -> None:
        """Say in the seal that a source file is not as it was shipped: no upload builds on it any more."""
        record = self.record(key)
        if record is not None:
            files.write_json(self.seal_path(key), {**record, "altered": [*record.get("altered", ()), path]}, 0o600)

    def discard(self, key: str) -> None:
        for path in (self.seal_path(key), self.sums_path(key)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                files.sync_directory(self.directory)
        files.remove_tree(self.path(key))

    def found(self) -> list[str]:
        """Every key that has a directory, a seal or sums."""
        names = (entry.name for entry in self.directory.iterdir() if not entry.name.startswith("."))
        return sorted({name[:-5] if name.endswith(_KINDS) else name for name in names})

    def keep_only(self, wanted: Iterable[str]) -> list[str]:
        """Remove all content that ``wanted`` does not name; return the keys removed."""
        removed = [key for key in self.found() if key not in set(wanted)]
        for key in removed:
            self.discard(key)
        return removed

"""Content-addressed directories that are whole or do not count: trees of code, virtual environments.

``<key>/`` is the content, at the path it will be used at for ever (a virtual environment's scripts name their
own path). ``<key>.json`` is its seal: written last, it says the directory is complete, root-owned and read-only. A
directory without a seal is the rest of an attempt that died, and is removed when next in the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host import files
from deployer.host.systemd import run


@dataclass(frozen=True)
class Store:
    """One kind of content below ``directory``."""

    directory: Path

    def path(self, key: str) -> Path:
        return self.directory / key

    def seal_path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def record(self, key: str) -> dict[str, Any] | None:
        """What was sealed under ``key``; None when nothing was."""
        record: dict[str, Any] | None = files.read_json(self.seal_path(key)) if key else None
        return record if record is not None and self.path(key).is_dir() else None

    def begin(self, key: str) -> Path:
        """An empty directory, root's alone, for new content."""
        files.remove_tree(self.path(key))
        self.path(key).mkdir(mode=0o755)
        return self.path(key)

    def seal(self, key: str, owner: int, record: dict[str, Any]) -> dict[str, Any]:
        """Take the content for root, read-only; make it durable; then say that it is whole."""
        size = files.seal(self.path(key), owner)
        run(["sync", "-f", str(self.path(key))], timeout=600)
        sealed = {**record, "size": size}
        files.write_json(self.seal_path(key), sealed, 0o600)
        return sealed

    def discard(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.seal_path(key).unlink()
        files.remove_tree(self.path(key))

    def keys(self) -> list[str]:
        """Every key that has a directory or a seal."""
        names = (entry.name for entry in self.directory.iterdir())
        return sorted({name[:-5] if name.endswith(".json") else name for name in names if not name.startswith(".")})

    def keep_only(self, wanted: Iterable[str]) -> list[str]:
        """Remove all content that ``wanted`` does not name; return the keys removed."""
        removed = [key for key in self.keys() if key not in set(wanted)]
        for key in removed:
            self.discard(key)
        return removed

"""The files of a project on the disk that would ship: nothing is read that a host would not have.

They are listed once, and read only when somebody asks for one: a project may have any number of them.
"""

from __future__ import annotations

import functools
import io
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.files import JUNK_DIRECTORIES, plain_files
from deployer.wire.lazydata import dataclass
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import FILE, LINK, Entry

__all__ = ["DiskFiles"]

_LARGEST = 1 << 22
"""Bytes; no file that is read here has more."""


@dataclass(frozen=True)
class DiskFiles:
    """The files of a directory: what git does not ignore, outside git all but common junk. Raises nothing: what cannot
    be listed or read is not there."""

    root: Path

    @functools.cached_property
    def _listed(self) -> dict[str, bool]:
        """The files by path, relative to the root; whether each is a link."""
        try:
            return dict(_listed(self.root, ""))
        except (ConfigError, OSError):
            return {}

    @functools.cached_property
    def paths(self) -> frozenset[str]:
        """The files by path, relative to the root."""
        return frozenset(self._listed)

    @functools.cached_property
    def entries(self) -> Entries:
        """The files as those of a release, without their sizes and digests, for which all would have to be read."""
        return Entries.of(Entry(path, LINK if link else FILE, 0, "") for path, link in self._listed.items())

    def open(self, entry: Entry) -> BinaryIO:
        """A stream over a file's content; of a link: its target's text. Nothing where it cannot be read."""
        try:
            if entry.kind == LINK:
                return io.BytesIO(os.fsencode(os.readlink(self.root / entry.path)))  # noqa: PTH115
            with (self.root / entry.path).open("rb") as file:
                return io.BytesIO(file.read(_LARGEST))
        except OSError:
            return io.BytesIO()

    def read_text(self, path: str) -> str | None:
        """A file's text; None when there is none that is UTF-8 text and would ship."""
        if path not in self.paths:
            return None
        try:
            with (self.root / path).open("rb") as file:
                return file.read(_LARGEST).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None

    def directories(self, below: str = "") -> list[str]:
        """The directories in one of them, without hidden ones and junk, as names that Python could import."""
        prefix = f"{below}/" if below else ""
        inside = (path.removeprefix(prefix) for path in self.paths if path.startswith(prefix))
        names = {path.partition("/")[0] for path in inside if "/" in path}
        return sorted(name for name in names if name.isidentifier() and name not in JUNK_DIRECTORIES)

    def named(self, name: str, depth: int) -> list[str]:
        """The paths of all files of a name, at most ``depth`` directories down; the highest first."""
        found = [path for path in self.paths if posixpath.basename(path) == name and path.count("/") <= depth]
        kept = [path for path in found if not JUNK_DIRECTORIES & set(path.split("/"))]
        return sorted(kept, key=lambda path: (path.count("/"), path))


def _listed(root: Path, below: str) -> Iterator[tuple[str, bool]]:
    """Each file, with ``below`` in front, and whether it is a link; those of submodules, too."""
    if git.dot_git(root) is None:
        yield from ((f"{below}{path}", (root / path).is_symlink()) for path in plain_files(root))
        return
    for known in git.files(root):
        path = f"{below}{known.path}"
        if not known.submodule:
            yield path, known.link or (not known.tracked and (root / known.path).is_symlink())
        elif os.path.lexists(root / known.path / ".git"):
            yield from _listed(root / known.path, f"{path}/")

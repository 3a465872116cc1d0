"""The files of a project on the disk that would ship: nothing is read that a host would not have."""

from __future__ import annotations

import functools
import posixpath
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.files import JUNK_DIRECTORIES, plain_files

__all__ = ["DiskFiles"]

_LARGEST = 1 << 22
"""Bytes; no file that is read here has more."""


@dataclass(frozen=True)
class DiskFiles:
    """The files of a directory: what git does not ignore, outside git all but common junk."""

    root: Path

    @functools.cached_property
    def paths(self) -> frozenset[str]:
        """The files by path, relative to the root. Raises nothing: what cannot be listed is not there."""
        try:
            if git.dot_git(self.root) is not None:
                return frozenset(one.path for one in git.files(self.root) if not one.submodule)
            return frozenset(plain_files(self.root))
        except (ConfigError, OSError):
            return frozenset()

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

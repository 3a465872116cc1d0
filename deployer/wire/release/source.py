"""Where a release's code came from, and what pins its dependencies."""

from __future__ import annotations

import itertools
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import DIGEST
from deployer.wire.reader import LINE, Reader
from deployer.wire.release.shared import PLAIN_LENGTH, PLAIN_PATH
from deployer.wire.release.versions import REQUIRES
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import Entry

LOCKS = ("uv", "pylock", "requirements", "none")
DIRECTORY, DIRECTORY_LENGTH = PLAIN_PATH, PLAIN_LENGTH
"""A directory of the project, relative to it."""
OPTIONAL_DIRECTORY = pattern(rf"(?:{DIRECTORY.pattern})?\Z")
_COMMIT = pattern(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?\Z")
PART = pattern(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
"""The name of a dependency group or an extra."""
PART_LENGTH = 128
MOST_PARTS = 64
_PATH = pattern(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}\Z")


@dataclass(frozen=True)
class SourceSpec:
    """Where the code came from. ``digest`` is that of its tree of files; ``commit`` may be empty, ``ref`` as typed."""

    digest: str
    commit: str
    ref: str
    dirty: bool

    @classmethod
    def parse(cls, value: Any) -> SourceSpec:
        read = Reader(value, "source")
        source = cls(
            digest=read.text("digest", DIGEST),
            commit=read.text("commit", _COMMIT),
            ref=read.text("ref", length=256),
            dirty=read.boolean("dirty"),
        )
        read.done()
        return source


@dataclass(frozen=True)
class LockSpec:
    """The file that pins the dependencies, and all else that an installer reads, relative to the code.

    ``files`` are single files, ``directories`` sources that are installed from the code itself (``.``: all of it).
    ``requires`` is what the lock says of Python (``>=3.11``), empty when it says nothing. ``directory`` is where the
    installer runs (empty: at the root of the code). ``groups`` and ``extras`` are installed besides what is by default.
    ``hashes``: nothing is installed whose hash the file does not have.
    """

    kind: str
    path: str
    files: tuple[str, ...]
    directories: tuple[str, ...] = ()
    requires: str = ""
    directory: str = ""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    hashes: bool = False

    def covered(self, entries: Entries) -> list[Entry]:
        """The files of the code that an installer may read, sorted: they name the environment, and are there for a
        build."""
        inside = (entries.below("" if directory == "." else directory) for directory in self.directories)
        return sorted({*entries.those(self.files), *itertools.chain.from_iterable(inside)})

    @classmethod
    def parse(cls, value: Any) -> LockSpec:
        """Records written before local sources, directories, groups, extras and hashes were recorded have none."""
        none: dict[str, Any] = {
            "directories": [], "requires": "", "directory": "", "groups": [], "extras": [], "hashes": False,
        }  # fmt: skip
        read = Reader({**none, **value} if isinstance(value, dict) else value, "lock")
        kind = read.choice("kind", LOCKS)
        path = read.text("path", LINE, 1024)
        files = read.texts("files", _PATH, 4096)
        directories = read.texts("directories", _PATH, 4096)
        requires = read.text("requires", REQUIRES)
        directory = read.text("directory", OPTIONAL_DIRECTORY, DIRECTORY_LENGTH)
        parts = [_parts(read, key) for key in ("groups", "extras")]
        hashes = read.boolean("hashes")
        read.done()
        if (kind == "none") != (path == "") or (path and path not in files):
            raise ValueError("lock: path, kind and files do not fit each other")
        return cls(
            kind=kind,
            path=path,
            files=files,
            directories=directories,
            requires=requires,
            directory=directory,
            groups=parts[0],
            extras=parts[1],
            hashes=hashes,
        )


def _parts(read: Reader, key: str) -> tuple[str, ...]:
    parts = read.texts(key, PART, MOST_PARTS)
    if any(len(part) > PART_LENGTH for part in parts):
        raise ValueError(f"lock.{key}: holds a name of more than {PART_LENGTH} characters")
    return parts

"""Files of the disk, and what may ship: regular files and links that stay inside, with harmless names."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from deployer.errors import ConfigError
from deployer.project.commit.blobs import Blobs, Known
from deployer.project.commit.contents import Contents
from deployer.project.filters import CONTENT, raw_kind
from deployer.project.patterns import glob
from deployer.project.spool import Readable, Spool
from deployer.wire.advice import do
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, FILE, LINK, MAX_PATH, Entry

JUNK_DIRECTORIES = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".pytest_cache",
        ".ruff_cache", ".tox", ".nox", ".idea", ".vscode", ".cache", ".eggs",
    }
)  # fmt: skip
JUNK_SUFFIXES = (".pyc", ".pyo", ".sqlite3", ".sqlite3-wal", ".sqlite3-shm", ".swp", "~")
MAX_NAME = 255
"""Bytes in one name, on all common file systems."""


class Collection:
    """Files gathered for one release: their entries, and their contents."""

    def __init__(self, root: Path, spool: Spool | None = None) -> None:
        """``spool``: that of another collection which these files are to be added to."""
        self.root, self.contents = root, Contents(spool or Spool())
        self.raw: dict[str, int] = {}
        """The files whose content stands for another, as ``filters`` tells them apart."""
        self._before = Entries(())
        self._entries: dict[str, Entry] = {}
        self._plain: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        yield from self._before.paths
        yield from self._entries

    def __contains__(self, path: str) -> bool:
        return path in self._entries or self._before.find(path) is not None

    def begin(self, entries: Entries) -> None:
        """Begin with files that are known already, and none of which is added again."""
        self._before = entries

    def add_file(self, path: str, content: Readable, *, executable: bool) -> None:
        """Add a file. Raises ConfigError for a name that cannot ship."""
        self._add(path, EXECUTABLE if executable else FILE, content)

    def add_link(self, path: str, target: str) -> None:
        """Add a link. Raises ConfigError when it leads out of the tree, or its name or target cannot ship."""
        check_name(target)
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if target.startswith("/") or inside == ".." or inside.startswith("../"):
            raise ConfigError(message=f"{path} is a link that leads out of the project, to {target}")
        self._add(path, LINK, io.BytesIO(target.encode()))

    def add_path(self, path: str) -> None:
        """Add what is on the disk below the root. Raises ConfigError for what cannot be read or shipped."""
        check_name(path)
        place = f"{self.root}/{path}"
        try:
            if stat.S_ISLNK(os.lstat(place).st_mode):
                return self.add_link(path, os.readlink(place))  # noqa: PTH115 (the text as it is, ./ and all)
            with os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise special(path)
                self.add_file(path, file, executable=bool(status.st_mode & 0o100))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the temporary directory, not of the file
                raise
            if Path(place).exists() and not Path(place).is_file():
                raise special(path) from None
            raise ConfigError(message=f"{path} cannot be read: {error.strerror}") from None

    def add_blobs(self, blobs: Blobs, names: Mapping[str, str], known: Mapping[str, Known], programs: Set[str]) -> None:
        """Add files whose contents are blobs of git: ``names`` has the blob of each path, ``known`` what is known of a
        blob; ``programs`` are executable. Raises ConfigError for a path that cannot ship."""
        check_names(names)
        self.contents.add_blobs(blobs, names)
        found = [known[name] for name in names.values()]
        kinds = [EXECUTABLE if path in programs else FILE for path in names]
        entries = map(Entry, names, kinds, [one.size for one in found], [one.digest for one in found])
        self._entries.update(zip(names, entries, strict=True))
        self.raw = {path: raw for path, raw in self.raw.items() if path not in names}
        self.raw.update({path: one.raw for path, one in zip(names, found, strict=True) if one.raw != CONTENT})

    def add_from(self, other: Collection, path: str) -> None:
        """Add a file of another collection as it is there."""
        self.contents.add_from(other.contents, path)
        self._note(other._entries[path], other.raw.get(path, CONTENT))

    def add_all(self, other: Collection) -> None:
        """Add all files of another collection as they are there; what that has begun with, this one begins with."""
        self._before = other._before if other._before else self._before
        self.contents.add_all(other.contents)
        self.raw = {path: raw for path, raw in self.raw.items() if path not in other._entries} | other.raw
        self._entries.update(other._entries)

    def exists(self, path: str) -> bool:
        """Whether there is something at the path on the disk, and no link on the way to it."""
        return os.path.lexists(f"{self.root}/{path}") and not linked_parent(self.root, path, self._plain)

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at the path on the disk, and no link on the way to it, nor there."""
        place = self.root / path.rstrip("/")
        return place.is_dir() and not place.is_symlink() and not linked_parent(self.root, path.rstrip("/"), self._plain)

    def entries(self) -> Entries:
        """All entries. Raises ConfigError for none, and for one below a file or a link."""
        if not self._entries and not self._before:
            raise ConfigError(message=f"there is nothing to ship in {self.root}: git tracks no file there")
        try:
            return self._before.plus(list(self._entries.values()))
        except ValueError as error:
            raise ConfigError(message=str(error)) from None

    def _add(self, path: str, kind: str, content: Readable) -> None:
        check_name(path)
        kept = self.contents.add(path, content)
        raw = CONTENT if kind == LINK else raw_kind(kept.size, kept.head)
        self._note(Entry(path, kind, kept.size, kept.digest), raw)

    def _note(self, entry: Entry, raw: int) -> None:
        self._entries[entry.path] = entry
        self.raw.pop(entry.path, None)
        if raw != CONTENT:
            self.raw[entry.path] = raw


def special(path: str) -> ConfigError:
    return ConfigError(message=f"{path} is neither a file nor a link (a socket or a device?): it cannot ship")


def check_names(paths: Iterable[str]) -> None:
    """Raises ConfigError as :func:`check_name`."""
    together = "".join(paths)
    if together.isascii() and together.isprintable() and max(map(len, paths), default=0) <= MAX_NAME:
        return
    for path in paths:
        check_name(path)


def check_name(path: str) -> None:
    """Raises ConfigError for names that not every host, log and tool can hold."""
    if len(path) <= MAX_NAME and path.isascii() and path.isprintable():
        return
    try:
        parts = path.encode().split(b"/")
    except UnicodeEncodeError:
        raise ConfigError(message=f"the name {os.fsencode(path)!r} is not UTF-8: it cannot ship") from None
    if any(char < " " or char == "\x7f" for char in path):
        raise ConfigError(message=f"the name {path!r} has a newline or another control character: it cannot ship")
    if len(path) > MAX_PATH or any(len(part) > MAX_NAME for part in parts):
        raise ConfigError(message=f"the name {path[:60]!r}… is too long: it cannot ship")


def linked_parent(root: Path, path: str, plain: set[str] | None = None) -> str:
    """The first directory on the way to ``path`` that is a link; empty when there is none.

    ``plain`` are directories that are known to be none, and gets those that were looked at.
    """
    plain = set() if plain is None else plain
    parts = path.split("/")
    for end in range(1, len(parts)):
        parent = "/".join(parts[:end])
        if parent in plain:
            continue
        if os.path.islink(f"{root}/{parent}"):  # noqa: PTH114 (one call for each file of a project)
            return parent
        plain.add(parent)
    return ""


def included(root: Path, patterns: Iterable[str]) -> list[str]:
    """The paths of the files and links that the patterns match on the disk, sorted.

    Raises ConfigError for a pattern that matches nothing, leads out of the root or through a link.
    """
    found: set[str] = set()
    for pattern in patterns:
        matches = set(matching(root, pattern))
        if not matches:
            raise ConfigError(
                message=f"include: {pattern!r} matches no file in {root}",
                next=do("build the files first, or fix the pattern"),
            )
        found |= matches
    return sorted(found)


def matching(root: Path, pattern: str) -> Iterator[str]:
    """The files that one pattern matches; a directory stands for all files in it."""
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ConfigError(message=f"include: {pattern!r} leads out of {root}")
    try:
        matches = sorted(set(glob(root, pattern)))
    except ValueError as error:
        raise ConfigError(message=f"include: {pattern!r} is not a pattern: {error}") from None
    for path in matches:
        if link := linked_parent(root, path):
            raise ConfigError(message=f"include: {pattern!r} leads through the link {link}")
        if (root / path).is_dir() and not (root / path).is_symlink():
            yield from walk(root, path, frozenset({".git"}))
        elif ".git" not in Path(path).parts:
            yield path


def plain_files(root: Path) -> list[str]:
    """All files and links of a directory, but common junk, sorted."""
    paths = walk(root, ".", JUNK_DIRECTORIES)
    return sorted(path for path in paths if not path.endswith(JUNK_SUFFIXES) and not dotenv(path))


def dotenv(path: str) -> bool:
    name = posixpath.basename(path)
    return name == ".env" or (name.startswith(".env.") and not name.endswith((".example", ".sample", ".template")))


def walk(root: Path, below: str, skip: frozenset[str]) -> Iterator[str]:
    """The files and links (to directories, too) below a directory, less directories named in ``skip``."""
    for place, directories, files in os.walk(root / below):
        base = Path(place).relative_to(root)
        links = [name for name in directories if (Path(place) / name).is_symlink()]
        directories[:] = [name for name in directories if name not in skip and name not in links]
        for name in (*files, *links):
            yield (base / name).as_posix()

"""The files of a release as an installer reads them: directories, links that are followed, and what a lock names."""

from __future__ import annotations

import importlib
import posixpath
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from typing import Any, BinaryIO, Protocol

from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.lazydata import dataclass
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import LINK, Entry

_HOPS = 40
"""Links in one path, as Linux has it."""

_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_TOML: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


class Files(Protocol):
    """Files of a release, or of the disk: each by its path, and read when that is asked for."""

    @property
    def entries(self) -> Entries: ...

    def open(self, entry: Entry) -> BinaryIO: ...

    def read_text(self, path: str) -> str | None: ...


class Shipped:
    """What ships, by path relative to ``base`` (empty: the project itself).

    ``..`` may lead out of that, but not of the project.
    """

    def __init__(self, source: Files, base: str = "") -> None:
        self._source, self._entries = source, source.entries
        self.base = base

    def at(self, base: str) -> Shipped:
        """The same files, with paths relative to a directory of the project."""
        return Shipped(self._source, base)

    def placed(self, path: str) -> str:
        """A path relative to the project."""
        return posixpath.normpath(posixpath.join(self.base, path))

    def real(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Where a path leads, and the links on the way there; both relative to the project."""
        return self._real(self.placed(path))

    def _real(self, path: str) -> tuple[str, tuple[str, ...]]:
        links: list[str] = []
        while len(links) < _HOPS:
            on_the_way = map(self._entries.find, (*_parents(path), path))
            entry = next((one for one in on_the_way if one is not None and one.kind == LINK), None)
            if entry is None:
                return path, tuple(links)
            links.append(entry.path)
            target = self._source.open(entry).read().decode("utf-8", "surrogateescape")
            beside, rest = posixpath.dirname(entry.path), path[len(entry.path) + 1 :]
            path = posixpath.normpath(posixpath.join(beside, target, rest))
        return path, tuple(links)

    def is_file(self, path: str) -> bool:
        return self._entries.find(self.real(path)[0]) is not None

    def is_directory(self, path: str) -> bool:
        return self._is_directory(self.real(path)[0])

    def _is_directory(self, path: str) -> bool:
        return path == "." or self._entries.has_directory(path)

    def text(self, path: str) -> str | None:
        """A file's text; None when there is no such file. Raises ConfigError when it is not UTF-8."""
        return self._source.read_text(self.real(path)[0])

    def toml(self, path: str) -> dict[str, Any]:
        """The tables of a file; none when there is no such file. Raises ConfigError for what is not TOML."""
        try:
            return parse_toml(self.text(path) or "")
        except ValueError as error:
            raise ConfigError(message=f"{path}: {error}") from None

    def closed(self, files: Iterable[str], directories: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The same files and directories, with all that links in them lead to; sorted, nothing named twice, and all of
        them relative to the project."""
        waiting = [self.placed(path) for path in (*files, *directories)]
        found: set[str] = set()
        places: set[str] = set()
        while waiting:
            path, links = self._real(waiting.pop())
            found.update(links)
            if self._entries.find(path) is not None:
                found.add(path)
            elif self._is_directory(path) and path not in places:
                places.add(path)
                inside = self._entries.below("" if path == "." else path)
                waiting += [one.path for one in inside if one.kind == LINK]
        return tuple(sorted(found)), tuple(sorted(place for place in places if not _within(place, places)))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What deploy.toml chooses of a lock: dependency groups and extras, and the directory that the app runs in.

    ``directory`` is relative to that of the lock (``.``: the same; it may begin with ``..``).
    """

    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    directory: str = "."

    def refuse_unknown(self, path: str, groups: Collection[str], extras: Collection[str]) -> None:
        """Raises ConfigError naming a group or an extra that the lock, whose are given, does not have."""
        for key, named, known in (("groups", self.groups, groups), ("extras", self.extras, extras)):
            for name in (name for name in named if name not in known):
                there = f"it has {', '.join(sorted(known))}" if known else f"it has no {key}"
                raise ConfigError(
                    message=f"dependencies.{key} of deploy.toml names {name!r}, which {path} does not have; {there}",
                    state="nothing was touched",
                    next=do(f"correct dependencies.{key} in deploy.toml, or lock again and commit"),
                )


@dataclass(frozen=True, kw_only=True)
class Reads:
    """``absent`` names packages that the lock has and that are not installed, each with what they belong to.

    ``directory`` is where an installer has to run, relative to that of the lock.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    requires: str = ""
    floating: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    directory: str = "."
    groups: tuple[str, ...] = ()
    """Those that have to be named beside the chosen ones, or they would not be installed any more."""

    def joined(self, other: Reads) -> Reads:
        """With the files of another."""
        return replace(self, files=self.files + other.files, directories=self.directories + other.directories)


def is_archive(path: str) -> bool:
    """Whether a path is that of a wheel or a source archive."""
    return path.endswith(_ARCHIVES)


def inside(shipped: Shipped, path: str, where: str) -> str:
    """The path, normalised. Raises ConfigError when it leads out of the project."""
    normal = posixpath.normpath(path)
    placed = shipped.placed(path)
    if normal.startswith("/"):
        raise ConfigError(
            message=f"{where}: {path} is a place of the machine where this was written (conda writes such lines): "
            "no host has it",
            next=do("name the version instead (pip list --format=freeze > requirements.txt), then commit"),
        )
    if placed.startswith("../") or placed == ".." or ":" in normal:
        raise ConfigError(
            message=f"{where}: {path} is not a file of the project, so it does not ship",
            next=do("move it into the project, or deploy the directory that holds both"),
        )
    return normal


def local(shipped: Shipped, path: str, where: str) -> Reads:
    """An archive, or a directory whose sources are installed. Raises ConfigError when it does not ship."""
    path = inside(shipped, path, where)
    if shipped.is_file(path):
        return Reads(files=(path,))
    if shipped.is_directory(path):
        return Reads(directories=(path,))
    raise ConfigError(
        message=f"{where} names {path}, which does not ship with the code",
        next=do(f"git add {path}, and commit it"),
    )


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError for what is not TOML."""
    tables: dict[str, Any] = _TOML.loads(text)
    return tables


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _within(place: str, places: set[str]) -> bool:
    return place != "." and ("." in places or any(parent in places for parent in _parents(place)))

"""Which lock file a project has, what of it a host needs, and what is to be said of it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deployer.project.detect.disk import DiskFiles
from deployer.project.locks import otherlocks
from deployer.project.locks.installing import places
from deployer.project.locks.lockfile import KINDS, kind_of
from deployer.project.locks.otherlocks import OtherLock
from deployer.project.shipped import parse_toml
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["LockChoice", "choose_lock", "lock_text", "read_toml"]

_INCLUDES = pattern(r"^\s*(?:-r|--requirement)[\s=]*(\S+)", re.MULTILINE)
_DEEPEST = 5

_PRODUCTION = ("production", "prod", "deployment", "deploy", "live", "server")
_REQUIREMENTS = tuple(
    pattern.format(name)
    for name in (*_PRODUCTION, "base")
    for pattern in ("requirements/{}.txt", "requirements-{}.txt", "requirements_{}.txt", "requirements.{}.txt")
)


@dataclass(frozen=True, kw_only=True)
class LockChoice:
    """``path`` is the lock (empty: none). It is ``named`` in deploy.toml where nobody would find it by itself.

    ``groups`` and ``extras`` are those for production. ``beside`` are other locks that are not used; ``other`` is
    another tool's, where there is no lock that an installer reads.
    """

    path: str = ""
    named: bool = False
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    other: tuple[str, OtherLock] | None = None

    @property
    def kind(self) -> str:
        return kind_of(self.path) if self.path else ""


def choose_lock(files: DiskFiles, directory: str = "", chosen: str = "") -> LockChoice:
    """The lock for an app that runs in a directory of the project: what a deploy finds, else requirements of a usual
    name, those for production first; or the ``chosen`` one of them."""
    usual = [path for path in _candidates(directory, KINDS) if path in files.paths]
    others = [path for path in _candidates(directory, _REQUIREMENTS) if path in files.paths]
    if not usual and not others:
        names = [other.name for other in otherlocks.OTHER_LOCKS]
        foreign = [path for path in _candidates(directory, names) if path in files.paths]
        return LockChoice(other=otherlocks.found(foreign))
    first = (usual or others)[0]
    path = chosen if chosen in (*usual, *others) else first
    groups, extras = _for_production(files, path, directory)
    beside = tuple(one for one in (*usual, *others) if one not in (path, *_included(files, path)) and "base" not in one)
    return LockChoice(path=path, named=not usual or path != first, groups=groups, extras=extras, beside=beside)


def _candidates(directory: str, names: Mapping[str, str] | tuple[str, ...] | list[str]) -> list[str]:
    return [posixpath.join(place, name) for place in places(directory) for name in names]


def _for_production(files: DiskFiles, path: str, directory: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dependency groups and extras whose name says that a host needs them."""
    if kind_of(path) != "uv":
        lock = read_toml(files, path) if kind_of(path) == "pylock" else {}
        return _named(lock.get("dependency-groups")), _named(lock.get("extras"))
    base = posixpath.dirname(path)
    own = posixpath.join(directory, "pyproject.toml")
    project = read_toml(files, own if own in files.paths else posixpath.join(base, "pyproject.toml"))
    table = project.get("project")
    extras = table.get("optional-dependencies") if isinstance(table, dict) else None
    return _named(project.get("dependency-groups")), _named(extras)


def _named(names: Any) -> tuple[str, ...]:
    return tuple(_production(names)) if isinstance(names, (dict, list)) else ()


def _production(names: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    return (name for name in names if isinstance(name, str) and name.lower() in _PRODUCTION)


def read_toml(files: DiskFiles, path: str) -> dict[str, Any]:
    """The tables of a file; none when there is no such file, or it is not TOML."""
    try:
        return parse_toml(files.read_text(path) or "")
    except ValueError:
        return {}


def _included(files: DiskFiles, path: str) -> list[str]:
    """What a requirements file includes by itself."""
    found = _INCLUDES.findall(files.read_text(path) or "") if kind_of(path) == "requirements" else []
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), one)) for one in found]


def lock_text(files: DiskFiles, path: str, depth: int = 0) -> str:
    """The text of a lock, with that of the requirements it includes; in lower case."""
    text = files.read_text(path) or ""
    inner = _included(files, path) if depth < _DEEPEST else []
    return "\n".join([text.lower(), *(lock_text(files, one, depth + 1) for one in inner)])

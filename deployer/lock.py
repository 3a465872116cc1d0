"""The file that pins an app's dependencies, among those that ship. Its digest names the environment."""

from __future__ import annotations

import hashlib
import importlib
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deployer.errors import ConfigError
from deployer.source import Source

KINDS = {"uv.lock": "uv", "pylock.toml": "pylock", "requirements.txt": "requirements"}
"""File names, the first that ships wins."""
INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<path>\S+)")
EDITABLE = re.compile(r"(?:-e|--editable)\b")
LOCAL = re.compile(r"(?:\.{1,2}(?:/|\Z)|/|file:)|\S+\s*@\s*file:|[^\s:@]+\.(?:whl|tar\.gz|zip)(?:\s|\Z)")

toml_module: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``kind`` is ``uv``, ``pylock``, ``requirements`` or ``none``; ``path`` the file or ``""``.

    ``files`` are all that an installer reads; ``digest`` is a SHA-256 in hex over what shapes the result.
    """

    kind: str
    path: str = ""
    digest: str = ""
    files: tuple[str, ...] = ()


def find_lock(source: Source, *, required: bool = True) -> Lock:
    """The lock among the files that ship.

    ``required``: none is a ConfigError that says how to make one (an app with its own ``command`` may do
    without). Raises ConfigError for requirements that are not there, or that install the project itself.
    """
    path = next((name for name in KINDS if source.find(name)), None)
    if path is None and required:
        raise ConfigError(
            message=f"none of {', '.join(KINDS)} ships with the code: the dependencies are not known",
            state="nothing was touched",
            next="uv lock (or pip freeze > requirements.txt), then git add and commit the file",
        )
    if path is None:
        return Lock(kind="none", digest=hashlib.sha256(b"none").hexdigest())
    shaping = {"uv": uv_files, "pylock": plain, "requirements": requirements}[KINDS[path]](source, path)
    digest = hashlib.sha256(json.dumps([KINDS[path], shaping], sort_keys=True).encode()).hexdigest()
    return Lock(kind=KINDS[path], path=path, digest=digest, files=tuple(shaping))


def content(source: Source, path: str) -> str:
    """The digest of a file that ships."""
    entry = source.find(path)
    return entry.digest if entry else ""


def plain(source: Source, path: str) -> dict[str, str]:
    """One file that says it all."""
    return {path: content(source, path)}


def uv_files(source: Source, path: str) -> dict[str, str]:
    """uv.lock, and those parts of pyproject.toml that say what of it is installed."""
    text = source.read_text("pyproject.toml")
    if text is None:
        raise ConfigError(
            message="uv.lock ships without its pyproject.toml",
            next="git add pyproject.toml",
        )
    try:
        tables = toml(text)
    except ValueError as error:
        raise ConfigError(message=f"pyproject.toml: {error}") from None
    project = tables.get("project", {})
    keys = ("requires-python", "dependencies", "optional-dependencies")
    parts = [
        {key: project.get(key) for key in keys},
        tables.get("dependency-groups"),
        tables.get("tool", {}).get("uv"),
    ]
    shape = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    return {path: content(source, path), "pyproject.toml": shape}


def requirements(source: Source, path: str) -> dict[str, str]:
    """A requirements file and all that it includes, each with its content's digest."""
    found: dict[str, str] = {}
    waiting = [(path, "")]
    while waiting:
        path, named_by = waiting.pop()
        if path in found:
            continue
        if source.find(path) is None:
            raise ConfigError(
                message=f"{named_by} names {path}, which does not ship with the code", next=f"git add {path}"
            )
        found[path] = content(source, path)
        waiting += references(source, path)
    return found


def references(source: Source, path: str) -> Iterator[tuple[str, str]]:
    """The files that a requirements file names, each with ``file:line`` where it does."""
    text = source.read_text(path) if path.endswith((".txt", ".in")) else ""
    for number, line in enumerate((text or "").splitlines(), 1):
        rule, where = re.sub(r"(?:^|\s)#.*", "", line).strip(), f"{path}:{number}"
        if match := INCLUDE.match(rule):
            yield inside(posixpath.join(posixpath.dirname(path), match["path"]), where), where
        elif EDITABLE.match(rule) or LOCAL.match(rule):
            yield local_package(source, rule, where), where


def local_package(source: Source, line: str, where: str) -> str:
    """The path of a wheel or source archive that ships. Raises ConfigError for a directory."""
    path = inside(line.split()[0].removeprefix("file:"), where) if not EDITABLE.match(line) else ""
    if path and source.find(path):
        return path
    raise ConfigError(
        message=f"{where}: {line!r} installs a directory, whose changes an environment would not follow",
        next="take the line out: the code's own directory is importable as it is",
    )


def inside(path: str, where: str) -> str:
    """The path, normalised. Raises ConfigError when it leads out of the project."""
    normal = posixpath.normpath(path)
    if normal.startswith(("/", "../")) or normal == ".." or ":" in normal:
        raise ConfigError(message=f"{where}: {path} is not a file of the project, so it does not ship")
    return normal


def toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError for what is not TOML."""
    tables: dict[str, Any] = toml_module.loads(text)
    return tables

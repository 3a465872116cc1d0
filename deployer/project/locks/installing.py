"""What an installer reads besides the lock: uv's own settings, and which Python the project asks for."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from deployer.project.shipped import Reads, Shipped
from deployer.wire.lazyre import pattern

__all__ = ["asked_python", "places", "python_version", "settings_from"]

_PYTHON_VERSION = ".python-version"
_VERSION = pattern(r"(?:cpython[@-]|python)?(3\.[0-9]{1,2})(?:\.[0-9]+)?")
"""A patch release is the host's to choose: it has one Python 3.12."""


def places(directory: str) -> list[str]:
    """The app's directory and those above it, up to the project's (empty); the nearest first."""
    parents = [str(parent) for parent in PurePosixPath(directory).parents] if directory else []
    return ["" if place == "." else place for place in ([directory, *parents] if directory else [""])]


def _with(project: Shipped, base: str, name: str) -> Shipped:
    """The project as seen from the nearest directory, from ``base`` up, that has a file of that name."""
    found = (place for place in places(base) if project.at(place).is_file(name))
    return project.at(next(found, base))


def settings_from(project: Shipped, base: str) -> Reads:
    """uv's own settings, as it finds them from ``base`` up; paths are relative to ``base``."""
    for place in places(base):
        reads = _settings(project.at(place))
        if reads.files:
            there = posixpath.relpath(place or ".", base or ".")
            files, directories = ([f"{there}/{one}" for one in found] for found in (reads.files, reads.directories))
            return Reads(files=tuple(files), directories=tuple(directories))
    return Reads()


def asked_python(project: Shipped, base: str) -> str:
    """The Python that the project says it needs: no installer of requirements reads that."""
    table = _with(project, base, "pyproject.toml").toml("pyproject.toml").get("project")
    requires = table.get("requires-python") if isinstance(table, dict) else None
    return requires.replace(" ", "") if isinstance(requires, str) else ""


def python_version(project: Shipped, base: str) -> tuple[str, str]:
    """The Python that ``.python-version`` asks for, in its first line; and a warning when that is not used."""
    lines = (
        line.partition("#")[0].strip()
        for line in (_with(project, base, _PYTHON_VERSION).text(_PYTHON_VERSION) or "").splitlines()
    )
    asked = next(filter(None, lines), "")
    found = _VERSION.fullmatch(asked)
    if found or not asked:
        return (found[1] if found else ""), ""
    return "", f'{_PYTHON_VERSION} asks for {asked!r}, which is not used: python = "3.12" in deploy.toml, say, is'


def _settings(shipped: Shipped) -> Reads:
    """uv's own settings in the project: it reads them whatever the lock."""
    if shipped.is_file("uv.toml"):
        return _local("uv.toml", shipped.toml("uv.toml"))
    table = shipped.toml("pyproject.toml").get("tool")
    own = table.get("uv") if isinstance(table, dict) else None
    return _local("pyproject.toml", own) if isinstance(own, dict) else Reads()


def _local(path: str, table: Mapping[str, Any]) -> Reads:
    """The file with the settings, and the directories of wheels that they name."""
    index = table.get("index", ())
    urls = [one.get("url") for one in index if isinstance(one, dict)] if isinstance(index, list) else []
    for place in (table, table.get("pip", {})):
        links = place.get("find-links", ()) if isinstance(place, dict) else ()
        urls += links if isinstance(links, list) else []
    local = [posixpath.normpath(url) for url in urls if isinstance(url, str) and "://" not in url]
    return Reads(files=(path,), directories=tuple(one for one in local if not one.startswith(("/", ".."))))

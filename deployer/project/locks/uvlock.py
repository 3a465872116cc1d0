"""uv.lock: what of it is installed, and which packages of it are built from the code itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from deployer.errors import ConfigError
from deployer.project.shipped import Chosen, Reads, Shipped, local
from deployer.wire.advice import do, run
from deployer.wire.lazyre import pattern

_NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ROOT = "."
_DEFAULT = Chosen()

Table = Mapping[str, Any]
Part = tuple[str, str]
"""A package and one of its extras (empty: the package itself)."""


def read(shipped: Shipped, path: str, chosen: Chosen = _DEFAULT) -> Reads:
    """uv.lock, its pyproject.toml, and the sources of those packages that are installed from the code.

    Where the app runs in the directory of a member of the workspace, that member's dependencies are installed. Raises
    ConfigError for a lock that does not fit its pyproject.toml, and for sources that do not ship.
    """
    if not shipped.is_file("pyproject.toml"):
        raise ConfigError(message="uv.lock ships without its pyproject.toml", next=run("git add pyproject.toml"))
    lock = shipped.toml(path)
    packages = _packages(lock)
    own, root = _own(packages, chosen.directory)
    project = shipped.toml(posixpath.join(own, "pyproject.toml"))
    _refuse_stale(root, project)
    groups, extras = _groups(root, lock), root.get("optional-dependencies", {})
    tables = {**project.get("dependency-groups", {}), **groups}, {**_optional(project), **extras}
    chosen.refuse_unknown(path, *tables)  # an empty group is in pyproject.toml alone
    wanted = _wanted(lock, root, project) + _chosen(chosen, groups, extras)
    installed = _with_backends(shipped, packages, _reached(packages, wanted))
    reads = Reads(
        files=tuple(dict.fromkeys((path, "pyproject.toml", posixpath.normpath(f"{own}/pyproject.toml")))),
        requires=str(lock.get("requires-python", "")).replace(" ", ""),
        absent=_absent(packages, installed, root, lock),
        directory=own,
    )
    for name in sorted(installed):
        for package in packages.get(name, ()):
            reads = reads.joined(_sources(shipped, package, path, own))
    return reads


def _own(packages: Mapping[str, list[Table]], directory: str) -> tuple[str, Table]:
    """The package that the app is, with its directory: the member of a workspace that it runs in, else the root."""
    places = {_place(one): one for found in packages.values() for one in found if _place(one)}
    parents = [directory, *(parent.as_posix() for parent in PurePosixPath(directory).parents)]
    place = next((one for one in parents if one in places and one != _ROOT), _ROOT)
    return place, places.get(place, {})


def _groups(root: Table, lock: Table) -> Table:
    """The dependency groups of the app's package; of a workspace without a root package, its own."""
    groups: Table = root.get("dev-dependencies", {}) if root else lock.get("manifest", {}).get("dependency-groups", {})
    return groups


def _optional(project: Table) -> Table:
    table = project.get("project", {})
    optional: Table = table.get("optional-dependencies", {}) if isinstance(table, dict) else {}
    return optional


def _chosen(chosen: Chosen, groups: Table, extras: Table) -> list[Part]:
    """What the groups and extras that deploy.toml names require."""
    tables = [groups.get(name, ()) for name in chosen.groups] + [extras.get(name, ()) for name in chosen.extras]
    return [part for table in tables for part in _parts(table)]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages(lock: Table) -> dict[str, list[Table]]:
    """The lock's packages by name: of one there may be several versions."""
    found: dict[str, list[Table]] = {}
    for package in lock.get("package", ()):
        found.setdefault(str(package.get("name", "")), []).append(package)
    return found


def _place(package: Table) -> str:
    """The directory of a package that is part of the code; empty for any other."""
    source = package.get("source", {})
    place = next((source[key] for key in ("editable", "directory", "virtual") if key in source), "")
    return posixpath.normpath(str(place)) if place else ""


def _sources(shipped: Shipped, package: Table, path: str, own: str) -> Reads:
    """What of the code is read to install one package. The app's own, at ``own``, is not installed."""
    where, source, place = f"{path}: {package.get('name')}", package.get("source", {}), _place(package)
    if place == own or "virtual" in source:
        return Reads()
    if place:
        return local(shipped, place, where)
    if "path" in source:
        return local(shipped, str(source["path"]), where)
    registry = str(source.get("registry", ""))
    return local(shipped, registry, where) if registry and "://" not in registry else Reads()


def _wanted(lock: Table, root: Table, project: Table) -> list[Part]:
    """What is installed of itself: the project's dependencies and its default groups, but never ``dev``."""
    groups = _groups(root, lock)
    chosen = _settings(project).get("default-groups", ())
    names = [name for name in groups if name != "dev" and (chosen == "all" or name in chosen)]
    wanted = [part for name in names for part in _parts(groups[name])]
    if root:
        return wanted + _parts(root.get("dependencies", ()))
    return wanted + [(str(name), "") for name in lock.get("manifest", {}).get("members", ())]


def _settings(project: Table) -> Table:
    tool = project.get("tool", {})
    own = tool.get("uv", {}) if isinstance(tool, dict) else {}
    return own if isinstance(own, dict) else {}


def _parts(dependencies: Sequence[Table]) -> list[Part]:
    return [(str(one.get("name", "")), str(extra)) for one in dependencies for extra in ("", *one.get("extra", ()))]


def _reached(packages: Mapping[str, list[Table]], wanted: Sequence[Part]) -> set[str]:
    """The names of all packages that these parts need, on whatever system."""
    waiting, seen = list(wanted), set(wanted)
    while waiting:
        name, extra = waiting.pop()
        for package in packages.get(name, ()):
            needs = (
                package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
            )
            new = set(_parts(needs)) - seen
            seen |= new
            waiting += new
    return {name for name, _ in seen}


def _with_backends(shipped: Shipped, packages: Mapping[str, list[Table]], installed: set[str]) -> set[str]:
    """The same, and what of the code builds any of it: a lock does not say what a build requires."""
    waiting, found = list(installed), set(installed)
    while waiting:
        places = [_place(package) for package in packages.get(waiting.pop(), ())]
        for place in places:
            project = shipped.toml(f"{place}/pyproject.toml") if place not in ("", _ROOT) else {}
            requires = project.get("build-system", {}).get("requires", ())
            names = {normal(match[0]) for match in map(_NAME.match, requires) if match}
            new = {name for name in names if any(map(_place, packages.get(name, ())))} - found
            found |= new
            waiting += new
    return found


def _absent(packages: Mapping[str, list[Table]], installed: set[str], root: Table, lock: Table) -> dict[str, str]:
    """The packages that are in the lock for an extra, a group or another member only, with what they are there for."""
    found: dict[str, str] = {}
    groups = root.get("dev-dependencies") or lock.get("manifest", {}).get("dependency-groups", {})
    kinds = (("the extra", root.get("optional-dependencies", {})), ("the dependency group", groups))
    for kind, tables in kinds:
        for title, dependencies in tables.items():
            for name in _reached(packages, _parts(dependencies)) - installed:
                found.setdefault(name, f"{kind} {title!r} of pyproject.toml")
    others = set(packages) - installed - set(found) - {str(root.get("name", ""))}
    return {**dict.fromkeys(others, "another member of the workspace"), **found}


def _refuse_stale(root: Table, project: Table) -> None:
    """Raises ConfigError when pyproject.toml names a dependency that the lock does not have."""
    metadata = root.get("metadata", {}).get("requires-dist")
    if metadata is None:
        return
    known = {normal(str(one.get("name", ""))) for one in metadata}
    missing = sorted(set(_named(project)) - known)
    if missing:
        raise ConfigError(
            message=f"uv.lock is older than pyproject.toml: it lacks {', '.join(missing)}",
            state="nothing was touched",
            next=do("uv lock, then commit uv.lock"),
        )


def _named(project: Table) -> Iterator[str]:
    """The names of the dependencies that pyproject.toml writes down."""
    table = project.get("project", {})
    lists = [table.get("dependencies", ()), *table.get("optional-dependencies", {}).values()]
    for text in (text for found in lists for text in found):
        if match := _NAME.match(str(text).strip()):
            yield normal(match[0])

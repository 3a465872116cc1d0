"""Lock files of other tools, which no installer on a host reads, and the command that exports what a host needs."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from deployer.errors import ConfigError
from deployer.project.locks.uvlock import normal
from deployer.project.shipped import Shipped, parse_toml
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["OTHER_LOCK", "OTHER_LOCKS", "OtherLock", "found", "outdated", "refusal"]

OTHER_LOCK = Cause(
    "other-lock",
    "the dependencies are pinned in a lock of Poetry, Pipenv or PDM, or in a conda environment, which is installed "
    "on no host",
    "{path} is {tool}'s, which is not installed on hosts: its production set has to be exported",
    run("{command}", "in {directory}; {why}") + do("then git add and commit {target}"),
)

_PIN = pattern(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class OtherLock:
    """``command`` exports the production set, into ``target``; it runs in the directory of the lock."""

    name: str
    tool: str
    command: str
    why: str
    target: str = "requirements.txt"


OTHER_LOCKS = (
    OtherLock(
        name="poetry.lock",
        tool="Poetry",
        command="poetry export --only main --output requirements.txt",
        why="Poetry 2 needs its plug-in for that: poetry self add poetry-plugin-export",
    ),
    OtherLock(
        name="Pipfile.lock",
        tool="Pipenv",
        command="pipenv requirements --hash > requirements.txt",
        why="without the dev packages",
    ),
    OtherLock(
        name="pdm.lock",
        tool="PDM",
        command="pdm export --prod --format requirements --output requirements.txt",
        why="without the dev groups",
    ),
    OtherLock(
        name="environment.yml",
        tool="conda",
        command="pip list --format=freeze > requirements.txt",
        why="in the environment, without what conda alone can install",
    ),
)
"""The first that ships is told of."""


def refusal(path: str, other: OtherLock) -> ConfigError:
    """What is said of that lock."""
    where = posixpath.dirname(path) or "the project's directory"
    told = OTHER_LOCK.told(
        path=path, tool=other.tool, directory=where, command=other.command, why=other.why, target=other.target
    )
    return ConfigError(**told, state="nothing was touched")


def found(paths: Iterable[str]) -> tuple[str, OtherLock] | None:
    """The first of these paths that is another tool's lock; None when none is."""
    named = {other.name: other for other in OTHER_LOCKS}
    return next(((path, named[name]) for path in paths if (name := posixpath.basename(path)) in named), None)


def outdated(shipped: Shipped, path: str) -> Iterator[str]:
    """A warning where requirements have other versions than the lock beside them, from which they were exported."""
    pins = dict(_PIN.findall(shipped.text(path) or ""))
    for other in OTHER_LOCKS:
        beside = posixpath.join(posixpath.dirname(path), other.name)
        versions = _versions(shipped.text(beside) or "", other.name) if shipped.is_file(beside) else {}
        differ = [name for name, version in pins.items() if version not in versions.get(normal(name), {version})]
        if differ:
            shown = ", ".join(differ[:_SHOWN]) + (", …" if differ[_SHOWN:] else "")
            yield f"{path} is older than {beside}, or newer: they differ in {shown}; export again: {other.command}"


def _versions(text: str, name: str) -> dict[str, set[str]]:
    """The versions of each package that a lock has; none where it is not understood."""
    found: dict[str, set[str]] = {}
    try:
        for package, version in _pipenv(json.loads(text)) if name == "Pipfile.lock" else _packages(parse_toml(text)):
            found.setdefault(normal(package), set()).add(version)
    except (ValueError, AttributeError, TypeError, KeyError):
        return {}
    return found


def _pipenv(lock: Any) -> Iterator[tuple[str, str]]:
    for name, one in lock["default"].items():
        yield name, str(one.get("version", "")).removeprefix("==")


def _packages(lock: Any) -> Iterator[tuple[str, str]]:
    for one in lock.get("package", ()):
        yield str(one["name"]), str(one["version"])

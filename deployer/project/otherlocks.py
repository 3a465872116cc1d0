"""Lock files of other tools, which no installer on a host reads, and the command that exports what a host needs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from deployer.errors import ConfigError
from deployer.wire.advice import do, run
from deployer.wire.causes import Cause

__all__ = ["OTHER_LOCK", "OTHER_LOCKS", "OtherLock", "found", "refusal"]

OTHER_LOCK = Cause(
    "other-lock",
    "the dependencies are pinned in a lock of Poetry, Pipenv or PDM, or in a conda environment, which is installed "
    "on no host",
    "{path} is {tool}'s, which is not installed on hosts: its production set has to be exported",
    run("{command}", "in {directory}; {why}") + do("then git add and commit {target}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
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

"""``fab manage``: a command of the project's ``manage.py``."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.commands.console.session import Place, Wanted, execute
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.wire.advice import do
from deployer.wire.release.command import MANAGE
from deployer.wire.release.processes import argv_problem

__all__ = ["manage", "refuse_long"]


def manage(fleet: Fleet, words: Sequence[str], place: Place) -> int:
    """Run ``manage.py`` with these words on all hosts; the highest of their exit statuses. Raises ConfigError."""
    refuse_long(words)
    return execute(fleet, Wanted(argv=words, place=place, kind=MANAGE))


def refuse_long(words: Sequence[str]) -> None:
    """Raises ConfigError when the host would refuse the words."""
    if problem := argv_problem(["manage.py", *words]):
        raise ConfigError(message=problem, next=do("put what is long into a file of the release"))

"""``fab run``: one command on every host, in a release that is there."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.commands.console.session import Place, Wanted, execute
from deployer.errors import ConfigError
from deployer.fleet.hosts import Fleet
from deployer.wire.advice import do
from deployer.wire.advice import run as typed
from deployer.wire.release.processes import argv_problem

__all__ = ["refuse_none", "run"]


def run(fleet: Fleet, argv: Sequence[str], place: Place) -> int:
    """Run a command on all hosts; the highest of their exit statuses. Raises ConfigError when there is no command."""
    refuse_none(argv)
    return execute(fleet, Wanted(argv=argv, place=place))


def refuse_none(argv: Sequence[str]) -> None:
    """Raises ConfigError when there is no command, or the host would refuse it."""
    if not argv or not argv[0]:
        raise ConfigError(message="no command was given", next=typed("fab run -- python manage.py check"))
    if problem := argv_problem(argv):
        raise ConfigError(message=problem, next=do("put what is long into a file of the release"))

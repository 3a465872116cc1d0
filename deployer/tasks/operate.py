"""The tasks that act on a running app: a command in its release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet

__all__ = ["run"]


def _dry_run(fleet: Fleet, words: tuple[str, ...]) -> TaskAnswer:
    from deployer.commands import dryrun
    from deployer.commands.run import refuse_none

    refuse_none(words)
    return would_do(dryrun.run(fleet, words))


@host_task("run on", dry=_dry_run, answer=True, streams=True)
def run(fleet: Fleet, words: tuple[str, ...]) -> TaskAnswer:
    """Run a command on every host, in the release that serves: fab run -- python manage.py check. It gets no input."""
    from deployer.commands.run import execute

    return ended_with(execute(fleet, words))

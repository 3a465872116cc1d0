"""The tasks that act on an app and its hosts, and release no new code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet

__all__ = ["lock", "run", "unlock"]


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


def _dry_lock(fleet: Fleet, message: str, until: str) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.lock(fleet, message, until))


@host_task("lock deploys of", dry=_dry_lock)
def lock(fleet: Fleet, message: str = "", until: str = "") -> TaskAnswer:
    """Keep deploys from beginning, with a reason (-m), until fab unlock or a time. What runs goes on."""
    from deployer.commands.operate import lock as use

    return ended_with(use.lock(fleet, why=message, until=until))


def _dry_unlock(fleet: Fleet) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.unlock(fleet))


@host_task("unlock deploys of", dry=_dry_unlock)
def unlock(fleet: Fleet) -> TaskAnswer:
    """Let deploys begin again after fab lock, whoever locked them."""
    from deployer.commands.operate import lock as use

    return ended_with(use.unlock(fleet))

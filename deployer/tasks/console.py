"""The tasks that run a command in a release: a program, a shell, a command of manage.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet

__all__ = ["manage", "run", "shell"]


def _dry_run(
    fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = ""
) -> TaskAnswer:
    from deployer.commands import dryrun
    from deployer.commands.console.run import refuse_none
    from deployer.commands.console.session import place_of

    refuse_none(words)
    return would_do(dryrun.run(fleet, words, place_of(release, process, timeout)))


@host_task("run on", dry=_dry_run, answer=True, streams=True)
def run(fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = "") -> TaskAnswer:
    """Run a command on every host, in the release that serves: fab run -- python manage.py check."""
    from deployer.commands.console.run import run as run_it
    from deployer.commands.console.session import place_of

    return ended_with(run_it(fleet, words, place_of(release, process, timeout)))


def _dry_manage(
    fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = ""
) -> TaskAnswer:
    from deployer.commands import dryrun
    from deployer.commands.console.manage import refuse_long
    from deployer.commands.console.session import place_of

    refuse_long(words)
    return would_do(dryrun.run(fleet, ("python", "manage.py", *words), place_of(release, process, timeout)))


@host_task("run on", dry=_dry_manage, answer=True, streams=True)
def manage(
    fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = ""
) -> TaskAnswer:
    """Run a command of manage.py on every host, in the release that serves: fab manage -- createsuperuser."""
    from deployer.commands.console.manage import manage as manage_it
    from deployer.commands.console.session import place_of

    return ended_with(manage_it(fleet, words, place_of(release, process, timeout)))


def _dry_shell(
    fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = ""
) -> TaskAnswer:
    from deployer.commands import dryrun
    from deployer.commands.console.session import place_of
    from deployer.commands.console.shell import refuse_misuse

    refuse_misuse(fleet, words)
    return would_do(dryrun.run(fleet, ("bash",), place_of(release, process, timeout)))


@host_task("run on", dry=_dry_shell, answer=True, streams=True)
def shell(
    fleet: Fleet, words: tuple[str, ...], *, release: str = "", process: str = "", timeout: str = ""
) -> TaskAnswer:
    """Open a shell in the release that serves, as the app: its directory, environment and confinement."""
    from deployer.commands.console.session import place_of
    from deployer.commands.console.shell import shell as open_shell

    return ended_with(open_shell(fleet, words, place_of(release, process, timeout)))

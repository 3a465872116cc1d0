"""The tasks ``fab env`` and ``fab env.*``: the variables of an app, and those that its hosts keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.fleettask import Dry
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["TASKS"]


@host_task("environment of", dry=Dry.SAME, answer=True)
def show(fleet: Fleet) -> TaskAnswer:
    """The variables of the app: where each comes from, and what the next release would change. Secrets are masked."""
    from deployer.commands.env.show import environment
    from deployer.fleet.results import ask_each

    found = ask_each(fleet, environment())

    def print_it(*, json: bool) -> None:
        from deployer.ui.answers.environment import show_environment

        show_environment(found.values, found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=print_it, exit=found.exit)


def _dry_put(fleet: Fleet, variable: list[str], file: str, stage: bool, **_: Any) -> TaskAnswer:
    from deployer.commands.env.set import would_put

    return would_do(would_put(fleet, variable, file=file, stage=stage))


@host_task("set the environment of", dry=_dry_put, iterable=["variable"], bare="variable")
def put(
    fleet: Fleet, strategy: Strategy, variable: list[str], file: str = "", stage: bool = False, wait: bool = False
) -> TaskAnswer:
    """Set variables on the hosts: fab env.set SECRET_KEY (asks), or NAME=value. A new release takes them at once."""
    from deployer.commands.env.set import put as use

    return ended_with(use(fleet, variable, file=file, stage=stage, wait=wait, strategy=strategy))


def _dry_remove(fleet: Fleet, variable: list[str], stage: bool, **_: Any) -> TaskAnswer:
    from deployer.commands.env.set import would_remove

    return would_do(would_remove(fleet, variable, stage=stage))


@host_task("unset in the environment of", dry=_dry_remove, iterable=["variable"], bare="variable")
def remove(
    fleet: Fleet, strategy: Strategy, variable: list[str], stage: bool = False, wait: bool = False
) -> TaskAnswer:
    """Remove variables from the hosts. A new release does without them at once."""
    from deployer.commands.env.set import remove as use

    return ended_with(use(fleet, variable, stage=stage, wait=wait, strategy=strategy))


@host_task("variable of", dry=Dry.SAME, answer=True, iterable=["name"], bare="name")
def get(fleet: Fleet, name: list[str]) -> TaskAnswer:
    """The value of one variable, and nothing else: what the hosts keep, or else what serves has."""
    from deployer.commands.env.pull import get as use

    named, value = use(fleet, name)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.environment import show_value

        show_value(named, value, json=json)

    return TaskAnswer(show=show)


def _dry_pull(fleet: Fleet, file: str, **_: Any) -> TaskAnswer:
    from deployer.commands.env.values import kept

    values = kept(fleet)
    return would_say(fleet, f"would write {len(values)} variables to {file}: {', '.join(sorted(values)) or 'none'}")


@host_task("pull the environment of", dry=_dry_pull, answer=True, bare="file")
def pull(fleet: Fleet, file: str = "-", yes: bool = False) -> TaskAnswer:
    """Write what the hosts keep to a dotenv file that only you can read: fab env.pull .env.production."""
    from deployer.commands.env.pull import pull as use
    from deployer.commands.env.pull import refuse_pull

    refuse_pull(file, yes=yes)
    values = use(fleet, file)

    def show(*, json: bool) -> None:
        from deployer.config.environment.dotenv import written
        from deployer.ui.answers.environment import show_pulled

        show_pulled(values, written(values), file, json=json)

    return TaskAnswer(show=show)


def _dry_push(fleet: Fleet, file: str, stage: bool, **_: Any) -> TaskAnswer:
    from deployer.commands.env.push import would_push

    return would_do(would_push(fleet, file, stage=stage))


@host_task("push the environment of", dry=_dry_push, bare="file")
def push(
    fleet: Fleet, strategy: Strategy, file: str = "", stage: bool = False, yes: bool = False, wait: bool = False
) -> TaskAnswer:
    """Make the hosts keep what a dotenv file has, and nothing else. Shows what changes, and asks."""
    from deployer.commands.env.push import push as use

    return ended_with(use(fleet, file, yes=yes, stage=stage, wait=wait, strategy=strategy))


@host_task("compare the environment of", dry=Dry.SAME, answer=True, bare="file")
def diff(fleet: Fleet, file: str = "") -> TaskAnswer:
    """How a dotenv file differs from what the hosts keep, by names: exit code 0 when it does not, 1 when it does."""
    from deployer.commands.env.push import compare

    found, differences = compare(fleet, file)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.environment import show_difference

        show_difference({host: (one.added, one.removed, one.changed) for host, one in differences.items()}, json=json)

    return TaskAnswer(show=show, exit=found.exit or int(any(differences.values())))


def _dry_edit(fleet: Fleet, **_: Any) -> TaskAnswer:
    from deployer.commands.env.edit import editor
    from deployer.commands.env.values import kept

    words = editor()
    values = kept(fleet)
    return would_say(fleet, f"would open {len(values)} variables in {words[0]}, and release what is changed")


@host_task("edit the environment of", dry=_dry_edit)
def edit(fleet: Fleet, strategy: Strategy, stage: bool = False, wait: bool = False) -> TaskAnswer:
    """Edit what the hosts keep in $VISUAL or $EDITOR, on a private temporary file. A new release takes it at once."""
    from deployer.commands.env.edit import edit as use

    return ended_with(use(fleet, stage=stage, wait=wait, strategy=strategy))


TASKS = {"get": get, "set": put, "unset": remove, "pull": pull, "push": push, "diff": diff, "edit": edit}
"""By name, all but the one that ``fab env`` is."""


def would_say(fleet: Fleet, text: str) -> TaskAnswer:
    from deployer.fleet.results import Answers

    return would_do(Answers(values=dict.fromkeys(fleet.hosts, text), missing=(), exit=0))

"""The tasks before the first deploy: a host set up, a project begun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import chore, host_task

if TYPE_CHECKING:
    from deployer.commands.init import Asking, Interview
    from deployer.fleet.hosts import Fleet

__all__ = ["destroy", "init", "setup"]


def _dry_setup(fleet: Fleet, key: list[str], allow_unit: list[str], upgrade: bool = False) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.setup(fleet, keys=key, allow_units=allow_unit, upgrade=upgrade))


@host_task("set up", dry=_dry_setup, iterable=["key", "allow_unit"])
def setup(fleet: Fleet, key: list[str], allow_unit: list[str], upgrade: bool = False) -> TaskAnswer:
    """Prepare a host for the app, once, as root: users, directories, host program, sudoers, units, proxy."""
    from deployer.commands.prepare.setup import setup as use

    return ended_with(use(fleet, keys=key, allow_units=allow_unit, upgrade=upgrade))


def _dry_destroy(fleet: Fleet, data: bool, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.destroy(fleet, data=data))


@host_task("remove", dry=_dry_destroy)
def destroy(fleet: Fleet, data: bool = False, yes: str = "") -> TaskAnswer:
    """Take the app off its hosts, as root: what runs, its releases, users, units and site. Its data stay."""
    from deployer.commands.prepare import destroy as use
    from deployer.ui.asking import Terminal, is_terminal

    use.confirm(fleet, data=data, typed=yes, asking=Terminal() if is_terminal() else None)
    return ended_with(use.destroy(fleet, data=data))


def _init_project(wsgi: str, asgi: str, directory: str, asking: Asking | None) -> Interview:
    """The project in this directory. Raises ConfigError when this is not a project directory."""
    from deployer.commands.init import interview, refuse_mistake

    found = interview(Path.cwd(), asking, wsgi=wsgi, asgi=asgi, directory=directory.strip("/"))
    refuse_mistake(found.project)
    return found


def _dry_init(_: Context, wsgi: str = "", asgi: str = "", directory: str = "", yes: bool = False) -> None:
    from deployer.commands.init import Defaults, plan_init, would_write

    found = _init_project(wsgi, asgi, directory, Defaults() if yes else None)
    plan = plan_init(found.project, secrets=found.secrets)
    sys.stdout.write("".join(f"{line}\n" for line in would_write(found.project, plan)))


@chore(dry=_dry_init)
def init(_: Context, wsgi: str = "", asgi: str = "", directory: str = "", yes: bool = False) -> None:
    """Write deploy.toml and fabfile.py for the project in this directory."""
    from deployer.commands.init import Defaults, plan_init, write
    from deployer.ui.asking import Terminal, is_terminal, show_lines

    asking = Defaults() if yes else Terminal() if is_terminal() else None
    found = _init_project(wsgi, asgi, directory, asking)
    plan = plan_init(found.project, secrets=found.secrets)
    show_lines(write(found.project, plan, told=isinstance(asking, Terminal)))

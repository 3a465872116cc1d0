"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.fleettask import Dry
from deployer.cli.phases import phase_task
from deployer.cli.task import chore, host_task
from deployer.cli.usage.program import explain_usage
from deployer.errors import ConfigError
from deployer.wire import advice
from deployer.wire.protocol import PHASES

if TYPE_CHECKING:
    from deployer.commands.init import Asking, Interview
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["namespace"]

_LINES = 100_000
"""The most journal lines that a host returns."""


def _plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    from deployer.commands.plan import preview

    found = preview(fleet, ref=ref or None, dirty=dirty, strict=strict)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.plan import show_plan

        show_plan(list(found.values.values()), found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=show, exit=found.exit)


def _dry_deploy(fleet: Fleet, ref: str, dirty: bool, strict: bool, **_: Any) -> TaskAnswer:
    return _plan(fleet, ref, dirty, strict)


@host_task("deploy", dry=_dry_deploy)
def deploy(
    fleet: Fleet,
    strategy: Strategy,
    ref: str = "",
    dirty: bool = False,
    no_migrate: bool = False,
    wait: bool = False,
    strict: bool = False,
) -> TaskAnswer:
    """Release the code: upload, build, check in private, switch, drain, watch. On all hosts, or on none."""
    from deployer.commands import deploy as use

    return ended_with(
        use.deploy(
            fleet, ref=ref or None, dirty=dirty, strict=strict, no_migrate=no_migrate, wait=wait, strategy=strategy
        )
    )


def _dry_reload(fleet: Fleet, strategy: Strategy, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.reload(fleet, strategy=strategy))


@host_task("reload", dry=_dry_reload)
def reload(fleet: Fleet, strategy: Strategy, wait: bool = False) -> TaskAnswer:
    """Release the current code again, with today's settings and environment."""
    from deployer.commands import deploy as use

    return ended_with(use.reload(fleet, wait=wait, strategy=strategy))


def _dry_rollback(fleet: Fleet, strategy: Strategy, to: str, yes: bool, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.rollback(fleet, to=to, yes=yes, strategy=strategy))


@host_task("roll back", dry=_dry_rollback)
def rollback(fleet: Fleet, strategy: Strategy, to: str = "", yes: bool = False, wait: bool = False) -> TaskAnswer:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer.commands import deploy as use

    return ended_with(use.rollback(fleet, to=to, yes=yes, wait=wait, strategy=strategy))


@host_task("plan for", dry=Dry.SAME, answer=True)
def plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    """What a deploy would run on which host, and as which release. Nothing is touched."""
    return _plan(fleet, ref, dirty, strict)


@host_task("attach to", dry=Dry.SAME)
def attach(fleet: Fleet) -> TaskAnswer:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer.commands import attach

    return ended_with(attach.attach(fleet))


def _dry_abort(fleet: Fleet) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.abort(fleet))


@host_task("abort", dry=_dry_abort)
def abort(fleet: Fleet) -> TaskAnswer:
    """End the deploy that runs on the host: it undoes what it did, and the old release serves."""
    from deployer.commands import attach

    return ended_with(attach.abort(fleet))


@host_task("status of", dry=Dry.SAME, answer=True)
def status(fleet: Fleet) -> TaskAnswer:
    """What serves, since when, and its health."""
    from deployer.commands.status import status as status_of
    from deployer.fleet.results import ask_each

    found = ask_each(fleet, status_of)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.status import show_status

        show_status(
            list(found.values.values()),
            found.missing,
            app=fleet.config.app,
            hosts=fleet.hosts,
            next=fleet.advise("fab deploy"),
            json=json,
        )

    return TaskAnswer(show=show, exit=found.exit)


@host_task("releases of", dry=Dry.SAME, answer=True)
def releases(fleet: Fleet, all: bool = False) -> TaskAnswer:
    """Every release of the app: its number, state, origin and age."""
    from deployer.commands.releases import attempts
    from deployer.commands.releases import releases as recorded
    from deployer.fleet.results import ask_each

    found = ask_each(fleet, attempts if all else recorded)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.releases import show_releases

        show_releases(found.values, found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=show, exit=found.exit)


def _dry_doctor(fleet: Fleet, **_: Any) -> TaskAnswer:
    return _examine(fleet, fix=False)


@host_task("doctor", dry=_dry_doctor, answer=lambda given: not given["fix"])
def doctor(fleet: Fleet, fix: bool = False) -> TaskAnswer:
    """Find problems on the host, and say how to repair them."""
    return _examine(fleet, fix=fix)


def _examine(fleet: Fleet, *, fix: bool) -> TaskAnswer:
    from deployer.commands import doctor as use
    from deployer.fleet.results import ask_each

    found = ask_each(fleet, use.fix if fix else use.look, exit_of=lambda judged: judged[0], told=fix)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.doctor import show_doctor

        show_doctor([one for _, one in found.values.values()], found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=show, exit=found.exit)


@host_task("logs of", dry=Dry.SAME, answer=True, streams=True)
def logs(fleet: Fleet, lines: str = "50", follow: bool = False, process: str = "") -> TaskAnswer:
    """What the app's processes log: the last lines of all releases, oldest first (-n 100, -f)."""
    from deployer.commands.logs import logs as read_logs

    if not (lines.isascii() and lines.isdecimal() and int(lines) <= _LINES):
        text = f"--lines {lines}: a number of lines is wanted, at most {_LINES:,}"
        raise ConfigError(message=text, next=advice.do("say -n 200"))
    return ended_with(read_logs(fleet, lines=int(lines), follow=follow, process=process))


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


def _dry_setup(fleet: Fleet, key: list[str], allow_unit: list[str], upgrade: bool = False) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.setup(fleet, keys=key, allow_units=allow_unit, upgrade=upgrade))


@host_task("set up", dry=_dry_setup, iterable=["key", "allow_unit"])
def setup(fleet: Fleet, key: list[str], allow_unit: list[str], upgrade: bool = False) -> TaskAnswer:
    """Prepare a host for the app, once, as root: users, directories, host program, sudoers, units, proxy."""
    from deployer.commands.setup import setup as use

    return ended_with(use(fleet, keys=key, allow_units=allow_unit, upgrade=upgrade))


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


@host_task("upload", dry=_plan)
def upload(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    """Begin a release: send what the host lacks and unpack it."""
    from deployer.commands import deploy as use

    return ended_with(use.upload(fleet, ref=ref or None, dirty=dirty, strict=strict))


def _namespace() -> Collection:
    tasks = (deploy, reload, rollback, plan, attach, abort, status, releases, logs, run, doctor, setup, init)
    everything = Collection(*tasks)
    everything.add_collection(Collection("phase", upload, *(phase_task(name) for name in PHASES[1:])))
    return everything


namespace = _namespace()
explain_usage()

"""The tasks a user's fabfile imports: parse, wire, call. ``from deployer.tasks import namespace``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context

from deployer.cli.fleettask import Dry
from deployer.cli.task import Answer, chore, host_task
from deployer.cli.usage import explain_usage
from deployer.errors import ConfigError
from deployer.wire import advice
from deployer.wire.protocol import PHASES

if TYPE_CHECKING:
    from deployer.fleet.hosts import Answers, Fleet
    from deployer.project.detect import Project
    from deployer.rollout import Strategy

__all__ = ["namespace"]

_LINES = 100_000
"""Lines of a journal that a host gives at the most."""


def _plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> Answer:
    from deployer.commands.plan import preview

    found = preview(fleet, ref=ref or None, dirty=dirty, strict=strict)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.plan import show_plan

        show_plan(list(found.values.values()), found.missing, app=fleet.config.app, json=json)

    return Answer(show=show, exit=found.exit)


def _dry_deploy(
    fleet: Fleet, ref: str, dirty: bool, batch: str, canary: str, bake: str, keep_going: bool, strict: bool, **_: Any
) -> Answer:
    _strategy(fleet, batch, canary, bake, keep_going)
    return _plan(fleet, ref, dirty, strict)


@host_task("deploy", dry=_dry_deploy)
def deploy(
    fleet: Fleet,
    ref: str = "",
    dirty: bool = False,
    no_migrate: bool = False,
    wait: bool = False,
    keep_going: bool = False,
    batch: str = "",
    canary: str = "",
    bake: str = "",
    strict: bool = False,
) -> Answer:
    """Release the code: upload, build, check in private, switch, drain, watch. On all hosts, or on none."""
    from deployer.commands import deploy as use

    waves = _strategy(fleet, batch, canary, bake, keep_going)
    exit = use.deploy(
        fleet, ref=ref or None, dirty=dirty, strict=strict, no_migrate=no_migrate, wait=wait, strategy=waves
    )
    return _told(exit)


def _dry_reload(fleet: Fleet, batch: str, canary: str, bake: str, keep_going: bool, **_: Any) -> Answer:
    from deployer.commands import dryrun

    return _would(dryrun.reload(fleet, strategy=_strategy(fleet, batch, canary, bake, keep_going)))


@host_task("reload", dry=_dry_reload)
def reload(
    fleet: Fleet, wait: bool = False, keep_going: bool = False, batch: str = "", canary: str = "", bake: str = ""
) -> Answer:
    """Release the code that serves again, with today's settings and environment."""
    from deployer.commands import deploy as use

    return _told(use.reload(fleet, wait=wait, strategy=_strategy(fleet, batch, canary, bake, keep_going)))


def _dry_rollback(
    fleet: Fleet, to: str, yes: bool, batch: str, canary: str, bake: str, keep_going: bool, **_: Any
) -> Answer:
    from deployer.commands import dryrun

    return _would(dryrun.rollback(fleet, to=to, yes=yes, strategy=_strategy(fleet, batch, canary, bake, keep_going)))


@host_task("roll back", dry=_dry_rollback)
def rollback(
    fleet: Fleet,
    to: str = "",
    yes: bool = False,
    wait: bool = False,
    keep_going: bool = False,
    batch: str = "",
    canary: str = "",
    bake: str = "",
) -> Answer:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer.commands import deploy as use

    waves = _strategy(fleet, batch, canary, bake, keep_going)
    return _told(use.rollback(fleet, to=to, yes=yes, wait=wait, strategy=waves))


def _strategy(fleet: Fleet, batch: str, canary: str, bake: str, keep_going: bool) -> Strategy:
    """What the command line says of waves, and deploy.toml where that says nothing."""
    from deployer.rollout import Strategy, number, seconds, waves

    usual = fleet.config.fleet
    first = number("--canary", canary) if canary else usual.canary
    strategy = Strategy(
        batch=batch or usual.batch,
        canary=first,
        bake=seconds(bake) if bake else usual.bake if first else 0.0,
        keep_going=keep_going,
    )
    waves(fleet.hosts, strategy)  # what is wrong with it is told of a single host, too
    return strategy


@host_task("plan for", dry=Dry.SAME, answer=True)
def plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> Answer:
    """What a deploy would have run on which host, and as which release. Nothing is touched."""
    return _plan(fleet, ref, dirty, strict)


@host_task("attach to", dry=Dry.SAME)
def attach(fleet: Fleet) -> Answer:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer.commands import attach

    return _told(attach.attach(fleet))


def _dry_abort(fleet: Fleet) -> Answer:
    from deployer.commands import dryrun

    return _would(dryrun.abort(fleet))


@host_task("abort", dry=_dry_abort)
def abort(fleet: Fleet) -> Answer:
    """End the deploy that runs on the host: it undoes what it did, and the old release serves."""
    from deployer.commands import attach

    return _told(attach.abort(fleet))


def _told(exit: int) -> Answer:
    """The end of a command whose events have told all."""

    def show(*, json: bool) -> None:
        pass

    return Answer(show=show, exit=exit)


def _would(found: Answers[str]) -> Answer:
    """What a task would do on each host."""

    def show(*, json: bool) -> None:
        from deployer.ui.answers.plan import show_would

        show_would(found.values, found.missing, json=json)

    return Answer(show=show, exit=found.exit)


@host_task("status of", dry=Dry.SAME, answer=True)
def status(fleet: Fleet) -> Answer:
    """What serves, since when, and how it is."""
    from deployer.commands.status import status as status_of
    from deployer.fleet.hosts import ask_each

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

    return Answer(show=show, exit=found.exit)


@host_task("releases of", dry=Dry.SAME, answer=True)
def releases(fleet: Fleet, all: bool = False) -> Answer:
    """Every release of the app: its number, state, origin and age."""
    from deployer.commands.releases import attempts
    from deployer.commands.releases import releases as recorded
    from deployer.fleet.hosts import ask_each

    found = ask_each(fleet, attempts if all else recorded)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.releases import show_releases

        show_releases(found.values, found.missing, app=fleet.config.app, json=json)

    return Answer(show=show, exit=found.exit)


def _dry_doctor(fleet: Fleet, **_: Any) -> Answer:
    return _examine(fleet, fix=False)


@host_task("doctor", dry=_dry_doctor, answer=lambda given: not given["fix"])
def doctor(fleet: Fleet, fix: bool = False) -> Answer:
    """What is not as it should be on the host, and what puts it right."""
    return _examine(fleet, fix=fix)


def _examine(fleet: Fleet, *, fix: bool) -> Answer:
    from deployer.commands import doctor as use
    from deployer.fleet.hosts import ask_each

    found = ask_each(fleet, use.fix if fix else use.look, exit_of=lambda judged: judged[0], told=fix)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.doctor import show_doctor

        show_doctor([one for _, one in found.values.values()], found.missing, app=fleet.config.app, json=json)

    return Answer(show=show, exit=found.exit)


@host_task("logs of", dry=Dry.SAME, answer=True, streams=True)
def logs(fleet: Fleet, lines: str = "50", follow: bool = False, process: str = "") -> Answer:
    """What the app's processes log: the last lines of all releases, oldest first (-n 100, -f)."""
    from deployer.commands.logs import logs as read_logs

    if not (lines.isascii() and lines.isdecimal() and int(lines) <= _LINES):
        text = f"--lines {lines}: a number of lines is wanted, {_LINES:,} at the most"
        raise ConfigError(message=text, next=advice.do("say -n 200"))
    return _told(read_logs(fleet, lines=int(lines), follow=follow, process=process))


def _dry_run(fleet: Fleet, words: tuple[str, ...]) -> Answer:
    from deployer.commands import dryrun
    from deployer.commands.run import refuse_none

    refuse_none(words)
    return _would(dryrun.run(fleet, words))


@host_task("run on", dry=_dry_run, answer=True, streams=True)
def run(fleet: Fleet, words: tuple[str, ...]) -> Answer:
    """Run a command on every host, in the release that serves: fab run -- python manage.py check. It gets no input."""
    from deployer.commands.run import execute

    return _told(execute(fleet, words))


def _dry_setup(fleet: Fleet, key: list[str], allow_unit: list[str]) -> Answer:
    from deployer.commands import dryrun

    return _would(dryrun.setup(fleet, keys=key, allow_units=allow_unit))


@host_task("set up", dry=_dry_setup, iterable=["key", "allow_unit"])
def setup(fleet: Fleet, key: list[str], allow_unit: list[str]) -> Answer:
    """Prepare a host for the app, once, as root: users, directories, host program, sudoers, units, proxy."""
    from deployer.commands.setup import setup as use

    return _told(use(fleet, keys=key, allow_units=allow_unit))


def _init_project(wsgi: str, asgi: str) -> Project:
    """The project in this directory. Raises ConfigError when it cannot be meant."""
    from deployer.commands.init import chosen, refuse_mistake
    from deployer.project.detect import inspect as look_at

    project = chosen(look_at(Path.cwd()), wsgi=wsgi, asgi=asgi)
    refuse_mistake(project)
    return project


def _dry_init(_: Context, wsgi: str = "", asgi: str = "") -> None:
    from deployer.commands.init import plan_init, would_write

    project = _init_project(wsgi, asgi)
    sys.stdout.write("".join(f"{line}\n" for line in would_write(project, plan_init(project))))


@chore(dry=_dry_init)
def init(_: Context, wsgi: str = "", asgi: str = "") -> None:
    """Write deploy.toml and fabfile.py for the project in this directory."""
    from deployer.commands.init import plan_init, write

    project = _init_project(wsgi, asgi)
    sys.stdout.write("".join(f"{line}\n" for line in write(project, plan_init(project))))


@host_task("upload", dry=_plan)
def upload(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> Answer:
    """Begin a release: send what the host lacks and unpack it."""
    from deployer.commands import deploy as use

    return _told(use.upload(fleet, ref=ref or None, dirty=dirty, strict=strict))


_PHASES = {
    "build": "Install the locked dependencies, run the build commands, seal the tree.",
    "install": "Write the release's own units and have systemd check them.",
    "start": "Start the release beside the one that serves, up to its first answer.",
    "migrate": "Run the migration, as the app's user, with the new code.",
    "check": "Check the candidate's health over its own socket.",
    "switch": "Move traffic and code to the release by one rename.",
    "drain": "Let the old release finish its requests, then stop it.",
    "watch": "Look after the new release for a while; take it back when it fails; prune.",
}


def _phase(name: str) -> Any:
    def run(fleet: Fleet, release: str = "") -> Answer:
        from deployer.commands import deploy as use

        return _told(use.run_phases(fleet, (name,), release))

    def dry(fleet: Fleet, release: str = "") -> Answer:
        from deployer.commands import dryrun

        return _would(dryrun.phase(fleet, name, release))

    run.__name__, run.__doc__ = name, _PHASES[name]
    return host_task(name, dry=dry)(run)


def _namespace() -> Collection:
    tasks = (deploy, reload, rollback, plan, attach, abort, status, releases, logs, run, doctor, setup, init)
    everything = Collection(*tasks)
    everything.add_collection(Collection("phase", upload, *(_phase(name) for name in PHASES[1:])))
    return everything


namespace = _namespace()
explain_usage()

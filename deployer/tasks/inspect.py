"""The tasks that tell how an app is: status, releases, logs, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with
from deployer.cli.fleettask import Dry
from deployer.cli.task import host_task
from deployer.errors import ConfigError
from deployer.wire import advice

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet

__all__ = ["doctor", "logs", "releases", "status"]

_LINES = 100_000
"""The most journal lines that a host returns."""


@host_task("status of", dry=Dry.SAME, answer=True)
def status(fleet: Fleet) -> TaskAnswer:
    """What serves, since when, and its health."""
    from deployer.commands.inspect.status import status as status_of
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
    from deployer.commands.inspect.releases import attempts
    from deployer.commands.inspect.releases import releases as recorded
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
    from deployer.commands.inspect import doctor as use
    from deployer.commands.release import outside
    from deployer.fleet.results import ask_each

    lookup = outside.look(fleet)
    found = ask_each(fleet, use.fix if fix else use.look, exit_of=lambda judged: judged[0], told=fix)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.doctor import show_doctor

        seen = outside.noted(fleet, [one for _, one in found.values.values()], lookup)
        show_doctor(seen, found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=show, exit=found.exit)


@host_task("logs of", dry=Dry.SAME, answer=True, streams=True)
def logs(fleet: Fleet, lines: str = "50", follow: bool = False, process: str = "") -> TaskAnswer:
    """What the app's processes log: the last lines of all releases, oldest first (-n 100, -f)."""
    from deployer.commands.inspect.logs import logs as read_logs

    if not (lines.isascii() and lines.isdecimal() and int(lines) <= _LINES):
        text = f"--lines {lines}: a number of lines is wanted, at most {_LINES:,}"
        raise ConfigError(message=text, next=advice.do("say -n 200"))
    return ended_with(read_logs(fleet, lines=int(lines), follow=follow, process=process))

"""The tasks that act on an app and its hosts, and release no new code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.fleettask import Dry
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["list_timers", "lock", "prune", "restart", "run_timer", "scale", "start", "stop", "unlock"]


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


def _dry_restart(fleet: Fleet, strategy: Strategy, process: str, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.restart(fleet, process=process, strategy=strategy))


@host_task("restart", dry=_dry_restart)
def restart(fleet: Fleet, strategy: Strategy, process: str = "", wait: bool = False) -> TaskAnswer:
    """Serve from new processes, with the code, settings and environment that the hosts have, without a lost request."""
    from deployer.commands.operate import lifecycle

    if process:
        return ended_with(lifecycle.restart_process(fleet, process))
    return ended_with(lifecycle.restart(fleet, wait=wait, strategy=strategy))


def _dry_scale(fleet: Fleet, strategy: Strategy, count: list[str], **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.scale(fleet, " ".join(count), strategy=strategy))


@host_task("scale", dry=_dry_scale, iterable=["count"], bare="count")
def scale(fleet: Fleet, strategy: Strategy, count: list[str], wait: bool = False) -> TaskAnswer:
    """Run more or fewer of a process: fab scale worker=3 web=8. It stays so until fab scale worker= gives it back."""
    from deployer.commands.operate import scale as use

    return ended_with(use.scale(fleet, " ".join(count), wait=wait, strategy=strategy))


def _dry_stop(fleet: Fleet) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.stop(fleet))


@host_task("stop", dry=_dry_stop)
def stop(fleet: Fleet) -> TaskAnswer:
    """Stop the app on all hosts, until fab start or a deploy: it does not come back at a reboot."""
    from deployer.commands.operate import lifecycle

    return ended_with(lifecycle.stop(fleet))


def _dry_start(fleet: Fleet) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.start(fleet))


@host_task("start", dry=_dry_start)
def start(fleet: Fleet) -> TaskAnswer:
    """Start the current release on all hosts after fab stop, and check its health."""
    from deployer.commands.operate import lifecycle

    return ended_with(lifecycle.start(fleet))


def _dry_prune(fleet: Fleet, keep: str) -> TaskAnswer:
    from deployer.commands.operate import prune as use

    return would_do(use.prunable(fleet, keep))


@host_task("prune", dry=_dry_prune)
def prune(fleet: Fleet, keep: str = "") -> TaskAnswer:
    """Remove old releases now, with the trees and environments that no release needs any more."""
    from deployer.commands.operate import prune as use

    return ended_with(use.prune(fleet, keep))


def _dry_timer_run(fleet: Fleet, name: str) -> TaskAnswer:
    from deployer.commands import dryrun
    from deployer.commands.operate import timers

    return would_do(dryrun.timer(fleet, timers.check(name)))


@host_task("run a timer of", dry=_dry_timer_run, streams=True, bare="name")
def run_timer(fleet: Fleet, name: str = "") -> TaskAnswer:
    """One run of a timer now, where it runs, followed to its end: fab timer.run tidy."""
    from deployer.commands.operate import timers

    return ended_with(timers.run(fleet, timers.check(name)))


@host_task("timers of", dry=Dry.SAME, answer=True)
def list_timers(fleet: Fleet) -> TaskAnswer:
    """Each timer: its next run, its last one, and how that ended."""
    from deployer.commands.inspect.status import status as status_of
    from deployer.fleet.results import ask_each

    found = ask_each(fleet, status_of)

    def show(*, json: bool) -> None:
        from deployer.ui.answers.timers import show_timers

        show_timers(list(found.values.values()), found.missing, app=fleet.config.app, json=json)

    return TaskAnswer(show=show, exit=found.exit)

"""The tasks that make releases: deploy, reload, rollback; what a deploy would do; following and aborting one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.fleettask import Dry
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["abort", "attach", "deploy", "plan", "reload", "rollback", "upload"]


def _plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    from deployer.commands.release.plan import preview

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
    hold: bool = False,
) -> TaskAnswer:
    """Release the code: upload, build, check in private, switch, drain, watch. On all hosts, or on none."""
    from deployer.commands.release import deploy as use

    if hold:
        from deployer.commands.release import hold as first

        first.refuse_wait(wait=wait)
        exit = first.hold_deploy(fleet, ref=ref or None, dirty=dirty, strict=strict, no_migrate=no_migrate)
        return ended_with(exit)

    return ended_with(
        use.deploy(
            fleet, ref=ref or None, dirty=dirty, strict=strict, no_migrate=no_migrate, wait=wait, strategy=strategy
        )
    )


def _dry_reload(fleet: Fleet, strategy: Strategy, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.reload(fleet, strategy=strategy))


@host_task("reload", dry=_dry_reload)
def reload(fleet: Fleet, strategy: Strategy, wait: bool = False, hold: bool = False) -> TaskAnswer:
    """Release the current code again, with today's settings and environment."""
    from deployer.commands.release import deploy as use

    if hold:
        from deployer.commands.release import hold as first

        first.refuse_wait(wait=wait)
        return ended_with(first.hold_reload(fleet))

    return ended_with(use.reload(fleet, wait=wait, strategy=strategy))


def _dry_rollback(fleet: Fleet, strategy: Strategy, to: str, yes: bool, **_: Any) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.rollback(fleet, to=to, yes=yes, strategy=strategy))


@host_task("roll back", dry=_dry_rollback)
def rollback(
    fleet: Fleet, strategy: Strategy, to: str = "", yes: bool = False, wait: bool = False, hold: bool = False
) -> TaskAnswer:
    """Go back to an older release: code, dependencies, environment and units together."""
    from deployer.commands.release import deploy as use

    if hold:
        from deployer.commands.release import hold as first

        first.refuse_wait(wait=wait)
        return ended_with(first.hold_rollback(fleet, to=to, yes=yes))

    return ended_with(use.rollback(fleet, to=to, yes=yes, wait=wait, strategy=strategy))


@host_task("plan for", dry=Dry.SAME, answer=True)
def plan(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    """What a deploy would run on which host, and as which release. Nothing is touched."""
    return _plan(fleet, ref, dirty, strict)


@host_task("attach to", dry=Dry.SAME)
def attach(fleet: Fleet) -> TaskAnswer:
    """Follow the deploy that runs on the host, or the last one that ran, from its first event on."""
    from deployer.commands.release import attach

    return ended_with(attach.attach(fleet))


def _dry_abort(fleet: Fleet) -> TaskAnswer:
    from deployer.commands import dryrun

    return would_do(dryrun.abort(fleet))


@host_task("abort", dry=_dry_abort)
def abort(fleet: Fleet) -> TaskAnswer:
    """End the deploy that runs on the host: it undoes what it did, and the old release serves."""
    from deployer.commands.release import attach

    return ended_with(attach.abort(fleet))


@host_task("upload", dry=_plan)
def upload(fleet: Fleet, ref: str = "", dirty: bool = False, strict: bool = False) -> TaskAnswer:
    """Begin a release: send what the host lacks and unpack it."""
    from deployer.commands.release import deploy as use

    return ended_with(use.upload(fleet, ref=ref or None, dirty=dirty, strict=strict))

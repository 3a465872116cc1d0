"""The tasks that put a page in the place of an app, and take it away again: ``fab maintenance on`` and ``off``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.fleet.results import Answers

__all__ = ["off", "on"]


def _dry_on(
    fleet: Fleet, allow: list[str], page: str = "", retry_after: str = "", stop_workers: bool = False
) -> TaskAnswer:
    from deployer.commands.operate import maintenance as use

    terms = use.terms(page=page, allow=allow, retry_after=retry_after, stop_workers=stop_workers)
    return would_do(use.would(fleet, terms))


@host_task("maintenance of", dry=_dry_on, answer=True, iterable=["allow"])
def on(fleet: Fleet, allow: list[str], page: str = "", retry_after: str = "", stop_workers: bool = False) -> TaskAnswer:
    """Show visitors a page in place of the app, until fab maintenance off."""
    from deployer.commands.operate import maintenance as use

    terms = use.terms(page=page, allow=allow, retry_after=retry_after, stop_workers=stop_workers)
    return _told(fleet, use.begin(fleet, terms), on=True)


def _dry_off(fleet: Fleet) -> TaskAnswer:
    from deployer.commands.operate import maintenance as use

    return would_do(use.would(fleet, None))


@host_task("end the maintenance of", dry=_dry_off, answer=True)
def off(fleet: Fleet) -> TaskAnswer:
    """End maintenance: visitors reach the app again, and what was stopped for it runs."""
    from deployer.commands.operate import maintenance as use

    return _told(fleet, use.end(fleet), on=False)


def _told(fleet: Fleet, found: Answers[Any], *, on: bool) -> TaskAnswer:
    def show(*, json: bool) -> None:
        from deployer.ui.answers.maintenance import show_maintenance

        show_maintenance(found.values, found.missing, on=on, next=fleet.advise, json=json)

    return TaskAnswer(show=show, exit=found.exit)

"""The tasks for a look before the switch: what was held goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet
    from deployer.rollout import Strategy

__all__ = ["preview", "promote"]


def _dry_promote(fleet: Fleet, strategy: Strategy, **_: Any) -> TaskAnswer:
    from deployer.commands.release import hold as use

    return would_do(use.would_promote(fleet, strategy=strategy))


@host_task("promote", dry=_dry_promote)
def promote(fleet: Fleet, strategy: Strategy, wait: bool = False) -> TaskAnswer:
    """Serve the release that fab deploy --hold has prepared: switch, drain, watch. On all hosts, or on none."""
    from deployer.commands.release import hold as use

    return ended_with(use.promote(fleet, strategy=strategy, wait=wait))


def _dry_preview(fleet: Fleet, release: str = "", port: str = "") -> TaskAnswer:
    from deployer.commands import preview as use

    return would_do(use.would(fleet, release=release, port=port))


@host_task("preview of", dry=_dry_preview)
def preview(fleet: Fleet, release: str = "", port: str = "") -> TaskAnswer:
    """Open the release that is held, at http://127.0.0.1:8000/ of this machine, until Ctrl-C."""
    from deployer.commands import preview as use

    return ended_with(use.preview(fleet, release=release, port=port))

"""The tasks ``fab phase.*``: the steps of a deploy, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.cli.answer import TaskAnswer, ended_with, would_do
from deployer.cli.task import host_task

if TYPE_CHECKING:
    from deployer.fleet.hosts import Fleet

__all__ = ["phase_task"]

_TEXTS = {
    "build": "Install the locked dependencies, run the build commands, seal the tree.",
    "install": "Write the release's own units and have systemd check them.",
    "start": "Start the release beside the one that serves, up to its first answer.",
    "migrate": "Run the migration, as the app's user, with the new code.",
    "check": "Check the candidate's health over its own socket.",
    "switch": "Move traffic and code to the release by one rename.",
    "drain": "Let the old release finish its requests, then stop it.",
    "watch": "Look after the new release for a while; take it back when it fails; prune.",
}


def phase_task(name: str) -> Any:
    def run(fleet: Fleet, release: str = "") -> TaskAnswer:
        from deployer.commands.release import deploy as use

        return ended_with(use.run_phases(fleet, (name,), release))

    def dry(fleet: Fleet, release: str = "") -> TaskAnswer:
        from deployer.commands import dryrun

        return would_do(dryrun.phase(fleet, name, release))

    run.__name__, run.__doc__ = name, _TEXTS[name]
    return host_task(name, dry=dry)(run)

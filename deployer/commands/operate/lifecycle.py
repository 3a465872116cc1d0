"""``fab stop``, ``fab start`` and ``fab restart``: the app as it is on the hosts, without a line of new code."""

from __future__ import annotations

from deployer.commands.operate.asking import tell_each
from deployer.fleet.hosts import Fleet
from deployer.fleet.release import release
from deployer.release.again import Restart
from deployer.remote.answers import Restarted, Started, Stopped
from deployer.remote.site import Site
from deployer.rollout import Strategy

__all__ = ["restart", "restart_process", "start", "stop"]

_STOP = 240.0
"""Seconds that a host has to stop the app: systemd gives it two minutes."""
_START = 900.0
"""Seconds that a host has to start it: its health check decides."""


def restart(fleet: Fleet, *, wait: bool = False, strategy: Strategy) -> int:
    """A new release of all that serves, with the settings and the environment it has; the exit code."""
    return release(fleet, Restart, strategy=strategy, wait=wait)


def restart_process(fleet: Fleet, process: str) -> int:
    """Restart one background process on each host that runs it; the exit code."""

    def told(_: Site, found: Restarted) -> str:
        if found.waiting:
            return f"{', '.join(found.waiting)} still finishes a job, and starts anew when it has"
        return f"restarted {', '.join(found.units)}"

    return tell_each(fleet, {"op": "restart", "process": process}, Restarted, told, limit=None)


def stop(fleet: Fleet) -> int:
    """Stop the app on each host, until ``fab start`` or a deploy, also across reboots; the exit code."""

    def told(_: Site, found: Stopped) -> str:
        if not found.was_up:
            return "it was stopped already; it stays so at a reboot"
        left = f"; {', '.join(found.finishing)} still finishes a job" if found.finishing else ""
        return f"stopped, until fab start or a deploy{left}"

    return tell_each(fleet, {"op": "stop"}, Stopped, told, limit=_STOP)


def start(fleet: Fleet) -> int:
    """Start the current release on each host, now and at each boot; the exit code."""

    def told(_: Site, found: Started) -> str:
        return f"started, and {found.health}" if found.health else "started"

    return tell_each(fleet, {"op": "start"}, Started, told, limit=_START)

"""Work that nobody waits for, in a unit of its own: it uses processor and disk while nobody else does."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.host.system import runner, systemd

SETTINGS = (
    ("Nice", "19"),
    ("CPUSchedulingPolicy", "idle"),
    ("CPUWeight", "1"),
    ("IOSchedulingClass", "idle"),
    ("IOWeight", "1"),
    ("TimeoutStopSec", "5"),
)
"""Lines of a service (systemd.exec(5), systemd.resource-control(5))."""
_UNDER_WAY = ("active", "activating", "deactivating")


def start(unit: str, description: str, argv: Sequence[str]) -> bool:
    """Start ``argv`` as a transient unit. False when systemd does not, for example as it is under way already. Raises
    HostError when systemd does not answer."""
    settings = [f"Description={description}", *(f"{name}={value}" for name, value in SETTINGS)]
    return runner.run(systemd.transient(unit, settings, argv, wait=False)).ok


def is_under_way(unit: str) -> bool:
    """Raises HostError when systemd does not answer."""
    return systemd.show(unit).active in _UNDER_WAY

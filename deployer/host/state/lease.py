"""Leases: how long a release between two phases may be held, and the timer that looks for what nobody finishes.

Time is counted since boot (CLOCK_BOOTTIME), together with the boot's id: no clock that is set, and no reboot, makes a
lease longer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from deployer.host.errors import HostError
from deployer.host.state.paths import AppPaths, lease_unit
from deployer.host.system import orders, runner, systemd
from deployer.wire.protocol import LEASE, PROGRAM

_TRIES, _PAUSE = 80, 0.25
PERIOD = 30
"""Seconds between two looks of the dead-man's switch."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Of this boot of the host: random(4)."""
    return _BOOT_ID.read_text().strip()


def grant(seconds: float = LEASE) -> dict[str, Any]:
    """A lease from now on."""
    return {"boot": boot_id(), "until": now() + seconds}


def seconds_left(held: dict[str, Any] | None) -> float:
    """Seconds that a lease still has; 0 when it is over, was given before a reboot, or never was."""
    if held is None or held.get("boot") != boot_id():
        return 0.0
    until = held.get("until")
    return max(0.0, until - now()) if isinstance(until, (int, float)) else 0.0


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextlib.contextmanager
def _alone(paths: AppPaths) -> Iterator[None]:
    """Nobody else arms or disarms the switch of this app meanwhile. The directory is root's alone."""
    descriptor = os.open(str(paths.jobs), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start_watchdog(paths: AppPaths) -> None:
    """Start the dead-man's switch, unless it runs: from now on the host looks every PERIOD seconds for itself. Raises
    HostError when systemd does not do so.

    A run of it that has just disarmed it may not have ended yet: as long as it is there, its name is taken.
    """
    app = paths.app
    argv = [
        "systemd-run", "--quiet", "--collect", f"--unit={lease_unit(app, 'service')}", f"--on-active={PERIOD}",
        f"--on-unit-inactive={PERIOD}", "--timer-property=AccuracySec=1s",
        f"--description=deployer: looks after unfinished deploys of {app}", "--", PROGRAM, "recover", app,
    ]  # fmt: skip
    with _alone(paths):
        for _ in range(_TRIES):
            done = runner.run(argv)
            if done.ok or systemd.show(lease_unit(app, "timer")).active == "active":
                return
            for kind in ("timer", "service"):
                orders.ensure_free(lease_unit(app, kind))
            time.sleep(_PAUSE)
    raise HostError("systemd did not start the timer that looks after unfinished deploys", logs=done.tail())


def stop_watchdog(paths: AppPaths, is_wanted: Callable[[], bool]) -> None:
    """Stop the switch, unless it ``is_wanted``. A job that comes meanwhile arms it after that: it must not find it
    armed just before it is stopped."""
    with _alone(paths):
        if not is_wanted():
            systemd.systemctl("stop", lease_unit(paths.app, "timer"))

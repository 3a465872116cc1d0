"""Leases, which limit how long a release may wait between two phases, and the watchdog that recovers expired ones.

Times count from boot (CLOCK_BOOTTIME) and go with the boot's id: neither a clock change nor a reboot extends a lease.
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
"""Seconds between two runs of the watchdog."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The id of this boot (random(4))."""
    return _BOOT_ID.read_text().strip()


def grant(seconds: float = LEASE) -> dict[str, Any]:
    """A lease of ``seconds`` from now."""
    return {"boot": boot_id(), "until": now() + seconds}


def seconds_left(held: dict[str, Any] | None) -> float:
    """Seconds left of a lease; 0 when it has expired, is from before a reboot, or there is none."""
    if held is None or held.get("boot") != boot_id():
        return 0.0
    until = held.get("until")
    return max(0.0, until - now()) if isinstance(until, (int, float)) else 0.0


def now() -> float:
    """Seconds since boot, time in suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextlib.contextmanager
def _alone(paths: AppPaths) -> Iterator[None]:
    """Hold the lock under which the app's watchdog is started and stopped. The directory is root's alone."""
    descriptor = os.open(str(paths.jobs), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start_watchdog(paths: AppPaths) -> None:
    """Start the watchdog unless it runs: from now on the host checks every PERIOD seconds. Raises HostError.

    A run that has just stopped its own timer may not have ended yet, and until then its unit's name is taken: retried
    for 20 s.
    """
    app = paths.app
    argv = [
        "systemd-run", "--quiet", "--collect", f"--unit={lease_unit(app, 'service')}", f"--on-active={PERIOD}",
        f"--on-unit-inactive={PERIOD}", "--timer-property=AccuracySec=1s",
        f"--description=deployer: recovers unfinished deploys of {app}", "--", PROGRAM, "recover", app,
    ]  # fmt: skip
    with _alone(paths):
        for _ in range(_TRIES):
            done = runner.run(argv)
            if done.ok or systemd.show(lease_unit(app, "timer")).active == "active":
                return
            for kind in ("timer", "service"):
                orders.ensure_free(lease_unit(app, kind))
            time.sleep(_PAUSE)
    raise HostError("systemd did not start the timer that recovers unfinished deploys", logs=done.tail())


def stop_watchdog(paths: AppPaths, is_wanted: Callable[[], bool]) -> None:
    """Stop the watchdog unless it ``is_wanted()``. Under the lock, so that a job that starts meanwhile starts it again
    afterwards and never relies on one that is about to stop."""
    with _alone(paths):
        if not is_wanted():
            systemd.systemctl("stop", lease_unit(paths.app, "timer"))

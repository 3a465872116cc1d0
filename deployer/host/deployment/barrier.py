"""Barrier signals: the laptop of a fleet lets a waiting job go on, through files in the job's directory.

Any session that follows the job can send them. The lease is counted in seconds since boot (``host/state/lease.py``):
setting the clock does not extend it. Nothing here is fsynced: a job that dies at a barrier is recovered like any other.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Callable

from deployer.host.state import lease
from deployer.wire.protocol import FLEET_LEASE

_POLL = 0.02
"""Seconds between two looks for a signal. The hosts of a fleet pass a barrier up to this long after each other."""


class BarrierSignal:
    """What a job has received from the laptop of its fleet. ``directory`` is the job's; the lease begins now."""

    def __init__(self, directory: Path, seconds: float = FLEET_LEASE, now: Callable[[], float] = lease.now) -> None:
        self._directory, self._seconds, self._now = directory, seconds, now
        self._begun = now()

    def allows(self, barrier: str) -> bool:
        """Whether the job may go on past ``barrier``."""
        return (self._directory / f"go-{barrier}").exists()

    @property
    def silence(self) -> float:
        """Seconds since the last keep-alive."""
        return self._now() - max(self._begun, self._last_keep_alive())

    @property
    def expired(self) -> bool:
        """Whether the lease has run out."""
        return self.silence >= self._seconds

    def wait(self, barrier: str) -> bool:
        """Wait until the job may go on past ``barrier``; False when the lease ran out first."""
        while not self.allows(barrier):
            if self.expired:
                return False
            time.sleep(_POLL)
        return True

    def _last_keep_alive(self) -> float:
        """Its time; 0 when there was none. A time in the future is of another boot and would extend the lease: 0."""
        with contextlib.suppress(OSError, ValueError):
            heard = float((self._directory / "heard").read_text())
            return heard if heard <= self._now() else 0.0
        return 0.0


def keep_alive(directory: Path, now: Callable[[], float] = lease.now) -> None:
    """Renew the lease of the job: its laptop is still there."""
    fresh = directory / f"heard.{os.getpid()}"
    fresh.write_text(f"{now()}\n")
    os.replace(str(fresh), str(directory / "heard"))


def allow(directory: Path, barrier: str) -> None:
    """Let the job go on past ``barrier``. Can be repeated. The empty file comes first: it may fit on a full disk."""
    os.close(os.open(str(directory / f"go-{barrier}"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    keep_alive(directory)

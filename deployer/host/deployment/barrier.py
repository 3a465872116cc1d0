"""The word of a fleet: what the laptop tells a job that waits at a barrier, by way of files in the job's directory.

Whoever follows the job can give it. Time is counted since boot (``host/state/lease.py``): no clock that is set makes
the lease longer. Nothing here is fsynced: a job that dies at a barrier is put right as any other.
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
"""Seconds between two looks for a word: as much as the hosts of a fleet may be apart for it."""


class Word:
    """What a job has heard from its fleet. ``directory`` is the job's; the lease begins now."""

    def __init__(self, directory: Path, seconds: float = FLEET_LEASE, now: Callable[[], float] = lease.now) -> None:
        self._directory, self._seconds, self._now = directory, seconds, now
        self._begun = now()

    def said(self, barrier: str) -> bool:
        """Whether it may go on past a barrier."""
        return (self._directory / f"go-{barrier}").exists()

    @property
    def silence(self) -> float:
        """Seconds without a sign of the laptop."""
        return self._now() - max(self._begun, self._heard())

    @property
    def over(self) -> bool:
        """The lease has run out."""
        return self.silence >= self._seconds

    def wait(self, barrier: str) -> bool:
        """Return when it may go on; False when the lease ran out first."""
        while not self.said(barrier):
            if self.over:
                return False
            time.sleep(_POLL)
        return True

    def _heard(self) -> float:
        """When; 0 when never, or at a time that has not come yet: of another boot, it would make the lease endless."""
        with contextlib.suppress(OSError, ValueError):
            heard = float((self._directory / "heard").read_text())
            return heard if heard <= self._now() else 0.0
        return 0.0


def hold(directory: Path, now: Callable[[], float] = lease.now) -> None:
    """A sign of the laptop: the lease begins anew."""
    fresh = directory / f"heard.{os.getpid()}"
    fresh.write_text(f"{now()}\n")
    os.replace(str(fresh), str(directory / "heard"))


def go(directory: Path, barrier: str) -> None:
    """Let the job go on past a barrier. Said twice, it is said once. An empty file first: a full disk may take that."""
    os.close(os.open(str(directory / f"go-{barrier}"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    hold(directory)

"""The queue for the lock, first come, first served. A ticket is a file under flock(2): a dead process holds none."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import HostError
from deployer.host.job import lock
from deployer.host.state.app import Context
from deployer.host.system import files
from deployer.wire.advice import run
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import Exit

_TICKET = pattern(r"[0-9]{8}\Z")
_POLL = 0.5
_PATIENCE = 5.0
"""Seconds that each process ahead has to take the lock once it is free. One that hangs is skipped."""


def wait(ctx: Context, own: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Wait until no job runs, and all processes ahead have left the queue or did not use their turn.

    ``own`` is our ticket. ``tell`` is called with what we wait for, at each change.
    """
    last: dict[str, Any] | None = None
    free_since = 0.0
    while True:
        job, ahead = lock.running(ctx), _ahead(own)
        if job is None:
            free_since = free_since or time.monotonic()
            if time.monotonic() - free_since >= _PATIENCE * ahead:
                return
        else:
            free_since = 0.0
        now = {**(job or {"by": "", "kind": "", "since": 0.0, "phase": ""}), "ahead": ahead}
        if now != last:
            tell(now)
            last = now
        time.sleep(_POLL)


def refuse_if_not_first(ctx: Context, own: Path) -> None:
    """Raises HostError (exit 4) unless no job runs and nobody is ahead."""
    lock.refuse_if_busy(ctx)
    if _ahead(own):
        raise HostError(
            "busy: another command is about to begin",
            exit=Exit.BUSY,
            state="nothing was touched",
            next=run("fab attach", "follows it"),
        )


@contextlib.contextmanager
def ticket(directory: Path) -> Iterator[Path]:
    """A place in the queue, for the block. Keep it until the job has begun, or all who wait would start at once."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path, descriptor = _take(directory)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _take(directory: Path) -> tuple[Path, int]:
    while True:
        last = max((int(name) for name in os.listdir(directory) if _TICKET.fullmatch(name)), default=0)
        path = directory / f"{last + 1:08d}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            descriptor = files.lock(path)
            if descriptor is not None:
                return path, descriptor  # else another process has just removed it as abandoned


def _ahead(own: Path) -> int:
    """How many processes are ahead of us. Tickets of dead ones are removed."""
    before = [own.parent / name for name in os.listdir(own.parent) if _TICKET.fullmatch(name) and name < own.name]
    alive = [path for path in before if files.is_locked(path)]
    for path in set(before) - set(alive):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return len(alive)

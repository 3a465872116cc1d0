"""Who waits for the lock, in the order of their coming. A ticket is a file under flock(2): the dead hold none."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import HostError
from deployer.host.job import lock
from deployer.host.state.app import Context
from deployer.host.system import files
from deployer.wire.advice import run
from deployer.wire.protocol import Exit

_TICKET = re.compile(r"[0-9]{8}\Z")
_POLL = 0.5
_PATIENCE = 5.0
"""Seconds that each of those before us has to take the lock once it is free: one that hangs is passed by."""


def wait(ctx: Context, own: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Return when it is our turn: no job runs, and all who came before us have gone, or did not go when they could.

    ``own`` is our ticket; ``tell`` hears whom we wait for, at each change.
    """
    told: dict[str, Any] | None = None
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
        if now != told:
            tell(now)
            told = now
        time.sleep(_POLL)


def refuse_if_not_first(ctx: Context, own: Path) -> None:
    """Raises HostError (exit 4) unless it is our turn now."""
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
    """A place in the line, for the block. Whoever has it keeps it until its job has begun: else all who wait would
    come at once."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path, descriptor = _draw(directory)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _draw(directory: Path) -> tuple[Path, int]:
    while True:
        last = max((int(name) for name in os.listdir(directory) if _TICKET.fullmatch(name)), default=0)
        path = directory / f"{last + 1:08d}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            descriptor = files.lock(path)
            if descriptor is not None:
                return path, descriptor  # else somebody took it for a dead one's, this moment


def _ahead(own: Path) -> int:
    """How many came before us and are still there; the tickets of the dead are thrown away."""
    before = [own.parent / name for name in os.listdir(own.parent) if _TICKET.fullmatch(name) and name < own.name]
    alive = [path for path in before if files.is_locked(path)]
    for path in set(before) - set(alive):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return len(alive)

"""The deploy lock of ``fab lock``: a file of root's that keeps every release from beginning. It survives a reboot.

It is not the lock of a job (:mod:`deployer.host.job.lock`): what runs goes on, and a recovery is never kept from its
work.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from deployer.host.errors import Damaged, HostError
from deployer.host.state.app import Context
from deployer.host.system import files
from deployer.wire.advice import run
from deployer.wire.deploylock import DeployLock
from deployer.wire.protocol import Exit


def current(ctx: Context) -> DeployLock | None:
    """The lock that holds now; None when there is none, or when it has ended. Raises Damaged."""
    value = files.read_object(ctx.paths.deploy_lock)
    if value is None:
        return None
    try:
        found = DeployLock.parse(value)
    except ValueError:
        raise Damaged(ctx.paths.deploy_lock) from None
    return None if found.is_over(ctx.clock()) else found


def readable(ctx: Context) -> DeployLock | None:
    """As :func:`current`, for a report: a damaged file is told as a lock, for it keeps releases out."""
    try:
        return current(ctx)
    except Damaged as error:
        return DeployLock(by="", why=error.message, since=ctx.clock())


def refuse(ctx: Context) -> None:
    """Raises HostError (exit 4) while deploys are locked. A file that cannot be read counts as a lock."""
    found = readable(ctx)
    if found is not None:
        raise HostError(
            f"deploys are {found.text(utc=True)}",
            exit=Exit.BUSY,
            state="nothing was touched",
            next=run("fab unlock", "ends that"),
        )


def set_lock(ctx: Context, lock: DeployLock) -> DeployLock:
    """Lock deploys from now on. The same person may change the reason and the end of a lock.

    Raises HostError (exit 4) when somebody else's holds, OSError.
    """
    found = readable(ctx)
    if found is not None and found.by != lock.by:
        raise HostError(
            f"deploys are {found.text(utc=True)}",
            exit=Exit.BUSY,
            state="that lock stays as it is",
            next=run("fab unlock", "ends it; then lock anew"),
        )
    kept = replace(lock, since=found.since if found is not None else ctx.clock())
    files.write_json(ctx.paths.deploy_lock, kept.as_json(), 0o600)
    return kept


def remove_lock(ctx: Context) -> DeployLock | None:
    """Remove the lock; what it was, None when there was none. Raises OSError."""
    found = readable(ctx)
    with contextlib.suppress(FileNotFoundError):
        ctx.paths.deploy_lock.unlink()
        files.sync_directory(ctx.paths.deploy_lock.parent)
    return found

"""A candidate that is held: discarded before its lease is over."""

from __future__ import annotations

from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.job import lock
from deployer.host.state import lease
from deployer.host.state.app import Context
from deployer.wire.advice import run
from deployer.wire.protocol import Exit


def discard(ctx: Context, number: int, by: str) -> Path:
    """End the lease of a candidate, and start the recovery that removes it. Returns the directory of that job.

    Raises HostError when another job runs (exit 4), or when the release is not held, or has had traffic (exit 2).
    """
    lock.refuse_if_busy(ctx)
    release = ctx.catalog.get(number)
    has_traffic = number == ctx.catalog.current() or release.switched
    if not release.unfinished or has_traffic or not lease.seconds_left(release.held):
        why = (
            "it is switched to already" if has_traffic else f"it is {release.result}" if not release.unfinished else ""
        )
        raise HostError(
            f"{release.name} is not held" + (f": {why}" if why else ""),
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab status"),
        )
    ctx.catalog.update(release, held={**lease.grant(0), "discarded": by})
    return lock.submit_recovery(ctx)

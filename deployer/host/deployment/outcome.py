"""How a release's story ends: its record, the ledger's line, and what is left of it."""

from __future__ import annotations

from deployer.host.deployment import retention
from deployer.host.deployment.failures import Failures
from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.state.app import Context
from deployer.host.state.ledger import ENDED
from deployer.host.state.releases import GOOD, ROLLING_BACK, Release
from deployer.host.system import files
from deployer.wire.protocol import Exit


def good(ctx: Context, release: Release, reason: str = "") -> bool:
    """It serves, and stays. False when that cannot be written down: the host tries again until it can.

    ``reason`` tells what was not as usual. To make room for the record, old releases may go.
    """
    if release.result == ROLLING_BACK:
        raise HostError(f"{release.name} is being taken back, and cannot be good", exit=Exit.BUG)
    changes = {"result": GOOD, "phase": "watch", "reason": reason, "ended": ctx.clock(), "held": None}
    try:
        kept = _write(ctx, release, changes)
    except OSError as error:
        text = f"{release.name} serves and is healthy, but that could not be recorded: {error}"
        ctx.emit("warn", text=f"{text}; the host records it as soon as it can")
        return False
    write_end(ctx, kept)
    return True


def _write(ctx: Context, release: Release, changes: dict[str, object]) -> Release:
    try:
        return ctx.catalog.update(release, **changes)
    except OSError:
        with Failures(ctx).kept("removing old releases"):
            retention.prune(ctx, release.spec.keep)
        return ctx.catalog.update(release, **changes)


def condemn(ctx: Context, release: Release, reason: str) -> Release:
    """Say that a release goes, before anything of it does: whoever has to go on from here then knows. Never raises: it
    goes all the same."""
    with Failures(ctx).kept(f"noting that {release.name} goes"):
        return ctx.catalog.update(release, result=ROLLING_BACK, reason=reason, held=None)
    return release


def close(ctx: Context, release: Release, result: str, reason: str) -> None:
    """Keep the record of a dead release, and nothing else of it: that first, to have room for the record.

    What still finishes a job keeps its code and environment until it has. Never raises: what was left undone is seen
    to when the host next recovers.
    """
    failures, directory = Failures(ctx), ctx.paths.release(release.number)
    with failures.kept(f"looking for what {release.name} still runs"):
        if release.number not in background.finishing_numbers(ctx):
            for name in files.names(directory):
                if name != "release.json":
                    with failures.kept(f"removing {directory / name}"):
                        files.remove_tree(directory / name)
    with failures.kept(f"recording how {release.name} ended"):
        changes = {"result": result, "reason": reason, "ended": ctx.clock(), "held": None, "sealed": None}
        write_end(ctx, ctx.catalog.update(release, **changes))
    with failures.kept("removing old releases"):
        serving = ctx.catalog.serving()
        retention.prune(ctx, (serving or release).spec.keep)


def write_end(ctx: Context, release: Release) -> None:
    """The ledger's last line on a release. One that is missing is made up for when the host next recovers. Never
    raises."""
    with Failures(ctx).kept("adding to the ledger"):
        ctx.ledger.add(
            ENDED,
            release.ended,
            release=release.name,
            result=release.result,
            phase=release.phase,
            reason=release.reason,
            serving=ctx.catalog.serving_name(),
        )

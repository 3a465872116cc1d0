"""Removes trees and environments that no release needs any more, once they were renamed away: in a unit of its own.

To unlink a large tree takes longer than the rest of a deploy. Here nobody waits for it, nothing is locked, and the disk
is used while nobody else does. What is left when it ends early (a power cut) is debris, which the next job removes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from deployer.host.state.app import Context
from deployer.host.system import files, runner, systemd

_AT_LEISURE = (
    "Nice=19", "CPUSchedulingPolicy=idle", "CPUWeight=1", "IOSchedulingClass=idle", "IOWeight=1", "TimeoutStopSec=5",
)  # fmt: skip
_UNDER_WAY = ("active", "activating", "deactivating")
_ROOM = 1 << 30
"""Bytes: with less free than these, or than a tenth of the disk, nothing is left for later."""


def unit_of(ctx: Context) -> str:
    """The unit; no app's name has a dot."""
    return f"deployer-{ctx.app}.cleanup.service"


def start(ctx: Context, before: Collection[Path] = ()) -> None:
    """Begin to remove what was renamed away. Where that cannot begin, it is removed before this returns, but for what
    was waiting ``before`` and is being removed already. Raises HostError, OSError."""
    gone = list(waiting(ctx))
    if not gone:
        return
    settings = [f"Description={ctx.app}: removing old releases", *_AT_LEISURE]
    argv = ["/bin/rm", "-rf", "--one-file-system", "--", *map(str, gone)]
    if not runner.run(systemd.transient(unit_of(ctx), settings, argv, wait=False)).ok:
        others = before if is_under_way(ctx) else ()
        for path in gone:
            if path not in others:
                files.remove_tree(path)


def finish(ctx: Context) -> None:
    """Remove what was renamed away, before this returns. Raises OSError."""
    gone = list(waiting(ctx))
    if gone:
        systemd.systemctl("stop", unit_of(ctx))
    for path in gone:
        files.remove_tree(path)


def make_room(ctx: Context) -> None:
    """The same where the disk is nearly full. Raises OSError."""
    if _is_tight(ctx.paths.trees):
        finish(ctx)


def _is_tight(directory: Path) -> bool:
    status = os.statvfs(str(directory))
    return status.f_bavail < status.f_blocks // 10 or status.f_bavail * status.f_frsize < _ROOM


def is_under_way(ctx: Context) -> bool:
    """Whether something is being removed. Raises HostError when systemd does not answer."""
    return systemd.show(unit_of(ctx)).active in _UNDER_WAY


def debris(ctx: Context) -> Iterator[Path]:
    """What was renamed away and is not being removed. Raises HostError."""
    gone = list(waiting(ctx))
    if gone and not is_under_way(ctx):
        yield from gone


def waiting(ctx: Context) -> Iterator[Path]:
    """All that was renamed away and is still there."""
    for directory in (ctx.paths.trees, ctx.paths.venvs):
        yield from (directory / name for name in files.names(directory) if files.is_gone(name))

"""Removes trees and environments that no release needs any more, once they were renamed away: in a unit of its own.

To unlink a large tree takes longer than the rest of a deploy. Here nobody waits for it, nothing is locked, and the disk
is used while nobody else does. What is left when it ends early (a power cut) is debris, which the next boot or job
removes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from deployer.host.state.app import Context
from deployer.host.system import files, idle, systemd

_ROOM = 1 << 30
"""Bytes: with less free than these, or than a tenth of the disk or of its inodes, nothing is left for later."""


def unit_of(ctx: Context) -> str:
    """The unit; no app's name has a dot."""
    return f"deployer-{ctx.app}.cleanup.service"


def start(ctx: Context, before: Collection[Path] = ()) -> None:
    """Begin to remove what was renamed away. Where that cannot begin, it is removed before this returns, but for what
    was waiting ``before`` and is being removed already. Raises HostError, OSError."""
    gone = list(waiting(ctx))
    if not gone:
        return
    argv = ["/bin/rm", "-rf", "--one-file-system", "--", *map(str, gone)]
    if not idle.start(unit_of(ctx), f"{ctx.app}: removing old releases", argv):
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
    """The same where the disk is nearly full; a clone that lies ready goes, too. Raises OSError."""
    if is_tight(ctx.paths.trees):
        ctx.trees.put_away_clones()
        finish(ctx)


def is_tight(directory: Path) -> bool:
    """Whether a disk is nearly full. Raises OSError."""
    status = os.statvfs(str(directory))
    blocks, inodes = status.f_blocks // 10, status.f_files // 10  # btrfs counts no inodes, and says 0
    return status.f_bavail < blocks or status.f_favail < inodes or status.f_bavail * status.f_frsize < _ROOM


def is_under_way(ctx: Context) -> bool:
    """Whether something is being removed. Raises HostError when systemd does not answer."""
    return idle.is_under_way(unit_of(ctx))


def debris(ctx: Context) -> Iterator[Path]:
    """What was renamed away and is not being removed. Raises HostError."""
    gone = list(waiting(ctx))
    if gone and not is_under_way(ctx):
        yield from gone


def waiting(ctx: Context) -> Iterator[Path]:
    """All that was renamed away and is still there."""
    for directory in (ctx.paths.trees, ctx.paths.venvs):
        yield from (directory / name for name in files.names(directory) if files.is_gone(name))

"""Mounts the sandbox made: overlays put up, and everything below a directory taken down again."""

from __future__ import annotations

import time
from pathlib import Path

from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine.commands import run

BUSY_SECONDS = 5.0
"""How long a dead host's last processes may keep its root busy before it is detached instead."""

REMOVE_SECONDS = 600.0
"""How long the files of a host may take to delete: seconds as a rule, a minute on a busy disk."""

_MOUNT_TABLE = Path("/proc/self/mountinfo")


def parse_mountinfo(table: str, below: Path) -> list[Path]:
    """The mount points in `table` (the text of mountinfo) at or below `below`, the deepest first."""
    points = [_unescape(line.split()[4]) for line in table.splitlines() if len(line.split()) > 4]
    found = [Path(point) for point in points if Path(point) == below or below in Path(point).parents]
    return list(reversed(found))


def mounted_below(directory: Path) -> list[Path]:
    """The mount points at or below `directory`, the deepest first; none on systems without /proc."""
    if not _MOUNT_TABLE.exists():
        return []
    return parse_mountinfo(_MOUNT_TABLE.read_text(encoding="utf-8"), directory.resolve())


def mount_memory(directory: Path) -> None:
    """Have a host's disk in memory: nothing waits for the machine's, and its removal is one unmount."""
    disk = directory / "disk"
    disk.mkdir(mode=0o755, parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "deployer-sandbox", str(disk)])


def mount_overlay(lower: str, directory: Path) -> Path:
    """Mount `directory`/merged: `lower` underneath (directories, the topmost first, with colons between them),
    changes kept in `directory`/disk. Idempotent."""
    upper, work, merged = (directory / part for part in ("disk/upper", "disk/work", "merged"))
    for part in (upper, work, merged):
        part.mkdir(mode=0o755, parents=True, exist_ok=True)
    upper.chmod(0o755)  # the mode of the host's own root directory, whatever our umask
    if not mounted_below(merged):
        # xino: all files are of one device, as on a disk, also where image and disk are not of one file system.
        options = f"xino=on,lowerdir={lower},upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)])
    return merged


def unmount_below(directory: Path) -> None:
    """Unmount all at or below `directory`; raises SandboxError if one stays."""
    deadline = time.monotonic() + BUSY_SECONDS
    while points := mounted_below(directory):
        lazily = ["-l"] if time.monotonic() > deadline else []
        for point in points:
            run(["umount", *lazily, str(point)], check=False)
        if lazily and mounted_below(directory):
            raise SandboxError(f"{points[0]} cannot be unmounted.", hint=f"umount -l {points[0]}")
        time.sleep(0.02)


def remove_tree(directory: Path) -> None:
    """Unmount what is below `directory`, then delete it; never crosses into another file system."""
    if not directory.exists():
        return
    unmount_below(directory)
    run(["rm", "-rf", "--one-file-system", str(directory)], timeout=REMOVE_SECONDS)


def _unescape(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point

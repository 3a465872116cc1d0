"""A control group for each host.

Machines without systemd as init need it: there systemd-nspawn puts every host it starts into one and the same
group, and then the hosts' systemds share a tree, see each other's processes and wait for each other's units.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from deployer.sandbox.machine import processes

DYING_SECONDS = 5.0
"""How long killed processes may take to leave their group."""

_MOUNT_TABLE = Path("/proc/self/mountinfo")


def parse_hierarchies(table: str) -> list[Path]:
    """The mount points in `table` (the text of mountinfo) of the hierarchies that track processes."""
    found = []
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.partition(" ")
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            found.append(Path(left.split()[4]))
    return found


def groups_of(label: str) -> list[Path]:
    """The groups called `label`, one in each hierarchy, whether they exist or not."""
    table = _MOUNT_TABLE.read_text(encoding="utf-8") if _MOUNT_TABLE.exists() else ""
    return [hierarchy / label for hierarchy in parse_hierarchies(table)]


def create(label: str) -> list[Path]:
    """Create the groups; the files into which a process writes its pid to join them."""
    for group in groups_of(label):
        group.mkdir(exist_ok=True)
    return [group / "cgroup.procs" for group in groups_of(label)]


def remove(label: str) -> None:
    """Remove the groups and all below them, once their last processes are gone; those that keep one stay."""
    processes.wait_until(lambda: _try_to_remove(label), seconds=DYING_SECONDS)


def _try_to_remove(label: str) -> bool:
    for group in groups_of(label):
        if group.is_dir():
            below = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
            for directory in (*below, group):
                with contextlib.suppress(OSError):
                    directory.rmdir()
    return not any(group.exists() for group in groups_of(label))

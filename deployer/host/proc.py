"""What runs on the host, read from /proc and the kernel's socket tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deployer.host.systemd import run


@dataclass(frozen=True)
class Memory:
    """Bytes. ``available`` as the kernel estimates it (MemAvailable, proc(5)); swap counts for nothing here."""

    available: int
    total: int


def memory() -> Memory:
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024 if rest.split() else 0
    return Memory(available=values.get("MemAvailable", 0), total=values.get("MemTotal", 0))


def children() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parent = int(text.rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(entry))
    return found


def family(pid: int) -> set[int]:
    """``pid`` and all its descendants."""
    tree, found, waiting = children(), set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting += [child for child in tree.get(one, []) if child not in found]
    return found


def workers(pid: int) -> set[int]:
    """Direct children of a server that run the same program as it does. Short-lived helpers are something else."""
    program = _program(pid)
    return {child for child in children().get(pid, []) if program and _program(child) == program}


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold, shared pages counted once (Pss)."""
    return sum(_pss(member) for member in family(pid)) if pid else 0


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def waiting_connections(path: str) -> int:
    """Connections in the accept queue of the listening Unix socket ``path`` that nobody has accepted yet."""
    done = run(["ss", "-xlnH", "src", f"unix:{path}"])
    queued = [line.split()[2] for line in done.out.splitlines() if path in line.split()]
    return sum(int(count) for count in queued if count.isdigit())

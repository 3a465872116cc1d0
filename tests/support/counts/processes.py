"""The processes of a sandbox host, as this machine sees them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from deployer.sandbox import SandboxHost
from deployer.sandbox.machine import processes

_TICKS = os.sysconf("SC_CLK_TCK")


def processes_of(host: SandboxHost) -> list[int]:
    """Their pids. Raises RuntimeError for a host that is off, or of another backend than systemd-nspawn."""
    record = host.state.get(host.name)
    inits = processes.children(record.init) if record.init and host.root and host.engine.is_alive(record) else []
    if not inits:
        raise RuntimeError(f"{host.name} cannot be looked into: it must be a systemd-nspawn host that is on")
    space = _space(inits[0].pid)
    found = []
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            if _space(pid) == space:
                found.append(pid)
    return found


def cpu_seconds(host: SandboxHost) -> float:
    """What all of them have used since the host was switched on, those that have ended included."""
    ticks = 0
    for pid in processes_of(host):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # of the process, and of its children that have ended
    return ticks / _TICKS


def _space(pid: int) -> Path:
    """The process's name for its namespace of pids."""
    return Path(f"/proc/{pid}/ns/pid").readlink()

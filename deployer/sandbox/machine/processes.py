"""Processes, told apart by pid and start time, so that a recycled pid is never taken for another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class OsProcess:
    """A process: `started` is an opaque stamp that no later process with the same `pid` shares."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> OsProcess | None:
        """The process that has `pid` now, or None when there is none (a zombie counts as none)."""
        started = _stamp(pid)
        return None if started is None else cls(pid=pid, started=started)

    @classmethod
    def current(cls) -> OsProcess:
        """This very process."""
        return cls(pid=os.getpid(), started=_stamp(os.getpid()) or "")

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return _stamp(self.pid) == self.started

    def send(self, signal_number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)


def children(parent: OsProcess) -> list[OsProcess]:
    """The direct children of `parent` that are alive."""
    return [found for pid in _pids() if _parent(pid) == parent.pid and (found := OsProcess.of(pid))]


def with_argument(program: str, argument: str) -> list[OsProcess]:
    """The running processes called `program` that were given exactly `argument`."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == program and argument in words and (process := OsProcess.of(pid)):
                found.append(process)
    return found


def in_control_group(label: str) -> list[OsProcess]:
    """The running processes in the control group, or the scope, called `label`, and in those below it."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            text = (_PROC / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
            words = {word for line in text.splitlines() for word in line.split("/")}
            if words & {label, f"{label}.scope"} and (process := OsProcess.of(pid)):
                found.append(process)
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll `condition` for at most `seconds`; whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_for_end(process: OsProcess, *, seconds: float) -> bool:
    """Wait up to `seconds` for `process` to end; whether it did."""
    return wait_until(lambda: not process.is_alive(), seconds=seconds)


def kill(process: OsProcess, *, seconds: float = 10) -> bool:
    """SIGKILL `process` and wait up to `seconds`; whether it is gone."""
    process.send(signal.SIGKILL)
    return wait_for_end(process, seconds=seconds)


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent … (the second may hold anything)."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[1]) if fields else None


def _stamp(pid: int) -> str | None:
    if not _BOOT_ID.exists():
        return _stamp_from_ps(pid)
    fields = _fields(pid)
    if not fields or fields[0] in "ZX":
        return None
    return f"{_BOOT_ID.read_text().strip()}:{fields[19]}"


def _stamp_from_ps(pid: int) -> str | None:
    """Where there is no /proc (macOS)."""
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None

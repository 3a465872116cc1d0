"""The processes, memory and socket queues of the host, read from /proc and ``ss``.

All of it is bytes that others control: a process may give itself any name. What cannot be parsed is ignored, never
raised.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from deployer.host.errors import HostError
from deployer.host.system.runner import run
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

_NUMBER = pattern(r"[0-9]{1,10}")
_PATIENCE = 10.0
"""Seconds that ``ss`` may take."""
_NAMED = 5
"""How many processes a message names."""


@dataclass(frozen=True)
class Memory:
    """Bytes. ``available`` is the kernel's estimate (MemAvailable, proc(5)); swap is not counted."""

    available: int
    total: int


def memory() -> Memory:
    values = _kibibytes(Path("/proc/meminfo").read_bytes())
    return Memory(available=values.get(b"MemAvailable", 0), total=values.get(b"MemTotal", 0))


def swap() -> int:
    """Bytes of swap that there are, used or not."""
    return _kibibytes(Path("/proc/meminfo").read_bytes()).get(b"SwapTotal", 0)


def _kibibytes(text: bytes) -> dict[bytes, int]:
    """The ``NAME: NUMBER kB`` lines, in bytes."""
    found = (re.fullmatch(rb"(\w+):[ \t]*([0-9]{1,18}) kB", line) for line in text.split(b"\n"))
    return {one.group(1): int(one.group(2)) * 1024 for one in found if one}


def children() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if _NUMBER.fullmatch(entry):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = _parent(Path(f"/proc/{entry}/stat").read_bytes())
                if parent is not None:
                    found.setdefault(parent, []).append(int(entry))
    return found


def _parent(stat: bytes) -> int | None:
    """The parent in ``/proc/PID/stat`` (proc(5)). The name before it may contain any bytes, ``)`` included."""
    match = re.fullmatch(rb"[0-9]+ \(.*\) [A-Za-z] ([0-9]{1,10}) [^)]*", stat, re.DOTALL)
    return int(match.group(1)) if match else None


def family(pid: int) -> set[int]:
    """``pid`` and all its descendants."""
    tree, found, waiting = children(), set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting += [child for child in tree.get(one, []) if child not in found]
    return found


def workers(pid: int) -> set[int]:
    """The children of a server that run the same program: its workers, not short-lived helpers."""
    program = _program(pid)
    return {child for child in children().get(pid, []) if program and _program(child) == program}


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def users(directory: Path) -> list[str]:
    """The processes that have something open below a directory, or are in it: number and name, at most _NAMED."""
    found = (pid for pid in filter(str.isdigit, os.listdir("/proc")) if _uses(f"/proc/{pid}", str(directory)))
    return [f"{pid} ({_name(pid)})" for pid in itertools.islice(found, _NAMED)]


def _uses(process: str, directory: str) -> bool:
    """By the names of what it uses: nothing is looked at, which could be on a disk that does not answer."""
    for link in _places(process):
        with contextlib.suppress(OSError):
            if f"{os.readlink(link)}/".startswith(f"{directory}/"):
                return True
    return False


def _places(process: str) -> Iterator[str]:
    """The links in /proc to what a process uses (proc(5))."""
    yield from (f"{process}/cwd", f"{process}/root")
    for directory in ("fd", "map_files"):
        with contextlib.suppress(OSError):
            yield from (f"{process}/{directory}/{name}" for name in os.listdir(f"{process}/{directory}"))


def _name(pid: str) -> str:
    """What a process calls itself; whatever that holds, it is harmless to print."""
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_bytes().decode("ascii", "replace").rstrip("\n")
        return "".join(char if char.isprintable() else "?" for char in name)
    return "?"


def resident(pid: int) -> int:
    """Bytes of memory of a process and its descendants, shared pages counted once (Pss)."""
    return sum(_pss(member) for member in family(pid)) if pid else 0


def _pss(pid: int) -> int:
    try:
        return _kibibytes(Path(f"/proc/{pid}/smaps_rollup").read_bytes()).get(b"Pss", 0)
    except OSError:
        return 0


def terminate(pid: int, still: Callable[[], bool]) -> bool:
    """Send SIGTERM to ``pid`` if it is ``still()`` the intended process: checked while no other process can take its
    number (pidfd_open(2)). False if it is not, or has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel older than 5.3, or a container that forbids it
        return still() and _kill(pid)
    try:
        if still():
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            return True
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return False


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


def waiting_connections(path: str) -> int | None:
    """Connections in the accept queue of the listening Unix socket ``path``.

    None when unknown: never take that for an empty queue.
    """
    try:
        done = run(["ss", "-xlnH", "src", f"unix:{path}"], timeout=_PATIENCE)
    except HostError:
        return None
    rows = [line.split() for line in done.out.split("\n")]
    queued = [row[2] for row in rows if len(row) > 4 and row[4] == path and _NUMBER.fullmatch(row[2])]
    return sum(map(int, queued)) if done.ok else None


def of_unit(unit: str) -> list[int]:
    """The processes in the control group of ``unit``, which must be in the same slice as this program.

    Read from /proc: systemd may have lost sight of them. Units of the same name in containers on this host count, too.
    """
    found = []
    wanted = {tree: posixpath.join(posixpath.dirname(path), unit) for tree, path in _groups("self")}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(f"{path}/".startswith(f"{wanted.get(tree)}/") for tree, path in _groups(entry)):
                found.append(int(entry))
    return found


def in_group(group: str) -> bool:
    """Whether any process is in the control group ``group`` (``ControlGroup=`` of a unit) or below it.

    In a container the paths in /proc may have a prefix. Groups of the same name in containers on this host count, too.
    """
    for entry in filter(str.isdigit, os.listdir("/proc")) if group else ():
        with contextlib.suppress(OSError):
            if any(f"{group}/" in f"{path}/" for _, path in _groups(entry)):
                return True
    return False


def _groups(process: str) -> list[tuple[str, str]]:
    """The control groups of a process, each with its hierarchy (cgroups(7), ``/proc/PID/cgroup``)."""
    text = os.fsdecode(Path(f"/proc/{process}/cgroup").read_bytes())
    fields = (line.split(":", 2) for line in text.splitlines())
    return [(tree, path) for tree, _, path in fields]

"""systemd, journald and the commands of the host, through one thin runner."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import journald, runner
from deployer.host.system.runner import CommandResult
from deployer.wire import advice


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit. ``main_pid`` is 0 when nothing runs; ``memory`` in bytes, 0 when unknown.

    ``queued``: it is to be started or stopped, and that has not ended yet; ``starts``: it is to be started.
    ``cut_short``: what it was last started for was ended by systemd itself, in its set-up.
    """

    active: str
    sub: str
    result: str
    restarts: int
    main_pid: int
    memory: int
    since: float
    queued: bool = False
    starts: bool = False
    cut_short: bool = False

    @property
    def crashed(self) -> bool:
        """It ended at least once without being asked. ``activating`` is what a crash loop looks like."""
        return self.restarts > 0 or self.active == "failed"


_DEAF = 10.0
"""Seconds that systemd may take to hear a question."""
TIMED_OUT = 124
"""As timeout(1) has it."""
_READING = 90.0
"""Seconds that journalctl has to tell what it was asked for."""

_CGROUP = "219"
"""The exit status of a process that systemd could not put where it belongs (systemd.exec(5)): that is no program's own
doing. Seen where systemd is executed again meanwhile."""
_STARTING = ("start", "restart", "reload-or-start", "verify-active")

_SHOWN = "ActiveState,SubState,Result,NRestarts,MainPID,MemoryCurrent,ActiveEnterTimestampMonotonic,Job,ExecMainStatus"


def show(unit: str) -> UnitState:
    """The state of ``unit``; one that does not exist is ``inactive``."""
    return show_all([unit])[unit]


def show_all(units: Sequence[str]) -> dict[str, UnitState]:
    """The states of several units at once. Raises HostError when systemd does not answer."""
    if not units:
        return {}
    blocks = ask("show", "-p", _SHOWN, *units).split("\n\n")
    blocks += [""] * (len(units) - len(blocks))
    states = {unit: _values(block) for unit, block in zip(units, blocks)}
    queued = [unit for unit, values in states.items() if values.get("Job", "0") not in ("", "0")]
    types = _job_types(queued) if queued else {}
    return {unit: _state(values, types.get(unit, "")) for unit, values in states.items()}


def _values(block: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in block.split("\n"))


def _job_types(units: Sequence[str]) -> dict[str, str]:
    """What is queued for units: ``start``, ``stop`` and the like. Only their numbers are among the properties."""
    rows = [line.split() for line in ask("list-jobs", "--plain", "--no-legend", *units).split("\n")]
    return {row[1]: row[2] for row in rows if len(row) > 3}


def _state(values: Mapping[str, str], job: str) -> UnitState:
    entered = _number(values.get("ActiveEnterTimestampMonotonic", ""))
    return UnitState(
        active=values.get("ActiveState", "inactive"),
        sub=values.get("SubState", ""),
        result=values.get("Result", ""),
        restarts=_number(values.get("NRestarts", "")),
        main_pid=_number(values.get("MainPID", "")),
        memory=_number(values.get("MemoryCurrent", "")),
        since=time.time() - time.monotonic() + entered / 1e6 if entered else 0.0,
        queued=values.get("Job", "0") not in ("", "0"),
        starts=job in _STARTING,
        cut_short=values.get("Result") == "exit-code" and values.get("ExecMainStatus") == _CGROUP,
    )


def _number(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    return 0 if value >= 1 << 62 else value  # systemd prints 2^64-1 for "not known"


def systemctl(*arguments: str, timeout: float = 90, utc: bool = False) -> CommandResult:
    """A systemctl command that may fail, take too long or not even start: cleaning up must go on to the next step."""
    zone = ["env", "TZ=UTC"] if utc else []
    try:
        return runner.run([*zone, "systemctl", *arguments], timeout=timeout)
    except (HostError, OSError) as error:  # OSError: the host has no memory, or no process, left for it
        return CommandResult(TIMED_OUT, "", str(error))


def require(*arguments: str, timeout: float = 90) -> CommandResult:
    """A systemctl command that must succeed. Raises HostError with what systemctl said."""
    done = systemctl(*arguments, timeout=timeout)
    if not done.ok:
        raise HostError(f"systemctl {' '.join(arguments)} failed (exit status {done.status})", logs=done.tail())
    return done


def ask(*arguments: str, utc: bool = False) -> str:
    """What systemctl says to a question; times of a day in ``utc`` if so asked.

    None that is not answered is taken for a no: it is asked again for a while (a systemd that is re-executed hears
    nothing for a moment), and then that is a HostError.
    """
    deadline = time.monotonic() + _DEAF
    while True:
        done = systemctl(*arguments, utc=utc)
        if done.ok:
            return done.out
        if time.monotonic() >= deadline:
            return require(*arguments).out
        time.sleep(0.25)


@functools.cache
def version() -> int:
    """The number of systemd's version, such as 252; 0 when it does not say."""
    try:
        asked = ["systemctl", "--version"]  # not through run(): it is no step that could fail by itself
        said = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, env=runner.ENVIRONMENT).stdout
    except OSError:
        return 0
    name, number, *_ = [*said.decode("ascii", "replace").split(), "", ""]
    return int(number) if name == "systemd" and re.fullmatch("[0-9]{1,9}", number) else 0


def processes(unit: str) -> list[int]:
    """The processes in the control group of ``unit``, whatever systemd itself knows of it: that beside our own, in the
    same slice. (The names of units in containers on this host may be the same.)"""
    found = []
    wanted = {tree: posixpath.join(posixpath.dirname(path), unit) for tree, path in _groups("self")}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(f"{path}/".startswith(f"{wanted.get(tree)}/") for tree, path in _groups(entry)):
                found.append(int(entry))
    return found


def has_processes(group: str) -> bool:
    """Whether a process is in the control group that systemd calls ``group``, or below it. In a container the names
    that processes have may be longer at their beginning. (Those of containers on this host may be the same.)"""
    for entry in filter(str.isdigit, os.listdir("/proc")) if group else ():
        with contextlib.suppress(OSError):
            if any(f"{group}/" in f"{path}/" for _, path in _groups(entry)):
                return True
    return False


def _groups(process: str) -> list[tuple[str, str]]:
    """The control groups of a process, each with the tree that it is in (cgroups(7))."""
    text = os.fsdecode(Path(f"/proc/{process}/cgroup").read_bytes())
    fields = (line.split(":", 2) for line in text.splitlines())
    return [(tree, path) for tree, _, path in fields]


def was_stopped(unit: str) -> bool:
    """Whether a unit that ran since boot was stopped in good order: an admin's answer, not a fault."""
    shown = ask("show", "-p", "ActiveState,InactiveEnterTimestampMonotonic", unit)
    value = dict(line.partition("=")[::2] for line in shown.splitlines())
    return value.get("ActiveState") == "inactive" and value.get("InactiveEnterTimestampMonotonic", "0") not in ("", "0")


def is_stopping() -> bool:
    """Whether the host is going down. Never raises: it is asked in a signal handler, too."""
    deadline = time.monotonic() + _DEAF
    while True:
        said = systemctl("is-system-running").out.strip()  # its exit status only tells whether that is "running"
        if said or time.monotonic() >= deadline:
            return said == "stopping"
        time.sleep(0.25)


def tell(unit: str, text: str) -> None:
    """Add a line to the journal of another ``unit``: ``journalctl -u`` and ``systemctl status`` show it."""
    line = " ".join(text.split())
    fields = {"MESSAGE": line, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "deployer", "OBJECT_SYSTEMD_UNIT": unit}
    message = "".join(f"{name}={value}\n" for name, value in fields.items()).encode("utf-8", "replace")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(1.0)  # a journal that does not read holds up nothing
        sending.sendto(message, "/run/systemd/journal/socket")


def own_lines(unit: str, lines: int) -> list[str]:
    """The last lines that a service's own processes wrote since it was last started; when they wrote none, what systemd
    said of it. Of a unit that systemd has forgotten, the last that it ever wrote.

    Raises nothing for what is in them: it is asked for when something has failed, and must not hide why.
    """
    found = list(records(["-u", unit, "-n", str(lines * 3)]))
    shown = systemctl("show", "-p", "InvocationID,NRestarts", unit).out
    value = dict(line.partition("=")[::2] for line in shown.splitlines())
    if value.get("InvocationID"):
        found = journald.of_latest(found, unit, value["InvocationID"], value.get("NRestarts", "0") not in ("", "0"))
    return journald.own_lines(found, lines)


def records(arguments: Sequence[str]) -> Iterator[journald.Record]:
    """The entries of the journal that ``arguments`` of journalctl name, oldest first. Raises HostError."""
    argv = [*journald.COMMAND, *arguments]
    try:
        yield from filter(None, map(journald.parse, journald.lines(argv, runner.ENVIRONMENT, seconds=_READING)))
    except FileNotFoundError:
        raise HostError(f"the host lacks the command {argv[0]}", next=advice.do("install systemd's journal")) from None


def transient(
    unit: str,
    properties: Sequence[str],
    argv: Sequence[str],
    *,
    wait: bool,
    environment: Mapping[str, str] | None = None,
    collect: bool = True,
) -> list[str]:
    """The command line that runs ``argv`` as the transient unit ``unit``. Nothing secret may be in it.

    systemd would put variables' values into the arguments; each ``$`` is doubled, so that they arrive as they are.

    With ``wait`` it ends when the unit has ended, else when it has started: from then on systemd knows it as active.
    Without ``collect`` systemd goes on to know a unit that failed.
    """
    mode = ["--pipe", "--wait"] if wait else []
    settings = [f"--setenv={name}={value}" for name, value in sorted((environment or {}).items())]
    return [
        "systemd-run", "--quiet", *(["--collect"] if collect else []), f"--unit={unit}", *mode,
        *(part for value in properties for part in ("-p", value)), *settings, "--",
        *(word.replace("$", "$$") for word in argv),
    ]  # fmt: skip

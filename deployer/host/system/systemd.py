"""What systemd says of its units, and systemctl: asked until it answers. Orders that it may miss are in ``orders``."""

from __future__ import annotations

import functools
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from signal import Signals

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.host.system.runner import CommandResult
from deployer.wire.lazydata import dataclass

TIMED_OUT = 124
"""The status of a systemctl command that took too long or did not start, as in timeout(1)."""
_ANSWER_WITHIN = 10.0
"""Seconds in which systemd must answer a question."""
_PAUSE = 0.25

_CGROUP = "219"
"""The exit status of a process that systemd could not put into its control group (systemd.exec(5)): not the program's
doing. Seen while systemd is re-executed."""
_STARTING = ("start", "restart", "reload-or-start", "verify-active")
_EXITED, _KILLED, _DUMPED = "1", "2", "3"
"""How a process ended: ``ExecMainCode=``, numbered as in waitid(2)."""

_STATE = (
    "ActiveState", "SubState", "Result", "NRestarts", "MainPID", "MemoryCurrent", "ActiveEnterTimestampMonotonic",
    "Job", "ExecMainStatus",
)  # fmt: skip


def systemctl(*arguments: str, timeout: float = 90, utc: bool = False) -> CommandResult:
    """Run a systemctl command. Never raises: one that takes too long or does not start has the status TIMED_OUT."""
    zone = ["env", "TZ=UTC"] if utc else []
    try:
        return runner.run([*zone, "systemctl", *arguments], timeout=timeout)
    except (HostError, OSError) as error:  # OSError: the host has no memory, or no process, left for it
        return CommandResult(TIMED_OUT, "", str(error))


def require(*arguments: str, timeout: float = 90) -> CommandResult:
    """Run a systemctl command that must succeed. Raises HostError with its output."""
    done = systemctl(*arguments, timeout=timeout)
    if not done.ok:
        raise HostError(f"systemctl {' '.join(arguments)} failed (exit status {done.status})", logs=done.tail())
    return done


def ask(*arguments: str, utc: bool = False) -> str:
    """The output of a systemctl query; times of day in UTC if ``utc``.

    Repeated for up to 10 s, since a systemd that is being re-executed does not answer. Then raises HostError: no
    answer must never pass for "no".
    """
    deadline = time.monotonic() + _ANSWER_WITHIN
    while True:
        done = systemctl(*arguments, utc=utc)
        if done.ok:
            return done.out
        if time.monotonic() >= deadline:
            return require(*arguments).out
        time.sleep(_PAUSE)


def properties(units: Sequence[str], *names: str, utc: bool = False) -> list[dict[str, str]]:
    """The properties ``names`` of each unit, in the order of ``units``; those that systemd does not show are absent.

    Raises HostError when systemd does not answer.
    """
    return _blocks(ask("show", "-p", ",".join(names), *units, utc=utc), len(units)) if units else []


def properties_if_known(unit: str, *names: str) -> dict[str, str]:
    """The properties ``names`` of a unit; empty when systemd does not answer. Never raises, asks once."""
    return _blocks(systemctl("show", "-p", ",".join(names), unit).out, 1)[0]


def _blocks(shown: str, count: int) -> list[dict[str, str]]:
    """``systemctl show`` prints ``NAME=VALUE`` lines, and an empty line between two units."""
    blocks = [*shown.split("\n\n"), *[""] * count][:count]
    return [dict(line.partition("=")[::2] for line in block.split("\n") if "=" in line) for block in blocks]


@dataclass(frozen=True)
class UnitState:
    """The state of a unit. ``main_pid`` is 0 when nothing runs; ``memory`` is in bytes, 0 when unknown; ``since`` is
    in seconds since 1970, 0 when it is not active.

    ``queued``: a start or a stop is queued or running. ``starts``: it is a start. ``cut_short``: systemd itself ended
    the last start during the set-up of the process.
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
        """It ended at least once without being told to. A unit in a crash loop is ``activating``, not ``failed``."""
        return self.restarts > 0 or self.active == "failed"


def show(unit: str) -> UnitState:
    """The state of ``unit``; one that does not exist is ``inactive``. Raises HostError when systemd does not answer."""
    return show_all([unit])[unit]


def show_all(units: Sequence[str]) -> dict[str, UnitState]:
    """The states of several units at once. Raises HostError when systemd does not answer."""
    states = dict(zip(units, properties(units, *_STATE)))
    queued = [unit for unit, values in states.items() if values.get("Job", "0") not in ("", "0")]
    types = _job_types(queued) if queued else {}
    return {unit: _state(values, types.get(unit, "")) for unit, values in states.items()}


def _job_types(units: Sequence[str]) -> dict[str, str]:
    """The type of each unit's queued job (``start``, ``stop``, …): its properties have only the job's number."""
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


@dataclass(frozen=True)
class UnitEnd:
    """How the main process of a unit ended: systemd's ``Result=``, and an exit status or a signal (None: not so)."""

    result: str
    status: int | None = None
    signal: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the unit came to an end, or was refused; not so for one that never was."""
        return self.result not in ("", "success") or self.status is not None or self.signal is not None

    @property
    def signal_name(self) -> str:
        """``SIGKILL``; empty when no signal ended it."""
        if self.signal is None:
            return ""
        try:
            return Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"


def end_of(unit: str) -> UnitEnd:
    """How the main process of ``unit`` last ended, as far as systemd still knows: it forgets at the next start.

    Never raises: it is asked when something has failed.
    """
    shown = properties_if_known(unit, "Result", "ExecMainCode", "ExecMainStatus")
    code, text = shown.get("ExecMainCode", ""), shown.get("ExecMainStatus", "")
    number = int(text) if text.isascii() and text.isdigit() else None
    return UnitEnd(
        result=shown.get("Result", ""),
        status=number if code == _EXITED else None,
        signal=number if code in (_KILLED, _DUMPED) else None,
    )


def was_stopped(unit: str) -> bool:
    """Whether a unit is down on purpose: it ran since boot and was stopped in good order, or it is not to start at boot
    (``fab stop`` has both)."""
    shown = properties([unit], "ActiveState", "InactiveEnterTimestampMonotonic", "UnitFileState")[0]
    has_run = shown.get("InactiveEnterTimestampMonotonic", "0") not in ("", "0")
    return shown.get("ActiveState") == "inactive" and (has_run or shown.get("UnitFileState") == "disabled")


def is_stopping() -> bool:
    """Whether the host is shutting down. Never raises: a signal handler asks, too."""
    deadline = time.monotonic() + _ANSWER_WITHIN
    while True:
        state = systemctl("is-system-running").out.strip()  # its exit status only tells whether that is "running"
        if state or time.monotonic() >= deadline:
            return state == "stopping"
        time.sleep(_PAUSE)


@functools.cache
def version() -> int:
    """The number of systemd's version, for example 252; 0 when unknown."""
    try:
        argv = ["systemctl", "--version"]  # not through runner.run: it is no step that could fail by itself
        printed = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=runner.ENVIRONMENT).stdout
    except OSError:
        return 0
    name, number, *_ = [*printed.decode("ascii", "replace").split(), "", ""]
    return int(number) if name == "systemd" and re.fullmatch("[0-9]{1,9}", number) else 0


def transient(
    unit: str,
    settings: Sequence[str],
    argv: Sequence[str],
    *,
    wait: bool,
    environment: Mapping[str, str] | None = None,
    collect: bool = True,
) -> list[str]:
    """The command line that runs ``argv`` as the transient unit ``unit`` with the properties ``settings``.

    Anybody on the host can read it: nothing secret may be in it. Nor may ``argv`` hold a ``$`` or a ``;`` (raises
    ValueError): systemd keeps a transient unit as a file, reads that again when it is reloaded or executed again, and
    does not read what it wrote. Of ``$`` 252 made ``\\$`` and 257 ``$$``, of ``;`` 252 made ``\\;`` (measured; all else
    came back as it was).

    With ``wait`` the command ends when the unit has ended, otherwise once it has started and is active. Without
    ``collect`` systemd keeps a unit that has failed.
    """
    if not is_lasting(argv):
        raise ValueError(f"systemd may start something else in place of {argv!r}")
    mode = ["--pipe", "--wait"] if wait else []
    variables = [f"--setenv={name}={value}" for name, value in sorted((environment or {}).items())]
    return [
        "systemd-run", "--quiet", *(["--collect"] if collect else []), f"--unit={unit}", *mode,
        *(part for value in settings for part in ("-p", value)), *variables, "--",
        *argv,
    ]  # fmt: skip


def is_lasting(argv: Sequence[str]) -> bool:
    """Whether a transient unit keeps ``argv`` as it is (see :func:`transient`)."""
    return not any("$" in word or ";" in word for word in argv)

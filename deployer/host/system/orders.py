"""Orders to systemd, repeated until the units' states show that they were carried out.

A systemd that is being re-executed (a package update does that) drops its clients and kills what it was setting up. Its
reply therefore proves nothing; the units' states do. Every order here is idempotent and is repeated for up to 10 s.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.system import systemd
from deployer.host.system.runner import CommandResult
from deployer.host.system.systemd import UnitState, properties, show, show_all, systemctl
from deployer.wire.advice import do

_PATIENCE = 10.0
"""Seconds in which an order that was missed is repeated."""
_PAUSE = 0.25
_RUNNING = ("active", "activating", "reloading", "deactivating")
"""States of a unit that has not ended; in the last one it was told to."""
_NO_SUCH_UNIT = 5
"""systemctl's exit status for a unit that does not exist (the LSB's for a program)."""
HOLLOW = ("active", "exited")
"""ActiveState and SubState of a unit whose process has ended but that still counts as active."""
_TRANSIENT = Path("/run/systemd/transient")


def start(units: Sequence[str], *, wait: bool = True, timeout: float = 90) -> None:
    """Start units. Raises HostError when one fails, or when systemd does not carry it out within some seconds.

    Without ``wait`` they only need to be queued. A start that systemd itself cut short is repeated.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        done = systemctl("start", *_mode(wait), *units, timeout=timeout)
        if done.ok:
            return
        states = show_all(units)
        down = [unit for unit, state in states.items() if not _is_up(state)]
        if not down:
            return
        hopeless = any(_has_failed(states[unit]) and not _may_fail_once(unit, states[unit]) for unit in down)
        if hopeless or done.status in (_NO_SUCH_UNIT, systemd.TIMED_OUT) or time.monotonic() >= deadline:
            raise _refused(f"start {' '.join(units)}", done)
        time.sleep(_PAUSE)
        systemctl("reset-failed", *down)


def _mode(wait: bool) -> list[str]:
    return [] if wait else ["--no-block"]


def _is_up(state: UnitState) -> bool:
    return state.starts or (state.active in _RUNNING[:-1] and not _has_failed(state))


def _has_failed(state: UnitState) -> bool:
    return state.active == "failed" or state.sub.startswith("auto-restart")


def _may_fail_once(unit: str, state: UnitState) -> bool:
    """A socket runs nothing of the app's: a failure is systemd's."""
    return unit.endswith(".socket") or state.cut_short


def _refused(what: str, done: CommandResult) -> HostError:
    return HostError(f"systemctl {what} failed (exit status {done.status})", logs=done.tail())


def stop(units: Sequence[str], *, wait: bool = True, timeout: float = 90) -> list[str]:
    """Stop units; without ``wait`` they only need to be told. Returns those that keep running. Never raises for units
    that are missing or unreadable."""
    deadline = time.monotonic() + _PATIENCE
    running = _RUNNING if wait else _RUNNING[:-1]
    while True:
        done = systemctl("stop", *_mode(wait), *units, timeout=timeout)
        if done.ok:
            return []
        left = [unit for unit, state in show_all(units).items() if state.active in running]
        if not left or done.status == systemd.TIMED_OUT or time.monotonic() >= deadline:
            return left
        time.sleep(_PAUSE)


def ensure_stopped(units: Sequence[str], *, wait: bool = True, timeout: float = 90) -> None:
    """As :func:`stop`. Raises HostError when a unit keeps running."""
    left = stop(units, wait=wait, timeout=timeout)
    if left:
        raise HostError(f"systemd did not stop {', '.join(left)}")


def ensure_started(app: str) -> None:
    """Have ``APP.service`` count as started once something serves, now and at each boot; does nothing if it is starting
    already.

    Waits for the start: a ``systemctl stop`` that overtook it would find nothing to stop.
    """
    if show(f"{app}.service").active not in ("active", "reloading", "activating"):
        if properties([f"{app}.service"], "UnitFileState")[0].get("UnitFileState") == "disabled":  # fab stop
            systemctl("enable", f"{app}.service")
        systemctl("start", f"{app}.service", timeout=60)


def ensure_loaded(units: Sequence[str]) -> None:
    """Have systemd know the units as they are on the disk. Raises HostError.

    It reads a new unit's file when the unit is first named (seen on 247, 252 and 257). A daemon-reload reads all units
    and blocks PID 1 for a third of a second: it is done only where a unit was known before.
    """
    loaded = {"LoadState": "loaded", "NeedDaemonReload": "no"}
    if any(shown != loaded for shown in properties(units, *loaded)):
        reload()


def reload() -> None:
    """Run ``systemctl daemon-reload``. Raises HostError."""
    deadline = time.monotonic() + _PATIENCE
    while not (done := systemctl("daemon-reload")).ok:
        if time.monotonic() >= deadline:
            raise _refused("daemon-reload", done)
        time.sleep(_PAUSE)


def ensure_forgotten(units: Sequence[str]) -> None:
    """Have systemd drop stopped units whose files are gone. Raises HostError.

    One that has failed is kept until it is reset, even when it is known to have no file any more.
    """
    gone = {"LoadState": "not-found", "ActiveState": "inactive"}
    if all(shown == gone for shown in properties(units, *gone)):
        return
    systemctl("reset-failed", *units)
    if any(shown.get("LoadState") != "not-found" for shown in properties(units, "LoadState")):
        systemctl("daemon-reload")


def is_known(unit: str) -> bool:
    """Whether systemd holds the unit, or has a file of it. Raises HostError."""
    return properties([unit], "LoadState")[0].get("LoadState") != "not-found"


def occupant(unit: str) -> Path | None:
    """The file of a unit that is dead, or hollow, but still loaded: no transient unit can take its name. Raises
    HostError."""
    shown = _loaded(unit)
    ended = shown.get("ActiveState") in ("inactive", "failed") or _is_hollow(shown)
    is_dead = shown.get("LoadState") != "not-found" and ended
    return Path(shown["FragmentPath"]) if is_dead and shown.get("FragmentPath") else None


def _loaded(unit: str) -> dict[str, str]:
    return properties([unit], "LoadState", "ActiveState", "SubState", "FragmentPath")[0]


def _is_hollow(shown: Mapping[str, str]) -> bool:
    return (shown.get("ActiveState"), shown.get("SubState")) == HOLLOW


def is_transient(path: Path) -> bool:
    """Whether a unit file was made by systemd for a transient unit."""
    return path.parent == _TRANSIENT


def ensure_free(unit: str) -> None:
    """Free the name of a transient unit that is dead but still loaded: it failed, another unit refers to it, or it
    stays active without a process. Raises HostError naming the file if the unit is not transient.

    Only one process at a time may call it for a name: a second one would stop what the first has started.
    """
    path = occupant(unit)
    if path is None:
        return
    if is_transient(path) and _is_hollow(_loaded(unit)):
        systemctl("stop", unit)
    systemctl("reset-failed", unit)
    path = occupant(unit)
    if path is None:
        return
    if not is_transient(path):
        raise HostError(
            f"{path} has the name under which deployer runs its own unit",
            state="nothing was touched",
            next=do(f"on the host, as root: rm {path}; systemctl daemon-reload"),
        )
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    reload()

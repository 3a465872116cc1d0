"""The units of an app as systemd shows them: processes, timers, and jobs that older releases still finish."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from deployer.host.processes import background
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import unit_name
from deployer.host.state.releases import Release
from deployer.host.system import proc, systemd, timers
from deployer.wire.protocol import WEB

_UP = ("active", "reloading")
_ENTERED = ("ActiveExitTimestampMonotonic", "InactiveExitTimestampMonotonic")


def of_processes(ctx: Context, release: Release) -> list[dict[str, Any]]:
    """Each instance of each process of a release. Sizes in bytes, times in seconds since 1970.

    A queued start counts as up: without overlap a process waits for the end of the one before it, after ``systemctl
    restart`` for its own. While the whole app is to be started, so is each process.
    """
    kinds = {WEB: WEB} if release.spec.web is not None else {}
    kinds.update({one: process.name for process in release.spec.processes for one in process.instances()})
    names = {unit_name(ctx.app, one, release.number, "service"): kind for one, kind in kinds.items()}
    handle = f"{ctx.app}.service"
    states = systemd.show_all([*names, handle])
    stopped = maintenance.workers_stopped(ctx.paths)
    return [
        _unit(kind, name, states[name], states[handle].starts, stopped=stopped and kind != WEB)
        for name, kind in names.items()
    ]


def _unit(process: str, name: str, state: systemd.UnitState, restarts: bool, *, stopped: bool) -> dict[str, Any]:
    """``stopped``: by maintenance, and so as it should be."""
    waits = state.active not in _UP and (state.starts or restarts)
    return {
        "process": process,
        "name": name,
        "active": state.active,
        "sub": "queued" if waits else "stopped" if stopped and state.active == "inactive" else state.sub,
        "pid": state.main_pid,
        "restarts": state.restarts,
        "memory": proc.resident(state.main_pid),
        "since": state.since,
        "ok": state.active in _UP or waits or stopped,
    }


def of_timers(ctx: Context, release: Release) -> list[dict[str, Any]]:
    """Each timer of a release. ``result`` is empty while it runs, and when the end of the last run is unknown."""
    stopped = maintenance.workers_stopped(ctx.paths)
    return [_timer(ctx, release.number, timer.name, stopped=stopped) for timer in release.spec.timers]


def _timer(ctx: Context, number: int, process: str, *, stopped: bool) -> dict[str, Any]:
    name = unit_name(ctx.app, process, number, "timer")
    state = timers.show(name)
    return {
        "process": process,
        "name": name,
        "ok": (state.active in _UP or stopped) and state.result in ("", "success"),
        "next": state.next,
        "last": state.last,
        "running": state.running,
        "result": state.result,
    }


def lingering(ctx: Context, current: int) -> list[dict[str, Any]]:
    """What releases other than ``current`` still finish: processes that were told to stop, and runs of timers."""
    names = {name: unit for name, unit in background.finishing(ctx).items() if unit.number != current}
    if not names:
        return []
    shown = systemd.properties(list(names), *_ENTERED)
    return [
        {"process": unit.process.partition(".")[0], "release": f"v{unit.number}", "name": name, "since": _since(values)}
        for (name, unit), values in zip(names.items(), shown)
    ]


def _since(values: Mapping[str, str]) -> float:
    """When it was told to stop; of a timer's run, which is never ``active``, when that began."""
    entered = (values.get(name, "") for name in _ENTERED)
    moment = next((int(value) for value in entered if value.isdigit() and int(value)), 0)
    return time.time() - time.monotonic() + moment / 1e6 if moment else 0.0

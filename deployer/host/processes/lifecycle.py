"""What ``fab stop``, ``fab start`` and ``fab restart --process`` do to the release that serves; none makes a release.

systemd carries it out, so it goes on when the laptop vanishes. Nothing of this holds the app's lock: a deploy that
begins meanwhile decides what runs, and ``try-restart`` starts nothing that a deploy has told to stop.
"""

from __future__ import annotations

import time

from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.processes.web import candidate_of
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import parse_unit, stop_unit
from deployer.host.state.releases import Release
from deployer.host.system import journald, systemd
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import WEB, Exit

_STOP = 150.0
"""Seconds that systemd has to stop an app: its unit's TimeoutStopSec= is 120."""
_START = 90.0
"""Seconds that a start may take beyond the time the health check allows."""
_POLL = 0.1
_UP = ("active", "activating", "reloading")


@dataclass(frozen=True)
class Stopped:
    """``was_up``: it ran before. ``finishing`` are processes that still finish their last jobs."""

    was_up: bool
    finishing: tuple[str, ...]


@dataclass(frozen=True)
class Restarted:
    """``waiting`` are instances that have not ended their last jobs yet: they start anew when they have."""

    units: tuple[str, ...]
    waiting: tuple[str, ...]


def stop(ctx: Context) -> Stopped:
    """Stop all of the app, and keep it stopped across reboots, until a start or a deploy. Requests that were accepted
    are answered first. Raises HostError."""
    ctx.catalog.require_serving()
    unit = f"{ctx.app}.service"
    was_up = systemd.show(unit).active in _UP
    done = systemd.systemctl("disable", "--now", unit, timeout=_STOP)
    systemd.systemctl("stop", stop_unit(ctx.app), timeout=_STOP)  # waits for it: it ends last
    if not done.ok:
        raise HostError(
            f"{unit} was not stopped in order (exit status {done.status})",
            exit=Exit.MIXED,
            next=run("fab status", "shows what still runs"),
            logs=done.tail(),
        )
    return Stopped(was_up, tuple(sorted({one.process for one in background.finishing(ctx).values()})))


def start(ctx: Context) -> str:
    """Start the release that is current, now and at each boot; what its health check said. Raises HostError."""
    release = ctx.catalog.require_serving()
    unit = f"{ctx.app}.service"
    done = systemd.systemctl("enable", "--now", unit, timeout=release.spec.health.timeout + _START)
    if not done.ok:
        logs = journald.own_lines(unit, 20) or done.tail()
        raise HostError(f"{release.name} does not start", exit=Exit.MIXED, next=run("fab logs"), logs=logs)
    if release.spec.web is None:
        return ""
    try:
        candidate_of(ctx, release).become_healthy()
    except HostError as error:
        raise HostError(
            f"{release.name} was started, and is not healthy: {error.message}",
            exit=Exit.MIXED,
            state=f"{release.name} is started",
            next=error.next or run("fab logs"),
            logs=error.logs,
        ) from None
    return "healthy"


def restart_process(ctx: Context, process: str) -> Restarted:
    """Have each instance of a background process finish its job and start anew; waits for that as long as its ``stop``
    allows, and 30 s. Raises HostError."""
    release = ctx.catalog.require_serving()
    names = _instances(ctx, release, process)
    if maintenance.workers_stopped(ctx.paths):
        raise _usage(f"{process} is stopped for maintenance, until that is over", "fab maintenance off")
    before = {name: values.get("InvocationID", "") for name, values in _shown(names).items()}
    _restart(names)
    limit = max(one.stop for one in release.spec.processes if one.name == process) + 30
    ctx.emit("note", text=f"{', '.join(map(_instance, names))}: finishes the job in hand, then starts anew")
    deadline = time.monotonic() + limit
    while waiting := _not_anew(names, before):
        if time.monotonic() >= deadline or ctx.catalog.current() != release.number:
            break
        time.sleep(_POLL)
    else:
        background.refuse_if_broken(ctx, release.number)
    return Restarted(tuple(map(_instance, names)), tuple(map(_instance, waiting)))


def _restart(names: list[str]) -> None:
    states = systemd.show_all(names)
    down = [name for name in names if states[name].active in ("inactive", "failed")]
    if down:  # it crashed, or somebody has stopped it
        systemd.systemctl("reset-failed", *down)
        systemd.require("start", "--no-block", *down)
    up = [name for name in names if name not in down]
    if up:
        systemd.require("try-restart", "--no-block", *up)


def _shown(names: list[str]) -> dict[str, dict[str, str]]:
    return dict(zip(names, systemd.properties(names, "ActiveState", "SubState", "InvocationID")))


def _not_anew(names: list[str], before: dict[str, str]) -> list[str]:
    """The units that have not begun anew. One that has, and ended again by itself, is no reason to wait."""
    return [name for name, values in _shown(names).items() if not _is_anew(values, before[name])]


def _is_anew(values: dict[str, str], before: str) -> bool:
    ended = values.get("ActiveState") == "failed" or values.get("SubState", "").startswith("auto-restart")
    return values.get("InvocationID", "") not in ("", before) and (ended or values.get("ActiveState") == "active")


def _instances(ctx: Context, release: Release, process: str) -> list[str]:
    units = background.units_of(ctx, release.number)
    found = [name for name in units.processes if _instance(name, ctx).partition(".")[0] == process]
    if found:
        return found
    known = sorted({one.name for one in release.spec.processes})
    if process in {one.name for one in release.spec.timers}:
        raise _usage(f"{process} is a timer: it has runs, and nothing to restart", f"fab timer.run {process}")
    if process == WEB:
        raise _usage("web changes hands with its whole release, without a lost request", "fab restart")
    has = f"there are: {', '.join(known)}" if known else "it has none but web"
    raise _usage(f"{release.name} of {ctx.app} runs no process {process!r} here; {has}", "fab status")


def _usage(message: str, command: str) -> HostError:
    return HostError(message, exit=Exit.USAGE, state="nothing was touched", next=run(command))


def _instance(name: str, ctx: Context | None = None) -> str:
    """``worker.2`` of ``shop-worker.2@v42.service``: no name of a process has a dash."""
    unit = parse_unit(ctx.app, name) if ctx is not None else None
    return unit.process if unit else name.partition("@")[0].rpartition("-")[2]

"""Maintenance begins and ends: the page is proven first, then one rename; processes stop and start behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.maintenance import units
from deployer.host.processes import background
from deployer.host.proxy.proof.listener import read
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.operator.maintenance import Maintenance
from deployer.host.state.releases import ROLLING_BACK, Release
from deployer.host.system import files, systemd
from deployer.host.units import install
from deployer.wire.advice import do, run
from deployer.wire.maintenance import MaintenanceRequest
from deployer.wire.protocol import Exit

_PATIENCE = 15.0
"""Seconds in which the page must be served."""
_PAUSE = 0.1
_RESERVE = 10.0
"""Seconds that processes may take to stop beyond the time that they have for it."""


def report(ctx: Context) -> dict[str, Any] | None:
    """What ``fab status`` tells of it; None when it is off. ``up``: the page is served."""
    found = maintenance.find(ctx.paths)
    if found is None:
        return None
    request = found.request
    return {
        "since": found.since,
        "by": found.by,
        "allow": list(request.allow),
        "retry_after": request.retry_after,
        "workers_stopped": request.stop_workers,
        "own_page": bool(request.page),
        "up": units.is_up(ctx),
    }


def begin(ctx: Context, request: MaintenanceRequest, by: str) -> dict[str, Any]:
    """Have visitors get the page, or change its terms. Returns what came of it.

    Raises HostError when nothing is deployed, or when the page does not come up: then visitors still get what they got
    before. Processes that were stopped stay so until :func:`end`.
    """
    number = ctx.catalog.current()
    if not number:
        raise HostError(
            "nothing is deployed here yet: there is nothing to keep visitors from",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab deploy"),
        )
    before = maintenance.find(ctx.paths)
    stops = request.stop_workers or (before is not None and before.request.stop_workers)
    request = MaintenanceRequest(request.page, request.allow, request.retry_after, stops)
    now = Maintenance(request, before.since if before and before.since else ctx.clock(), by)
    _serve(ctx, now, before)
    number = ctx.catalog.set_maintenance(on=True)
    finishing = _stop_workers(ctx, number) if stops else []
    return {
        "release": f"v{number}",
        "web": _has_web(ctx, number),
        "changed": before is not None,
        "finishing": finishing,
    }


def _serve(ctx: Context, now: Maintenance, before: Maintenance | None) -> None:
    """Write down the terms, and see that the page is served. Raises HostError, and leaves all as it was before."""
    try:
        files.write_json(ctx.paths.maintenance, now.as_json(), 0o644)
        units.provide(ctx)
        _prove(ctx)
    except (HostError, OSError) as error:
        with contextlib.suppress(HostError, OSError):
            if before is not None:
                files.write_json(ctx.paths.maintenance, before.as_json(), 0o644)
            else:
                units.remove(ctx)
                _forget(ctx)
        state = (
            "visitors still get the page of before" if before else "the app is not in maintenance; visitors reach it"
        )
        if isinstance(error, HostError):
            raise HostError(
                f"the maintenance page is not served: {error.message}",
                exit=error.exit,
                state=state,
                next=error.next or run("fab doctor"),
                logs=error.logs,
            ) from None
        raise HostError(f"the maintenance page is not served: {error}", state=state, next=run("fab doctor")) from None


def _prove(ctx: Context) -> None:
    """Ask for the page as the proxy does. Raises HostError when it does not come."""
    deadline, seen = time.monotonic() + _PATIENCE, b""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(str(ctx.paths.maintenance_socket))
            connection.sendall(b"HEAD / HTTP/1.1\r\nHost: deployer\r\nConnection: close\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            seen = read(connection, b"", 5.0)
            if seen.startswith(b"HTTP/1.1 503 "):
                return
        time.sleep(_PAUSE)
    answer = seen.partition(b"\r\n")[0].decode("latin-1")
    raise HostError(
        f"its socket answers {answer!r}" if answer else "nothing answers at its socket",
        next=do(f"on the host, as root: journalctl -u {units.names(ctx.app)[0]} -n 20   (says why)"),
    )


def end(ctx: Context) -> dict[str, Any]:
    """Have visitors reach the app again, and what was stopped run. Idempotent. Returns what came of it.

    Raises HostError when a process cannot be started, or the page's units cannot be removed: visitors reach the app.
    """
    before = maintenance.find(ctx.paths)
    number = ctx.catalog.set_maintenance(on=False)
    if number and not systemd.was_stopped(f"{ctx.app}.service") and not _is_rolling_back(ctx, number):
        background.hand_over(ctx)
    units.remove(ctx)
    _forget(ctx)
    started = before is not None and before.request.stop_workers
    since = before.since if before else 0.0
    return {"release": f"v{number}" if number else "", "was_on": before is not None, "since": since, "started": started}


def ensure(ctx: Context) -> None:
    """At boot: what is written on the disk is what visitors get. Raises HostError, OSError."""
    if maintenance.is_on(ctx.paths):
        units.provide(ctx)


def _forget(ctx: Context) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(str(ctx.paths.maintenance))
    files.sync_directory(ctx.paths.home)


def _stop_workers(ctx: Context, number: int) -> list[str]:
    """Stop processes and timers, each with the time it has to finish what is in hand. Returns what takes longer. A
    timer's run is never cut short."""
    background.hand_over(ctx)
    deadline = time.monotonic() + _longest_stop(ctx, number) + _RESERVE
    while (left := background.still_running(ctx, number)) and time.monotonic() < deadline:
        if set(left) <= set(background.units_of(ctx, number).runs):
            break
        time.sleep(_PAUSE)
    return left


def _longest_stop(ctx: Context, number: int) -> float:
    release = _record(ctx, number)
    return install.longest_stop(release) if release else 30.0


def _record(ctx: Context, number: int) -> Release | None:
    with contextlib.suppress(Damaged):
        return ctx.catalog.find(number)
    return None


def _has_web(ctx: Context, number: int) -> bool:
    release = _record(ctx, number)
    return release is None or release.spec.web is not None


def _is_rolling_back(ctx: Context, number: int) -> bool:
    """Then it must take no job: the release before it will."""
    release = _record(ctx, number)
    return release is not None and release.result == ROLLING_BACK

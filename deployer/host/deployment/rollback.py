"""The rollback: after a failure behind the switch the standby serves again, and no waiting request is lost."""

from __future__ import annotations

import contextlib

from deployer.host.deployment import handover
from deployer.host.deployment.failures import Failures
from deployer.host.errors import HostError
from deployer.host.processes import background
from deployer.host.processes.web import candidate_of
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import files, orders, systemd
from deployer.host.units import install

_STUCK = 2.0
"""Seconds after which the standby's code answers the queue of a failed release."""


def roll_back(ctx: Context, failed: Release, standby: Release | None) -> str:
    """Have the standby serve again after a failure behind the switch. Returns what serves, for people.

    The standby is started and checked before the rename, like any candidate; its socket has been listening all along.
    Only requests inside the failed process are lost: the standby's code answers what waits in the failed release's
    socket. Every step can be repeated after an interruption.
    """
    failures = Failures(ctx)
    if standby is None:
        _remove_first(ctx, failed, failures)
    else:
        _switch_back(ctx, failed, standby, failures)
    failures.raise_first()
    return standby.name if standby is not None else ""


def _remove_first(ctx: Context, failed: Release, failures: Failures) -> None:
    with failures.kept(f"removing {ctx.paths.current}"), contextlib.suppress(FileNotFoundError):
        ctx.paths.current.unlink()
        files.sync_directory(ctx.paths.current.parent)
    with failures.kept(f"stopping {failed.name}"):
        background.stop_later(ctx, failed.number)
    with failures.kept(f"removing {failed.name}"):
        _remove(ctx, failed)


def _switch_back(ctx: Context, failed: Release, standby: Release, failures: Failures) -> None:
    """Every step is tried even when earlier ones failed: what counts is that the link names the standby."""
    with failures.kept(f"writing the units of {standby.name}"):
        install.ensure_units(ctx, standby)
    if not install.has_units(ctx, standby):
        return  # it cannot be started: the link stays for now
    if standby.spec.web is not None:
        with failures.kept(f"giving the requests that wait for {failed.name} to {standby.name}"):
            _replace_code(ctx, failed, standby)
        with failures.kept(f"starting {standby.name}"):
            _start(ctx, standby)
    with failures.kept(f"switching to {standby.name}"):
        ctx.catalog.point(standby.number)
        ctx.emit("switched", to=standby.name, previous=failed.name)
    if ctx.catalog.current() != standby.number:
        return  # the switch failed: the release still serves, and must not be stopped
    with failures.kept(f"starting the processes and timers of {standby.name}"):
        background.hand_over(ctx)
    with failures.kept(f"removing {failed.name}"):
        drain_and_remove(ctx, failed)


def _start(ctx: Context, standby: Release) -> None:
    """Start the standby's web process at its own socket. A failure is no reason to stay with the failed release."""
    candidate = candidate_of(ctx, standby)
    with contextlib.suppress(HostError):
        orders.start([candidate.socket])
    with contextlib.suppress(HostError):
        candidate.boot()


def drain_and_remove(ctx: Context, failed: Release) -> None:
    """Have all requests answered that wait in the socket of a release without traffic, then remove its units."""
    if (ctx.paths.units / candidate_of(ctx, failed).service).exists():
        _finish_queue(ctx, failed)
    _remove(ctx, failed)


def _remove(ctx: Context, failed: Release) -> None:
    """Remove its units. Those that still finish a job are waited for as long as requests would be, then left running;
    a recovery removes them once they have finished."""
    background.wait_for_end(ctx, failed.number, failed.spec.drain)
    handover.remove_but_finishing(ctx, failed)


def _replace_code(ctx: Context, failed: Release, standby: Release) -> None:
    """Have the failed release's unit run the standby's code from its next start on (after a crash: within a second)."""
    if failed.spec.web is None:
        return
    text = install.service_text(ctx, standby, behind=failed.number)
    with contextlib.suppress(OSError):
        files.write_file(ctx.paths.units / candidate_of(ctx, failed).service, text.encode(), 0o644)
    try:
        orders.reload()
    except HostError as error:  # waiting requests get the failed release's answers; the rollback needs no reload
        ctx.emit("warn", text=f"requests that wait for {failed.name} are not given to {standby.name}: {error}")


def _finish_queue(ctx: Context, failed: Release) -> None:
    """Have all requests answered that wait in the failed release's socket; no new ones arrive there."""
    if handover.wait_for_queue(ctx, failed, _STUCK):
        return
    systemd.systemctl("restart", candidate_of(ctx, failed).service, timeout=failed.spec.drain + 90)
    handover.wait_for_queue(ctx, failed, failed.spec.drain)

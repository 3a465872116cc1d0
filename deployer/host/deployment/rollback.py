"""The way back: after a failure behind the switch the standby serves again, and no request that waits is lost."""

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
"""Seconds after which the queue of a failed release is taken from it."""


def resume(ctx: Context, failed: Release, standby: Release | None) -> str:
    """After a failure behind the switch: the standby serves again. Returns what serves, for people.

    The standby is started and asked before the rename, like any candidate; its socket has been listening all along.
    No request is lost but those that were inside the failed process: from the first moment on, the standby's code
    answers what waits in the failed release's socket. Every step can be repeated: whoever was cut short begins again.
    """
    failures = Failures(ctx)
    if standby is None:
        _leave_nothing(ctx, failed, failures)
    else:
        _go_back(ctx, failed, standby, failures)
    failures.raise_first()
    return standby.name if standby is not None else ""


def _leave_nothing(ctx: Context, failed: Release, failures: Failures) -> None:
    with failures.kept(f"removing {ctx.paths.current}"), contextlib.suppress(FileNotFoundError):
        ctx.paths.current.unlink()
        files.sync_directory(ctx.paths.current.parent)
    with failures.kept(f"stopping {failed.name}"):
        background.stop_later(ctx, failed.number)
    with failures.kept(f"removing {failed.name}"):
        _remove(ctx, failed)


def _go_back(ctx: Context, failed: Release, standby: Release, failures: Failures) -> None:
    """Each step is taken whatever became of those before it: what counts is that the link leads to the standby."""
    with failures.kept(f"writing the units of {standby.name}"):
        install.ensure_units(ctx, standby)
    if not install.has_units(ctx, standby):
        return  # nobody could start it: the link stays where it is until somebody can
    if standby.spec.web is not None:
        with failures.kept(f"giving the requests that wait for {failed.name} to {standby.name}"):
            _replace_code(ctx, failed, standby)
        with failures.kept(f"starting {standby.name}"):
            _wake(ctx, standby)
    with failures.kept(f"switching to {standby.name}"):
        files.point(ctx.paths.current, f"releases/{standby.name}")
        ctx.emit("switched", to=standby.name, previous=failed.name)
    if ctx.catalog.current() != standby.number:
        return  # what serves is not stopped
    with failures.kept(f"starting the processes and timers of {standby.name}"):
        background.hand_over(ctx)
    with failures.kept(f"removing {failed.name}"):
        clear(ctx, failed)


def _wake(ctx: Context, standby: Release) -> None:
    """Have the standby's web process answer at its own socket."""
    candidate = candidate_of(ctx, standby)
    with contextlib.suppress(HostError):
        orders.start([candidate.socket])
    with contextlib.suppress(HostError):
        candidate.boot()


def clear(ctx: Context, failed: Release) -> None:
    """Have all answered that waits in the socket of a release which nothing new reaches any more; take it away."""
    if (ctx.paths.units / candidate_of(ctx, failed).service).exists():
        _finish_queue(ctx, failed)
    _remove(ctx, failed)


def _remove(ctx: Context, failed: Release) -> None:
    """Take its units away, but for those that still finish a job: as on the way forwards, they are waited for as long
    as requests would be, then left alone. Whoever looks for what has finished takes the rest away."""
    background.wait_for_end(ctx, failed.number, failed.spec.drain)
    handover.remove_but_finishing(ctx, failed)


def _replace_code(ctx: Context, failed: Release, standby: Release) -> None:
    """From its next start on (after a crash: within a second) the failed release's unit runs the standby's code."""
    if failed.spec.web is None:
        return
    text = install.service_text(ctx, standby, behind=failed.number)
    with contextlib.suppress(OSError):
        files.write_file(ctx.paths.units / candidate_of(ctx, failed).service, text.encode(), 0o644)
    try:
        orders.reload()
    except HostError as error:  # those that wait get the failed release's answers; the way back needs no reload
        ctx.emit("warn", text=f"requests that wait for {failed.name} are not given to {standby.name}: {error}")


def _finish_queue(ctx: Context, failed: Release) -> None:
    """Have all answered that waits in the failed release's socket, which nothing new reaches any more."""
    if handover.wait_for_queue(ctx, failed, _STUCK):
        return
    systemd.systemctl("restart", candidate_of(ctx, failed).service, timeout=failed.spec.drain + 90)
    handover.wait_for_queue(ctx, failed, failed.spec.drain)

"""The way back: after a failure behind the switch the standby serves again, and no request that waits is lost."""

from __future__ import annotations

import contextlib

from deployer.host import background, files, handover, instance, systemd
from deployer.host.candidate import candidate_of
from deployer.host.catalog import Release
from deployer.host.context import Context
from deployer.host.errors import HostError

_STUCK = 2.0
"""Seconds after which the queue of a failed release is taken from it."""


def resume(ctx: Context, failed: Release, standby: Release | None) -> str:
    """After a failure behind the switch: the standby serves again. Returns what serves, for people.

    The standby is started and asked before the rename, like any candidate; its socket has been listening all along.
    No request is lost but those that were inside the failed process: from the first moment on, the standby's code
    answers what waits in the failed release's socket. Every step can be repeated: whoever was cut short begins again.
    """
    if standby is None:
        with contextlib.suppress(FileNotFoundError):
            ctx.paths.current.unlink()
            files.sync_directory(ctx.paths.current.parent)
        instance.remove_units(ctx, failed)
        return ""
    instance.ensure_units(ctx, standby)
    if standby.spec.web is not None:
        _wake(ctx, failed, standby)
    files.point(ctx.paths.current, f"releases/{standby.name}")
    ctx.emit("switched", to=standby.name, previous=failed.name)
    background.hand_over(ctx)
    clear(ctx, failed)
    return standby.name


def _wake(ctx: Context, failed: Release, standby: Release) -> None:
    """Have the standby's web process answer, at its own socket and at the failed release's."""
    if failed.spec.web is not None:
        _replace_code(ctx, failed, standby)
    candidate = candidate_of(ctx, standby)
    systemd.systemctl("start", candidate.socket)
    with contextlib.suppress(HostError):
        candidate.boot()


def clear(ctx: Context, failed: Release) -> None:
    """Have all answered that waits in the socket of a release which nothing new reaches any more; take it away."""
    if (ctx.paths.units / candidate_of(ctx, failed).service).exists():
        _finish_queue(ctx, failed)
    instance.remove_units(ctx, failed)


def _replace_code(ctx: Context, failed: Release, standby: Release) -> None:
    """From its next start on (after a crash: within a second) the failed release's unit runs the standby's code."""
    text = instance.service_text(ctx, standby, behind=failed.number)
    with contextlib.suppress(OSError):
        files.write_file(ctx.paths.units / candidate_of(ctx, failed).service, text.encode(), 0o644)
    systemd.systemctl("daemon-reload")


def _finish_queue(ctx: Context, failed: Release) -> None:
    """Have all answered that waits in the failed release's socket, which nothing new reaches any more."""
    if handover.wait_for_queue(ctx, failed, _STUCK):
        return
    systemd.systemctl("restart", candidate_of(ctx, failed).service, timeout=failed.spec.drain + 90)
    handover.wait_for_queue(ctx, failed, failed.spec.drain)

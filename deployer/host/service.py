"""What systemd runs for an app: start, stop and reload of ``shop.service``, and the recovery timer's ``recover``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from deployer.host.deployment import handover, visitors
from deployer.host.deployment.failures import Failures
from deployer.host.deployment.request import Request
from deployer.host.errors import Damaged, HostError
from deployer.host.job import events, lock
from deployer.host.maintenance import switch
from deployer.host.processes import background, commands
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import survey
from deployer.host.state import cleanup, jobs, lease, masking, seal
from deployer.host.state.app import Context
from deployer.host.state.operator.environment import sources_of
from deployer.host.state.paths import job_unit, parse_unit, stop_unit, unit_name
from deployer.host.state.releases import ROLLING_BACK, Release
from deployer.host.system import orders, systemd
from deployer.host.units import install
from deployer.wire.protocol import PHASES, WEB, Exit

_PATIENCE = 35.0
"""Seconds that a stop of the app waits for a deploy to end, then for requests, then for jobs: together less than the
120 that its unit has. What takes longer has been told to stop, and systemd ends it."""


def start(ctx: Context) -> Exit:
    """Start what ``current`` names: at boot, after a crash, or at any other time.

    The rest of a recovery is done by a job, as it needs the lock and may take long.
    """
    failures = Failures(ctx)
    for problem in visitors.show_media(ctx):  # the app serves all the same
        print(f"visitors get no media: {problem}", file=sys.stderr)
    with failures.kept("serving the maintenance page"):
        switch.ensure(ctx)
    with failures.kept(f"starting {ctx.app}"):
        name = ctx.catalog.serving_name()
        if name:
            _run(ctx, ctx.catalog.current())
        print(f"{name} serves" if name else f"nothing of {ctx.app} is deployed yet")
    with failures.kept("looking for interrupted deploys"):
        _recover_rest(ctx)
    with Failures(ctx).kept("removing old releases"):  # a power cut may have ended that; the app serves all the same
        cleanup.start(ctx, set(cleanup.waiting(ctx)))
    failures.raise_first()
    return Exit.OK


def _recover_rest(ctx: Context) -> None:
    if lock.running(ctx) is None and _is_recovery_needed(ctx):
        print("a deploy was interrupted: recovering")
        with Failures(ctx).kept("starting the recovery timer"):
            lease.start_watchdog(ctx.paths)
        _submit_recovery(ctx)


def _is_recovery_needed(ctx: Context) -> bool:
    """True also when that cannot be read: a recovery that finds nothing does no harm."""
    with Failures(ctx).kept("looking for interrupted deploys"):
        return survey.is_needed(ctx)
    return True


def _submit_recovery(ctx: Context) -> None:
    """A deploy that begins at this moment recovers itself; any other failure is tried again in half a minute."""
    with Failures(ctx).kept("starting the recovery"), contextlib.suppress(HostError):
        lock.submit_recovery(ctx)


def _run(ctx: Context, number: int) -> None:
    """Start a release's units, also when its record cannot be read. When an unfinished one does not start, the recovery
    rolls it back."""
    release, failures = None, Failures(ctx)
    with failures.kept(f"writing the units of v{number}"), contextlib.suppress(Damaged):
        release = ctx.catalog.get(number)
        install.ensure_units(ctx, release)
    with failures.kept(f"starting the web process of v{number}"):
        _run_web(ctx, number, release)
    if release is None or release.result != ROLLING_BACK:  # being rolled back: it must take no job before that
        with failures.kept(f"starting the processes and timers of v{number}"):
            background.start(ctx)
    failures.raise_first()


def _run_web(ctx: Context, number: int, release: Release | None) -> None:
    socket, service = (unit_name(ctx.app, WEB, number, kind) for kind in ("socket", "service"))
    if not (ctx.paths.units / socket).exists():
        return
    orders.start([socket])
    if release is None or release.unfinished:
        with contextlib.suppress(HostError):
            orders.start([service], wait=False)
    else:
        orders.start([service], timeout=release.spec.health.timeout + 60)


def recover(ctx: Context) -> Exit:
    """What the recovery timer runs: start a recovery when one is needed; stop the timer when none can become needed."""
    if lock.running(ctx) is not None:
        return Exit.OK
    if _is_recovery_needed(ctx):
        _submit_recovery(ctx)
    elif not _is_unfinished(ctx):
        lease.stop_watchdog(ctx.paths, lambda: lock.running(ctx) is not None or _is_unfinished(ctx))
    return Exit.OK


def _is_unfinished(ctx: Context) -> bool:
    """Whether a release is unfinished, or an older one still finishes a job."""
    old = background.finishing_numbers(ctx) - {ctx.catalog.current()}
    return bool(old) or any(release.unfinished for release in ctx.catalog.all())


def stop(ctx: Context) -> Exit:
    """Stop all of the app, a running deploy included. For a restart the socket stays: requests wait in it.

    Background processes get their time to finish their jobs, from systemd, even after this program has ended.
    """
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.serving()
    drain = release.spec.drain if release else 0.0
    if release is not None and _is_restart(ctx.app):
        units = background.units_of(ctx, release.number)
        _stop(units.lasting, wait=False)
        _stop([candidate_of(ctx, release).service] if release.spec.web is not None else [], timeout=drain + 30)
        return Exit.OK
    systemd.systemctl("stop", job_unit(ctx.app), timeout=_PATIENCE)
    names = _running(ctx)
    web = [name for name in names if name.startswith(f"{ctx.app}-{WEB}@")]
    others = [name for name in names if name not in web]
    _stop(others, wait=False)
    if release is not None and release.spec.web is not None:
        handover.wait_for_queue(ctx, release, min(5.0, drain))
    _stop(web, timeout=_PATIENCE)
    _stop(others, timeout=_PATIENCE)
    return Exit.OK


def _stop(names: Sequence[str], *, wait: bool = True, timeout: float = 30) -> None:
    if names:
        orders.stop(names, wait=wait, timeout=timeout)


def _running(ctx: Context) -> list[str]:
    """All units of the app's releases that systemd knows, in the order to stop them."""
    shown = systemd.ask("list-units", "--plain", "--no-legend", f"{ctx.app}-*@v*")
    names = [line.split()[0] for line in shown.splitlines() if line.split()]
    return install.stop_order(name for name in names if parse_unit(ctx.app, name))


def _is_restart(app: str) -> bool:
    """Whether a restart is under way. ``systemctl restart`` restarts both units: when the second is stopped, the job of
    the first is already "start"."""
    units = (f"{app}.service", stop_unit(app))
    queued = systemd.ask("list-jobs", "--no-legend", "--plain", *units)
    return any(line.split()[1:3] in [[unit, "restart"] for unit in units] for line in queued.splitlines())


def reload(ctx: Context) -> Exit:
    """``systemctl reload``: a new release that reuses all parts of the one that serves."""
    current = ctx.catalog.require_serving()
    directory = lock.submit(ctx, _reload_request(ctx, current))
    exit = Exit.BUG
    for event in events.follow(ctx, directory):
        with contextlib.suppress(KeyError):
            if event["event"] == "phase.done":
                print(f"{event['phase']}: {event['detail']}")
            elif event["event"] == "failed":
                print(*event["logs"], f"{event['message']}. {event['state']}", sep="\n", file=sys.stderr)
            elif event["event"] == "finished":
                exit = Exit(event["exit"])
    jobs.remove_old(ctx.paths.jobs)
    return exit


def _reload_request(ctx: Context, current: Release) -> Request:
    seal.refuse_changed_environment(ctx, current)
    return Request(
        kind="reload",
        by="systemctl reload",
        phases=PHASES,
        of=current.number,
        release=0,
        spec=current.spec,
        environment=commands.read_environment(ctx, current),
        secret=masking.stored_names(ctx.paths, current.number),
        delta=None,
        yes=False,
        no_migrate=True,
        sources=sources_of(ctx.paths, current.number),
        inherits=True,
    )

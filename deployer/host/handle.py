"""What systemd runs for an app: start, stop and reload of ``shop.service``; the look of the dead-man's switch."""

from __future__ import annotations

import contextlib
import sys

from deployer.host import handover, jobs, lease, lock, masking, survey, systemd
from deployer.host.catalog import Release
from deployer.host.context import Context
from deployer.host.errors import HostError
from deployer.host.paths import job_unit
from deployer.host.protocol import PHASES, Exit
from deployer.host.request import Request


def start(ctx: Context) -> Exit:
    """Start what ``current`` names. Level-triggered: right at boot, after a crash, and at any time.

    What else is to be put right after a deploy that never ended is a job's work: it holds the lock, and may take long.
    """
    try:
        release = ctx.catalog.serving()
        if release is not None:
            _run(ctx, release)
        print(f"{release.name} serves" if release else f"nothing of {ctx.app} is deployed yet")
    finally:
        _see_to_the_rest(ctx)
    return Exit.OK


def _see_to_the_rest(ctx: Context) -> None:
    if lock.running(ctx) is None and survey.is_needed(ctx):
        print("a deploy never ended: putting that right")
        lease.arm(ctx.app)
        with contextlib.suppress(HostError, OSError):  # a deploy that begins this moment sees to it itself
            lock.submit_recovery(ctx)


def _run(ctx: Context, release: Release) -> None:
    """One that was never judged may be unable to start: the recovery takes it back then."""
    handover.ensure_units(ctx, release)
    candidate = handover.candidate_of(ctx, release)
    systemd.require("start", candidate.socket)
    if release.unfinished:
        systemd.systemctl("start", "--no-block", candidate.service)
    else:
        systemd.require("start", candidate.service, timeout=release.spec.health.timeout + 60)


def recover(ctx: Context) -> Exit:
    """What the dead-man's switch runs: see that whatever no job finishes is finished; when nothing is, stop it."""
    if lock.running(ctx) is not None:
        return Exit.OK
    if survey.is_needed(ctx):
        with contextlib.suppress(HostError, OSError):
            lock.submit_recovery(ctx)
    elif not any(release.unfinished for release in ctx.catalog.all()):
        lease.disarm(ctx.app)
    return Exit.OK


def stop(ctx: Context) -> Exit:
    """Stop all of the app, a deploy under way included. For a restart the socket stays: requests wait in it."""
    number = ctx.catalog.current()
    release = ctx.catalog.find(number) if number else None
    drain = release.spec.drain if release else 0.0
    if release is not None and _is_restart(f"{ctx.app}.service"):
        systemd.systemctl("stop", handover.candidate_of(ctx, release).service, timeout=drain + 30)
        return Exit.OK
    systemd.systemctl("stop", job_unit(ctx.app), timeout=200)
    if release is not None:
        handover.wait_for_queue(ctx, release, min(5.0, drain))
    systemd.systemctl("stop", f"{ctx.app}-web@*.socket", f"{ctx.app}-web@*.service", timeout=drain + 30)
    return Exit.OK


def _is_restart(unit: str) -> bool:
    done = systemd.systemctl("list-jobs", "--no-legend", "--plain", unit)
    return any(line.split()[1:3] == [unit, "restart"] for line in done.out.splitlines())


def reload(ctx: Context) -> Exit:
    """A graceful reload from the host itself: a new release with all the parts of the one that serves."""
    number = ctx.catalog.current()
    if not number:
        raise HostError("nothing is deployed here yet", exit=Exit.USAGE)
    current = ctx.catalog.get(number)
    directory = lock.submit(ctx, _reload_request(ctx, current))
    exit = Exit.BUG
    for event in lock.follow(ctx, directory):
        with contextlib.suppress(KeyError):
            if event["event"] == "phase.done":
                print(f"{event['phase']}: {event['detail']}")
            elif event["event"] == "failed":
                print(*event["logs"], f"{event['message']}. {event['state']}", sep="\n", file=sys.stderr)
            elif event["event"] == "finished":
                exit = Exit(event["exit"])
    jobs.forget_old(ctx.paths.jobs)
    return exit


def _reload_request(ctx: Context, current: Release) -> Request:
    return Request(
        kind="reload",
        by="systemctl reload",
        phases=PHASES,
        of=current.number,
        release=0,
        spec=current.spec,
        environment=handover.read_environment(ctx, current),
        secret=masking.stored_names(ctx.paths, current.number),
        delta=None,
        yes=False,
        no_migrate=True,
    )

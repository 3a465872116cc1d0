"""What ``shop.service`` runs: make what runs match ``current``; stop it; release it again with the same parts."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import replace

from deployer.host import handover, lock, masking, systemd
from deployer.host.catalog import GOOD, SERVED, Release
from deployer.host.context import Context
from deployer.host.errors import HostError
from deployer.host.paths import job_unit
from deployer.host.protocol import PHASES, Exit
from deployer.host.request import Request


def start(ctx: Context) -> Exit:
    """Start what ``current`` names and nothing else. Level-triggered: right at boot, after a crash, and at any time."""
    number = ctx.catalog.current()
    if not number:
        print(f"nothing of {ctx.app} is deployed yet")
        return Exit.OK
    release = ctx.catalog.get(number)
    candidate = handover.candidate_of(ctx, release)
    missing = [name for name in (candidate.socket, candidate.service) if not (ctx.paths.units / name).exists()]
    if missing:
        handover.install(ctx, release)
    systemd.require("start", candidate.socket)
    systemd.require("start", candidate.service, timeout=release.spec.health.timeout + 60)
    if lock.running(ctx) is None:
        _remove_others(ctx, release)
        _finish_watch(ctx, release)
    print(f"{release.name} serves")
    return Exit.OK


def _finish_watch(ctx: Context, release: Release) -> None:
    """The host went down while the release was watched. It serves again and is healthy: then it is a good one."""
    if release.result == SERVED and handover.candidate_of(ctx, release).ask(10).healthy(release.spec.health):
        ctx.catalog.update(release, result=GOOD)


def _remove_others(ctx: Context, current: Release) -> None:
    """Take away what a deploy that never ended has left: nothing but ``current`` may run."""
    names = (path.name for path in ctx.paths.units.glob(f"{ctx.app}-web@v*"))
    found = (re.fullmatch(rf"{ctx.app}-web@v([1-9][0-9]*)\.(?:service|socket)", name) for name in names)
    for number in {int(match.group(1)) for match in found if match} - {current.number}:
        handover.remove_units(ctx, ctx.catalog.find(number) or replace(current, number=number))


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
    lock.forget_old_jobs(ctx)
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


def ensure_started(app: str) -> None:
    """Have ``APP.service`` count as started once something serves; for a start that is under way it does not wait.

    Waits for its own: a ``systemctl stop`` that cuts a start short would find nothing to stop.
    """
    if systemd.show(f"{app}.service").active not in ("active", "reloading", "activating"):
        systemd.systemctl("start", f"{app}.service", timeout=60)

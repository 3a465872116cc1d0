"""``fab status`` and ``fab releases``: read from the links, the records and systemd."""

from __future__ import annotations

import contextlib
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.inspect import units
from deployer.host.job import lock
from deployer.host.maintenance import switch
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import survey
from deployer.host.setup import unsupported
from deployer.host.state import lease
from deployer.host.state.app import Context
from deployer.host.state.operator import deploylock
from deployer.host.state.releases import GOOD, PREPARING, READY, ROLLING_BACK, SERVED, Release
from deployer.host.system import systemd

_WORDS = {
    PREPARING: "preparing",
    READY: "candidate",
    SERVED: "preparing",
    ROLLING_BACK: "rolling back",
    GOOD: "retired",
}
"""The states that people see under another name than the record has."""


def readable(ctx: Context) -> Release | None:
    """The record of the release that serves; None when none does, or when it cannot be read."""
    try:
        return ctx.catalog.serving()
    except Damaged:
        return None


def lock_report(ctx: Context) -> dict[str, Any] | None:
    """Who keeps deploys from beginning, why and until when; None when nobody does."""
    found = deploylock.readable(ctx)
    return found.as_json() if found else None


def status_report(ctx: Context) -> dict[str, Any]:
    """What serves, how it is, and whether a deploy runs. Sizes in bytes, times in seconds since 1970."""
    number, current = ctx.catalog.current(), readable(ctx)
    report: dict[str, Any] = {
        "app": ctx.app,
        "current": ctx.catalog.serving_name(),
        "busy": lock.running(ctx),
        "lock": lock_report(ctx),
        "standby": "",
        "healthy": None,
        "health": "",
        "units": [],
        "timers": [],
        "lingering": units.lingering(ctx, number),
        "release": None,
        "maintenance": switch.report(ctx),
        "notes": unsupported.notes(ctx.settings.unsupported),
        **_attempts(ctx, number),
    }
    if current is not None:
        if current.spec.web is not None:  # first of all: a request may start the process
            report["healthy"], report["health"] = _answer(ctx, current)
        report["units"] = units.of_processes(ctx, current)
        report["timers"] = units.of_timers(ctx, current)
        if current.spec.web is None:
            report["healthy"] = all(unit["ok"] for unit in report["units"])
        if not report["healthy"] and systemd.was_stopped(f"{ctx.app}.service"):
            report["notes"] = [*report["notes"], f"{ctx.app} was stopped; fab start starts it"]
        report["standby"] = f"v{current.previous}" if current.previous else ""
        report["release"] = _row(current, number, current.previous, ctx)
    return report


def _answer(ctx: Context, current: Release) -> tuple[bool, str]:
    """Whether the web process is healthy now, and its answer in words."""
    health = current.spec.health
    answer = candidate_of(ctx, current).ask(10)
    if answer.healthy(health):
        return True, f"{answer.status} in {answer.seconds * 1000:.0f} ms"
    return False, answer.describe(health)


def recover_if_needed(ctx: Context) -> None:
    """Start a recovery after a job that died, if that has not happened yet."""
    # Asked twice: the job that the first answer was about may have ended before the lock was checked.
    if survey.is_needed(ctx) and lock.running(ctx) is None and survey.is_needed(ctx):
        with contextlib.suppress(HostError, OSError):
            lock.submit_recovery(ctx)


def _attempts(ctx: Context, current: int) -> dict[str, Any]:
    """The newest release, when it is not the current one; and the candidate under lease, with the seconds left."""
    releases = ctx.catalog.all()
    newest = releases[-1] if releases and releases[-1].number != current else None
    return {"last": _row(newest, current, 0, ctx) if newest else None, "held": held_report(ctx)}


def held_report(ctx: Context) -> dict[str, Any] | None:
    """The candidate under lease, with the seconds left."""
    found = (one for one in reversed(ctx.catalog.all()) if one.unfinished and lease.seconds_left(one.held))
    held = next(found, None)
    return {"release": held.name, "seconds": lease.seconds_left(held.held)} if held else None


def releases_report(ctx: Context) -> list[dict[str, Any]]:
    """Every release that has a record, newest first."""
    number, current = ctx.catalog.current(), readable(ctx)
    standby = current.previous if current else 0
    return [_row(release, number, standby, ctx) for release in reversed(ctx.catalog.all())]


def _row(release: Release, current: int, standby: int, ctx: Context) -> dict[str, Any]:
    state = _WORDS.get(release.result, release.result)
    if release.number == current:
        state = "current"
    elif release.number == standby and release.usable:
        state = "standby"
    source = release.spec.source
    return {
        "number": release.name,
        "state": state,
        "kind": release.kind,
        "by": release.by,
        "at": release.at,
        "switched": release.switched,
        "ended": release.ended,
        "commit": source.commit,
        "ref": source.ref,
        "dirty": source.dirty,
        "of": f"v{release.of}" if release.of else "",
        "reason": release.reason,
        "phase": release.phase,
        "seconds": round(sum((release.phases or {}).values()), 3),
        "size": int((ctx.trees.record(release.tree) or {}).get("size", 0)) if release.tree else 0,
    }

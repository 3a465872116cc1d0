"""What ``fab status`` and ``fab releases`` tell: read from the links, the records and systemd, never from memory."""

from __future__ import annotations

import contextlib
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.inspect import units
from deployer.host.job import lock
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import survey
from deployer.host.setup import unsupported
from deployer.host.state import lease
from deployer.host.state.app import Context
from deployer.host.state.releases import CONDEMNED, GOOD, PREPARING, READY, SERVED, Release

_WORDS = {PREPARING: "preparing", READY: "candidate", SERVED: "preparing", CONDEMNED: "rolling back", GOOD: "retired"}
"""Where the word for people is another than the record's."""


def readable(ctx: Context) -> Release | None:
    """The record of the release that serves; None before the first, and when it cannot be read."""
    try:
        return ctx.catalog.serving()
    except Damaged:
        return None


def status_report(ctx: Context) -> dict[str, Any]:
    """What serves, how it is, and whether a deploy runs. Sizes in bytes, times in seconds since 1970."""
    number, current = ctx.catalog.current(), readable(ctx)
    report: dict[str, Any] = {
        "app": ctx.app,
        "current": ctx.catalog.serving_name(),
        "busy": lock.running(ctx),
        "standby": "",
        "healthy": None,
        "health": "",
        "units": [],
        "timers": [],
        "lingering": units.lingering(ctx, number),
        "release": None,
        "notes": unsupported.notes(ctx.settings.unsupported),
        **_attempts(ctx, number),
    }
    if current is not None:
        if current.spec.web is not None:  # asked first: a request may be what starts the process
            report["healthy"], report["health"] = _answer(ctx, current)
        report["units"] = units.of_processes(ctx, current)
        report["timers"] = units.of_timers(ctx, current)
        if current.spec.web is None:
            report["healthy"] = all(unit["ok"] for unit in report["units"])
        report["standby"] = f"v{current.previous}" if current.previous else ""
        report["release"] = _row(current, number, current.previous, ctx)
    return report


def _answer(ctx: Context, current: Release) -> tuple[bool, str]:
    """What the web process answers now: whether that is healthy, and in words."""
    health = current.spec.health
    answer = candidate_of(ctx, current).ask(10)
    if answer.healthy(health):
        return True, f"{answer.status} in {answer.seconds * 1000:.0f} ms"
    return False, answer.describe(health)


def recover_if_needed(ctx: Context) -> None:
    """Where an attempt died and nobody has noticed yet, have it put right; what is told then is that this goes on."""
    # Looked at twice: a job that ran at the first look, and has ended by the second, has left nothing.
    if survey.is_needed(ctx) and lock.running(ctx) is None and survey.is_needed(ctx):
        with contextlib.suppress(HostError, OSError):
            lock.submit_recovery(ctx)


def _attempts(ctx: Context, current: int) -> dict[str, Any]:
    """The newest attempt, when it is not what serves; and the candidate under lease, with the seconds that are left."""
    releases = ctx.catalog.all()
    newest = releases[-1] if releases and releases[-1].number != current else None
    held = next((one for one in reversed(releases) if one.unfinished and lease.left(one.held)), None)
    return {
        "last": _row(newest, current, 0, ctx) if newest else None,
        "held": {"release": held.name, "seconds": lease.left(held.held)} if held else None,
    }


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

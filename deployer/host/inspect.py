"""What ``fab status`` and ``fab releases`` tell: read from the links, the records and systemd, never from memory."""

from __future__ import annotations

from typing import Any

from deployer.host import lock, processes, systemd
from deployer.host.catalog import FAILED, GOOD, PREPARING, READY, ROLLED_BACK, SERVED, Release
from deployer.host.context import Context
from deployer.host.handover import candidate_of

_WORDS = {
    PREPARING: "preparing",
    READY: "candidate",
    SERVED: "preparing",
    GOOD: "retired",
    FAILED: "failed",
    ROLLED_BACK: "rolled back",
}


def status_report(ctx: Context) -> dict[str, Any]:
    """What serves, how it is, and whether a deploy runs. Sizes in bytes, times in seconds since 1970."""
    number = ctx.catalog.current()
    current = ctx.catalog.find(number) if number else None
    report: dict[str, Any] = {
        "app": ctx.app,
        "current": f"v{number}" if number else "",
        "busy": lock.running(ctx),
        "standby": "",
        "healthy": None,
        "health": "",
        "units": [],
        "release": None,
    }
    if current is not None:
        answer = candidate_of(ctx, current).ask(10)
        healthy = answer.healthy(current.spec.health)
        report["healthy"] = healthy
        report["health"] = (
            f"{answer.status} in {answer.seconds * 1000:.0f} ms" if healthy else answer.describe(current.spec.health)
        )
        report["standby"] = f"v{current.previous}" if current.previous else ""
        report["units"] = [_unit(ctx, current)]
        report["release"] = _row(current, number, current.previous, ctx)
    return report


def _unit(ctx: Context, release: Release) -> dict[str, Any]:
    name = candidate_of(ctx, release).service
    state = systemd.show(name)
    return {
        "name": name,
        "active": state.active,
        "sub": state.sub,
        "pid": state.main_pid,
        "restarts": state.restarts,
        "memory": processes.resident(state.main_pid),
        "since": state.since,
    }


def releases_report(ctx: Context) -> list[dict[str, Any]]:
    """Every release that has a record, newest first."""
    number = ctx.catalog.current()
    current = ctx.catalog.find(number) if number else None
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
        "commit": source.commit,
        "ref": source.ref,
        "dirty": source.dirty,
        "of": f"v{release.of}" if release.of else "",
        "reason": release.reason,
        "phase": release.phase,
        "seconds": round(sum((release.phases or {}).values()), 3),
        "size": int((ctx.trees.record(release.tree) or {}).get("size", 0)) if release.tree else 0,
    }

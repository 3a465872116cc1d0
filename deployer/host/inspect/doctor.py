"""``fab doctor``: the problems on this host, and what repairs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.inspect import causes, preparation, services, units
from deployer.host.inspect.causes import finding
from deployer.host.inspect.status import readable
from deployer.host.job import lock
from deployer.host.maintenance import units as page
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import survey
from deployer.host.setup import unsupported
from deployer.host.state.app import Context
from deployer.host.state.content.damage import damage_of, mark_damaged
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import job_unit, maintenance_unit
from deployer.host.state.releases import Release
from deployer.host.system import orders, systemd
from deployer.wire.protocol import WEB

_KINDS = {
    survey.START: "down",
    survey.DISCARD: "unfinished",
    survey.REMOVE: "unfinished",
    survey.STOP: "leftover",
    survey.REMOVE_DEBRIS: "leftover",
    survey.COMPLETE_LEDGER: "leftover",
    survey.ROLL_BACK: "unfinished",
    survey.FINISH: "unfinished",
}
_AGAIN, _LATELY = 2, 600.0
"""A process with this many restarts, the last one this many seconds ago or less, keeps ending."""


def examine(ctx: Context) -> dict[str, Any]:
    """The findings: each with its kind, what it is about, a sentence, and what ``fab doctor --fix`` would do.

    While a deploy runs, only what serves is inspected: the rest is changing. Raises OSError.
    """
    busy = lock.running(ctx)
    stopped = _stopped(ctx, ctx.catalog.current())
    current = readable(ctx)
    steps = [] if busy else survey.plan(survey.inspect(ctx))
    running = [] if current is None or busy or stopped else _running(ctx, current, steps)
    if any(one["kind"] == "down" for one in running):
        steps = [step for step in steps if step.do != survey.START]  # these findings name the units that are down
    findings = [
        *map(_planned, steps),
        *_unreadable(ctx),
        *stopped,
        *_page_down(ctx),
        *running,
        *([] if busy else _occupied(ctx)),
    ]
    if current is not None:
        findings += _health(ctx, current)
        findings += [found for one in (current, ctx.catalog.before(current)) if one for found in _damage(ctx, one)]
    seen = preparation.outside(ctx)
    findings += preparation.findings(ctx) + preparation.reached(ctx, seen)
    troubles, notes = services.findings(ctx)
    findings += troubles
    asks = current is not None and current.spec.web is not None
    told = preparation.unknown(seen) if asks else []
    return {
        "findings": findings,
        "notes": [*_maintenance(ctx), *unsupported.notes(ctx.settings.unsupported), *notes, *told],
        "seen": seen.reached,
        "current": ctx.catalog.serving_name(),
        "busy": busy,
    }


def _page_down(ctx: Context) -> list[dict[str, Any]]:
    """A maintenance page that is wanted and not served."""
    if not maintenance.is_on(ctx.paths) or page.is_up(ctx):
        return []
    unit = maintenance_unit(ctx.app, "socket")
    return [finding("down", unit, *causes.PAGE_DOWN.finding(unit=unit))]


def _maintenance(ctx: Context) -> list[str]:
    """What visitors get in maintenance. A check of the proxy passes the page, and tells of the app."""
    if not maintenance.is_on(ctx.paths):
        return []
    stopped = ", and its processes and timers are stopped" if maintenance.workers_stopped(ctx.paths) else ""
    return [f"maintenance is on: visitors get its page{stopped}; fab maintenance off ends it"]


def _planned(step: survey.Repair) -> dict[str, Any]:
    what = f"v{step.number}" if step.number else str(step.path or "")
    return finding(_KINDS[step.do], what, step.why, str(survey.CAUSES[step.do].next), fix=True)


def _unreadable(ctx: Context) -> list[dict[str, Any]]:
    found = []
    for number in ctx.catalog.numbers():
        try:
            ctx.catalog.find(number)
        except Damaged as error:
            seen = causes.UNREADABLE.finding(problem=error.message, path=ctx.paths.release(number))
            found.append(finding("damaged", f"v{number}", *seen))
    return found


def _stopped(ctx: Context, number: int) -> list[dict[str, Any]]:
    """An app that an admin has stopped: the doctor does not start it."""
    unit = f"{ctx.app}.service"
    state = systemd.show(unit)
    if not number or state.starts or state.active in ("active", "activating", "reloading"):
        return []
    return [finding("down", unit, *causes.STOPPED.finding(unit=unit))]


def _occupied(ctx: Context) -> list[dict[str, Any]]:
    """A dead unit with the name of the app's job unit. The next job frees the name, unless an admin's file has it."""
    unit = job_unit(ctx.app)
    path = orders.occupant(unit)
    if path is None:
        return []
    if orders.is_transient(path) and systemd.show(unit).active == "active":
        return [finding("leftover", unit, *causes.JOB_UNIT_KEPT.finding(unit=unit))]
    if orders.is_transient(path):
        return [finding("leftover", unit, *causes.JOB_UNIT_DEAD.finding(unit=unit), fix=True)]
    return [finding("leftover", unit, *causes.JOB_UNIT_TAKEN.finding(path=path))]


def _health(ctx: Context, current: Release) -> list[dict[str, Any]]:
    """The web process of what serves, when it is not healthy."""
    if current.spec.web is None:
        return []
    answer = candidate_of(ctx, current).ask(10)
    if answer.healthy(current.spec.health):
        return []
    told = causes.UNHEALTHY.finding(release=current.name, answer=answer.describe(current.spec.health))
    return [finding("unhealthy", current.name, *told)]


def _running(ctx: Context, current: Release, steps: Iterable[survey.Repair]) -> list[dict[str, Any]]:
    """Problems of the processes and timers of what serves. ``steps`` may start those that are down."""
    starts = any(step.do == survey.START for step in steps)
    processes = (_process(ctx, unit, starts) for unit in units.of_processes(ctx, current))
    timers = (_timer(timer, starts) for timer in units.of_timers(ctx, current))
    return [found for found in (*processes, *timers) if found is not None]


def _process(ctx: Context, unit: dict[str, Any], starts: bool) -> dict[str, Any] | None:
    """A process that is down or keeps ending. For the web process, :func:`_health` checks whether it is up."""
    name, process = unit["name"], unit["process"]
    if unit["restarts"] >= _AGAIN and (not unit["ok"] or ctx.clock() - unit["since"] < _LATELY):
        told = causes.KEEPS_ENDING.finding(unit=name, times=unit["restarts"], process=process)
        return finding("restarting", name, *told)
    if unit["ok"] or process == WEB:
        return None
    state = ", ".join(dict.fromkeys(word for word in (unit["active"], unit["sub"]) if word))
    told = causes.PROCESS_DOWN.finding(unit=name, state=state, start=_start(name, starts), process=process)
    return finding("down", name, *told, fix=starts)


def _timer(timer: dict[str, Any], starts: bool) -> dict[str, Any] | None:
    """A timer that is stopped, or whose last run failed."""
    name, process = timer["name"], timer["process"]
    if timer["result"] not in ("", "success"):
        service = name.replace(".timer", ".service")
        told = causes.RUN_FAILED.finding(process=process, result=timer["result"], service=service)
        return finding("failed", name, *told)
    if timer["ok"]:
        return None
    return finding("down", name, *causes.TIMER_DOWN.finding(process=process, start=_start(name, starts)), fix=starts)


def _start(unit: str, starts: bool) -> str:
    return "it is started" if starts else f"on the host, as root: systemctl start {unit}"


def _damage(ctx: Context, release: Release) -> list[dict[str, Any]]:
    """Damaged content. It is marked in its seal: no later release reuses it, and no upload builds on it."""
    found = []
    for store, key in ((ctx.trees, release.tree), (ctx.venvs, release.venv)):
        damage = damage_of(store, key) if key else ""
        if damage:
            mark_damaged(store, key, damage)
            told = causes.DAMAGED.finding(release=release.name, damage=damage)
            found.append(finding("damaged", release.name, *told))
    return found

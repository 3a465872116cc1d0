"""Recover after a job that died: make what runs match ``current``, finish what was switched to, remove the rest.

Carries out the plan of ``host/recovery/survey.py``, always under the app's lock. Every step can be repeated after an
interruption.
"""

from __future__ import annotations

import contextlib

from deployer.host.deployment import handover, outcome, rollback
from deployer.host.deployment.deployment import JobResult
from deployer.host.deployment.execution import Execution
from deployer.host.deployment.failures import Failures
from deployer.host.deployment.request import of_release
from deployer.host.errors import Damaged
from deployer.host.processes import background
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import debris
from deployer.host.recovery.survey import (
    COMPLETE_LEDGER,
    DISCARD,
    FINISH,
    REMOVE,
    ROLL_BACK,
    START,
    STOP,
    Repair,
    inspect,
    plan,
)
from deployer.host.state.app import Context
from deployer.host.state.releases import INTERRUPTED, ROLLED_BACK, ROLLING_BACK, SERVED, Release
from deployer.host.system import orders, systemd
from deployer.host.units import install, transient
from deployer.wire.protocol import PHASES

_ESSENTIAL = (DISCARD, REMOVE, ROLL_BACK, FINISH)
"""Steps that must succeed before a new release may begin. Leftover files can wait."""


def recover(ctx: Context, why: str, *, leases: bool = True) -> JobResult | None:
    """Carry out the plan, under the app's lock. Returns how the release that was switched to ended; None: none was.

    ``why`` says what interrupted the deploy. All steps are tried, even when earlier ones fail; raises HostError at the
    end when an essential one failed: the host tries again later.
    """
    ended, essential, others = None, Failures(ctx), Failures(ctx)
    for step in plan(inspect(ctx, leases=leases, failures=others)):
        failures = essential if step.do in _ESSENTIAL else others
        with failures.kept(step.why):
            if step.do in (FINISH, ROLL_BACK):
                ended = _finish(ctx, ctx.catalog.get(step.number), why)
            else:
                _carry_out(ctx, step, why)
    with others.kept("reporting what could not be recovered"):
        for failure in (*others.found, *essential.found):
            ctx.emit("warn", text=f"the recovery could not do one step: {failure.message}")
    essential.raise_first()
    return ended


def _carry_out(ctx: Context, step: Repair, why: str) -> None:
    if step.do == START:
        _start(ctx, ctx.catalog.get(step.number))
    elif step.do in (DISCARD, REMOVE):
        _remove(ctx, ctx.catalog.get(step.number), why)
    elif step.do == STOP:
        _stop(ctx, step.number)
    elif step.do == COMPLETE_LEDGER:
        _complete_ledger(ctx, step.number)
    elif step.path is not None:
        with contextlib.suppress(FileNotFoundError):
            debris.remove(ctx, step.path)


def _start(ctx: Context, release: Release) -> None:
    failures = Failures(ctx)
    install.ensure_units(ctx, release)
    if release.spec.web is not None:
        candidate = candidate_of(ctx, release)
        with failures.kept("starting the web process"):
            orders.start([candidate.socket, candidate.service])
    with failures.kept("starting processes and timers"):
        background.start(ctx)
    failures.raise_first()


def _remove(ctx: Context, release: Release, why: str) -> None:
    """Remove an unfinished release without traffic. If it had some before, the requests in its queue are answered."""
    transient.end_all(ctx)
    if release.result in (SERVED, ROLLING_BACK):
        _start_background(ctx)
        rollback.drain_and_remove(ctx, release)
    else:
        install.remove_units(ctx, release, unused=True)
    if release.result == ROLLING_BACK:
        outcome.remove_content(ctx, release, ROLLED_BACK, release.reason)
        return
    reason = _reason(release, why)
    if (release.phases or {}).get("migrate"):
        reason += "; its migration ran, and stays applied"
    outcome.remove_content(ctx, release, INTERRUPTED, reason)
    ctx.emit("note", text=f"{release.name} was {reason}; what it left is removed")


def _start_background(ctx: Context) -> None:
    """Start the processes and timers of what serves: a rollback to it may have been killed before they ran."""
    if not systemd.was_stopped(f"{ctx.app}.service"):
        background.hand_over(ctx)


def _reason(release: Release, why: str) -> str:
    if release.held is not None and release.held.get("discarded"):
        return f"discarded by {release.held['discarded']}, after {release.phase}"
    if release.held is not None:
        return f"left alone after {release.phase}"
    return f"interrupted at {release.next_phase or PHASES[-1]}: {why}"


def _stop(ctx: Context, number: int) -> None:
    """Stop the units of a release that is neither current nor standby, once its late requests are answered."""
    if number == ctx.catalog.current():
        return  # it has come to serve since the survey
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(number)
    if release is not None and release.unfinished is False and release.sealed and release.spec.web is not None:
        handover.wait_for_queue(ctx, release, release.spec.drain)
    names = debris.units(ctx).get(number, [])
    if names:
        orders.ensure_stopped(names, timeout=(install.longest_stop(release) if release else 30) + 60)
        install.delete_units(ctx, names)


def _complete_ledger(ctx: Context, number: int) -> None:
    """Add the missing line about how a release ended."""
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(number)
    if release is not None:
        outcome.add_to_ledger(ctx, release)
        return
    serving = ctx.catalog.serving_name()
    fields = {"result": INTERRUPTED, "phase": "", "reason": "interrupted before it began", "serving": serving}
    ctx.ledger.add("ended", ctx.clock(), release=f"v{number}", **fields)


def _finish(ctx: Context, release: Release, why: str) -> JobResult:
    """Finish a release that was switched to: run the phases that are left, or finish its rollback."""
    text = f"its deploy was {_reason(release, why)}"
    phases = PHASES[max(PHASES.index(release.next_phase or PHASES[-1]), PHASES.index("switch")) :]
    execution = Execution(ctx, of_release(release, release.by, phases, f"{text}; the host found it healthy"))
    return execution.finish_rollback(release) if release.result == ROLLING_BACK else execution.resume()

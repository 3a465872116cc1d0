"""Make what runs match ``current``; finish what was switched to; clear away the rest.

Carries out the plan of ``host/recovery/survey.py``, and only ever under the app's lock. Every step can be repeated:
whoever is killed on the way is followed by somebody who begins again.
"""

from __future__ import annotations

import contextlib

from deployer.host.deployment import handover, outcome, rollback
from deployer.host.deployment.deployment import Attempt, Ended
from deployer.host.deployment.failures import Failures
from deployer.host.deployment.request import of_release
from deployer.host.errors import Damaged
from deployer.host.processes import background
from deployer.host.processes.web import candidate_of
from deployer.host.recovery import debris
from deployer.host.recovery.survey import CLEAR, CLOSE, DISCARD, FINISH, START, STOP, TAKE_BACK, Step, look, plan
from deployer.host.state.app import Context
from deployer.host.state.releases import INTERRUPTED, ROLLED_BACK, ROLLING_BACK, SERVED, Release
from deployer.host.system import orders, systemd
from deployer.host.units import install, transient
from deployer.wire.protocol import PHASES

_WEIGHTY = (DISCARD, CLEAR, TAKE_BACK, FINISH)
"""What a new release cannot begin without. Litter that does not go away is in nobody's way."""


def recover(ctx: Context, why: str, *, leases: bool = True) -> Ended | None:
    """Carry the plan out; how what was switched to ended, or None when nothing had been. Only under the app's lock.

    ``why`` says what ended the attempt before its time. One step that fails, whatever it raises, does not keep the
    others from being done; raises HostError at the end when it was one that matters: what is left is tried again.
    """
    ended, weighty, others = None, Failures(ctx), Failures(ctx)
    for step in plan(look(ctx, leases=leases, failures=others)):
        failures = weighty if step.do in _WEIGHTY else others
        with failures.kept(step.why):
            if step.do in (FINISH, TAKE_BACK):
                ended = _finish(ctx, ctx.catalog.get(step.number), why)
            else:
                _carry_out(ctx, step, why)
    with others.kept("telling what could not be put right"):
        for failure in (*others.found, *weighty.found):
            ctx.emit("warn", text=f"that could not be put right: {failure.message}")
    weighty.raise_first()
    return ended


def _carry_out(ctx: Context, step: Step, why: str) -> None:
    if step.do == START:
        _start(ctx, ctx.catalog.get(step.number))
    elif step.do in (DISCARD, CLEAR):
        _end(ctx, ctx.catalog.get(step.number), why)
    elif step.do == STOP:
        _stop(ctx, step.number)
    elif step.do == CLOSE:
        _close(ctx, step.number)
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


def _end(ctx: Context, release: Release, why: str) -> None:
    """An attempt that died without traffic. One that had some has its queue answered first."""
    transient.end_all(ctx)
    if release.result in (SERVED, ROLLING_BACK):
        _run_what_serves(ctx)
        rollback.clear(ctx, release)
    else:
        install.remove_units(ctx, release, unused=True)
    if release.result == ROLLING_BACK:
        outcome.close(ctx, release, ROLLED_BACK, release.reason)
        return
    reason = _told(release, why)
    if (release.phases or {}).get("migrate"):
        reason += "; its migration ran, and stays applied"
    outcome.close(ctx, release, INTERRUPTED, reason)
    ctx.emit("note", text=f"{release.name} was {reason}; what it left is cleared away")


def _run_what_serves(ctx: Context) -> None:
    """Its processes and timers: who went back to it may have been killed before they ran."""
    if not systemd.was_stopped(f"{ctx.app}.service"):
        background.hand_over(ctx)


def _told(release: Release, why: str) -> str:
    if release.held is not None:
        return f"left alone after {release.phase}"
    return f"interrupted at {release.next_phase or PHASES[-1]}: {why}"


def _stop(ctx: Context, number: int) -> None:
    """Units of a release that neither serves nor stands by: what came in late is answered first."""
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


def _close(ctx: Context, number: int) -> None:
    """Make up for a line that the ledger lacks."""
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(number)
    if release is not None:
        outcome.write_end(ctx, release)
        return
    serving = ctx.catalog.serving_name()
    fields = {"result": INTERRUPTED, "phase": "", "reason": "interrupted before it began", "serving": serving}
    ctx.ledger.add("ended", ctx.clock(), release=f"v{number}", **fields)


def _finish(ctx: Context, release: Release, why: str) -> Ended:
    """What was switched to and not yet judged: do what is left to do, with the verdict that goes with it."""
    text = f"its deploy was {_told(release, why)}"
    phases = PHASES[max(PHASES.index(release.next_phase or PHASES[-1]), PHASES.index("switch")) :]
    attempt = Attempt(ctx, of_release(release, release.by, phases, f"{text}; the host found it healthy"))
    return attempt.go_back(release) if release.result == ROLLING_BACK else attempt.go_on()

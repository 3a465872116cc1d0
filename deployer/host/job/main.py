"""The program of the transient unit ``deployer-APP.service``, whose name is the lock: a deployment or a recovery.

It outlives the SSH session. When it is killed, systemd starts it again under the same name; it sees that it had begun,
and recovers. Its last event is always ``finished``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.host.build.code import clone
from deployer.host.deployment import outcome
from deployer.host.deployment.deployment import JobResult
from deployer.host.deployment.execution import Execution
from deployer.host.deployment.failures import Failures, serving_name, understood
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.job import prune
from deployer.host.recovery import recovery
from deployer.host.state import cleanup, jobs, lease
from deployer.host.state.app import Context, Emit
from deployer.host.state.releases import FAILED, GOOD, ROLLED_BACK
from deployer.host.system import files, journald, signals
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit


@dataclass(frozen=True)
class _Interrupted:
    """How far a job was when it was interrupted. ``release`` and ``phase`` are empty when it had done nothing."""

    release: str
    phase: str
    finished: bool
    rebooted: bool

    @property
    def why(self) -> str:
        return "the host went down" if self.rebooted else "its process on the host was killed"


def run_job(ctx: Context, directory: Path, *, recovering: bool = False) -> int:
    """Run the job whose request is in ``directory``; with ``recovering``, only recover.

    Returns 0 when its end was reported, whether it succeeded or failed.
    """
    with jobs.held_lock(directory), signals.uninterrupted():  # only an execution lets SIGTERM through
        try:
            return _run(ctx, directory, recovering)
        finally:
            signals.ignore_terminate()


def _run(ctx: Context, directory: Path, recovering: bool) -> int:
    started = time.monotonic()
    before, waiting = _interrupted(directory), set(cleanup.waiting(ctx))
    try:
        result = _do(ctx, directory, before, recovering)
    except signals.PowerOff:
        return 0  # the next boot goes on from here
    except Exception as error:
        result = _recovery_failed(ctx, error, Exit.BUG)
    with Failures(ctx).kept("removing the upload"), contextlib.suppress(FileNotFoundError):
        (directory / "body").unlink()
    if before is not None and before.finished:
        return 0
    reported = _report(ctx, result, time.monotonic() - started, directory)
    _start_idle_work(ctx, waiting)
    return 0 if reported else 1


def _start_idle_work(ctx: Context, waiting: Collection[Path]) -> None:
    """Begin what nobody waits for, now that the end is reported: what it writes would slow down whatever is synced.
    What cannot begin is left to the next job."""
    silent = replace(ctx, emit=lambda *_, **__: None)
    with Failures(silent).kept("removing old releases"):
        cleanup.start(ctx, waiting)
    with Failures(silent).kept("preparing the next deploy"):
        clone.start(ctx)


def _do(ctx: Context, directory: Path, before: _Interrupted | None, recovering: bool) -> JobResult:
    if before is None:
        with Failures(ctx).kept("recording the boot ID"):  # only used to tell a reboot from a killed process
            files.write_file(directory / "boot", lease.boot_id().encode(), 0o600)
    if before is None and not recovering and jobs.request_of(directory).get("kind") == prune.KIND:
        return _prune_now(ctx, prune.Prune.stored(jobs.request_of(directory)))
    if before is None and not recovering:
        return _deploy(ctx, Request.stored(jobs.request_of(directory)), directory)
    with Failures(ctx).kept("starting the recovery timer"):  # the recovery itself does not need it
        lease.start_watchdog(ctx.paths)
    return _recover(ctx, before)


def _prune_now(ctx: Context, asked: prune.Prune) -> JobResult:
    try:
        return prune.carry_out(ctx, asked)
    except Exception as error:
        failure = understood(error, ctx, "removing old releases")
        state = "what was removed is gone; what serves was not touched"
        return JobResult(
            failure.exit,
            "",
            failure.message,
            message=failure.message,
            state=state,
            next=failure.next,
            logs=failure.logs,
        )


def _deploy(ctx: Context, request: Request, directory: Path) -> JobResult:
    """Recover from earlier jobs, then carry out the request."""
    try:
        lease.start_watchdog(ctx.paths)
    except Exception as error:  # a candidate would outlive its lease, and an interrupted undo would not be tried again
        return _not_begun(understood(error, ctx, "starting the recovery timer"))
    if not request.release:
        try:
            recovery.recover(_without_phases(ctx), "it was left unfinished", leases=False)
        except Exception as error:
            return _recovery_failed(ctx, error, Exit.REFUSED)
    return Execution(ctx, request, directory).run()


def _without_phases(ctx: Context) -> Context:
    """A context for the recovery before a release: the laptop must not take its phases for those of the release."""

    def emit(name: str, **fields: Any) -> None:
        if name in ("note", "warn", "output"):
            ctx.emit(name, **fields)

    return replace(ctx, emit=emit)


def _not_begun(error: HostError) -> JobResult:
    return JobResult(
        error.exit,
        "",
        error.message,
        message=error.message,
        state="nothing was touched",
        next=error.next or run("fab deploy"),
        logs=error.logs,
    )


def _recover(ctx: Context, before: _Interrupted | None) -> JobResult:
    """Recover. What could not be done is reported, and tried again by the recovery timer."""
    why = before.why if before else "it was left alone"
    if before and not before.finished:
        ctx.emit("recovering")  # tells its fleet that it waits at no barrier any more
        ctx.emit("warn", text=f"the deploy was interrupted: {before.why}; the host recovers by itself")
    quiet = replace(ctx, emit=_without_notes(ctx.emit)) if before else ctx  # the last event says the same
    try:
        result = recovery.recover(quiet, why)
    except Exception as error:
        return _recovery_failed(ctx, error, Exit.MIXED)
    _prune(ctx)
    return result or _recorded_result(ctx, before)


def _prune(ctx: Context) -> None:
    """Remove old releases, as the interrupted job would have done."""
    with Failures(ctx).kept("removing old releases"):
        release = ctx.catalog.serving()
        outcome.prune(ctx, release.spec.keep if release else 1)


def _without_notes(emit: Emit) -> Emit:
    def filtered(name: str, **fields: Any) -> None:
        if name != "note":
            emit(name, **fields)

    return filtered


def _recovery_failed(ctx: Context, error: Exception, exit: Exit) -> JobResult:
    failure = understood(error, ctx, "recovering")
    serving = serving_name(ctx)
    return JobResult(
        Exit.BUG if failure.exit == Exit.BUG and exit == Exit.REFUSED else exit,
        "",
        failure.message,
        message=f"the recovery from an interrupted deploy failed: {failure.message}",
        state=f"{serving or 'nothing'} is current; the host tries again by itself",
        next=failure.next or run("fab doctor"),
        logs=failure.logs,
    )


def _recorded_result(ctx: Context, before: _Interrupted | None) -> JobResult:
    """How the interrupted deployment has ended, by its record."""
    serving = serving_name(ctx)
    now = f"{serving} serves" if serving else "nothing serves"
    if before is None:
        return JobResult(Exit.OK, "", f"no problems are left; {now}")
    release = None
    with Failures(ctx).kept(f"reading the record of {before.release}"):
        release = ctx.catalog.find(int(before.release[1:])) if before.release else None
    if release is not None and release.result == GOOD:
        return JobResult(Exit.OK, release.name, now)
    name = release.name if release else ""
    interrupted = f"{name or 'the deploy'} was interrupted at {before.phase or 'its start'}: {before.why}"
    what = release.reason if release is not None and release.result in (FAILED, ROLLED_BACK) else interrupted
    exit = Exit.ROLLED_BACK if release is not None and release.result == ROLLED_BACK else Exit.REFUSED
    state = f"{now}; what {name} left is removed" if name else f"{now}; nothing was touched"
    return JobResult(exit, name, what, message=what, state=state, next=run("fab deploy"))


def _interrupted(directory: Path) -> _Interrupted | None:
    """What this job had done before it was interrupted; None when it begins now."""
    events = list(jobs.events_of(directory))
    if not events:
        return None
    phases = [event for event in events if event.get("event") == "phase.started"]
    boot = directory / "boot"
    return _Interrupted(
        release=next((str(event["release"]) for event in reversed(events) if event.get("release")), ""),
        phase=str(phases[-1]["phase"]) if phases else "",
        finished=jobs.status_of(directory).finished,
        rebooted=boot.exists() and files.read_text(boot).strip() != lease.boot_id(),
    )


def _report(ctx: Context, result: JobResult, seconds: float, directory: Path) -> bool:
    """Emit the last events. False when ``finished`` could not be written: systemd starts this program again then."""
    serving, last = serving_name(ctx), Failures(ctx)
    with Failures(ctx).kept("reporting what failed"):
        if result.message:
            ctx.emit(
                "failed",
                exit=int(result.exit),
                message=result.message,
                state=result.state,
                **result.next.fields(),
                logs=list(result.logs),
            )
    with Failures(ctx).kept("reporting to the journal"):
        now = f"{serving} serves" if serving else "nothing serves"
        text = result.summary if result.summary == now else f"{result.summary}; {now}"
        _write_journal(ctx, text, jobs.request_of(directory))
    with last.kept("reporting the end"):
        ctx.emit(
            "finished",
            exit=int(result.exit),
            release=result.release,
            serving=serving,
            seconds=seconds,
            summary=result.summary,
        )
    return not last


def _write_journal(ctx: Context, text: str, request: dict[str, Any]) -> None:
    """In the journal of ``APP.service``: ``systemctl status`` and ``journalctl -u`` then show the app's history."""
    journald.tell(f"{ctx.app}.service", f"{text} ({request.get('kind')} by {request.get('by')})")

"""What runs inside the transient unit ``deployer-APP.service``, whose name is the lock: a release, or a recovery.

It outlives the SSH session. Killed, it is started again by systemd under the same name; it then finds that it had
begun, and recovers. Whatever happens, its last event is ``finished``.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.host.deployment import retention
from deployer.host.deployment.deployment import Attempt, Ended
from deployer.host.deployment.failures import Failures, understood
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.recovery import recovery
from deployer.host.state import jobs, lease
from deployer.host.state.app import Context, Emit
from deployer.host.state.releases import FAILED, GOOD, ROLLED_BACK
from deployer.host.system import files, journald, signals
from deployer.wire.advice import Next, run
from deployer.wire.protocol import Exit


@dataclass(frozen=True)
class _Before:
    """What a job had done when it was cut short. ``release`` and ``phase`` are empty when it had done nothing."""

    release: str
    phase: str
    finished: bool
    rebooted: bool

    @property
    def why(self) -> str:
        return "the host went down" if self.rebooted else "its process on the host was killed"


def run_job(ctx: Context, directory: Path, *, recovering: bool = False) -> int:
    """Run the job whose request lies in ``directory``; or only put right what it, or others, have left.

    Returns 0 when all of it was told, however it ended.
    """
    with (
        jobs.claimed(directory),
        signals.uninterrupted(),
    ):  # an attempt hears a SIGTERM when it begins, and until it ends
        try:
            return _run(ctx, directory, recovering)
        finally:
            signals.ignore_terminate()


def _run(ctx: Context, directory: Path, recovering: bool) -> int:
    started = time.monotonic()
    before = _look_back(directory)
    try:
        ended = _do(ctx, directory, before, recovering)
    except signals.PowerOff:
        return 0  # the next boot goes on from here
    except Exception as error:
        ended = _in_vain(ctx, error, Exit.BUG)
    with Failures(ctx).kept("removing the upload"), contextlib.suppress(FileNotFoundError):
        (directory / "body").unlink()
    if before is not None and before.finished:
        return 0
    return 0 if _tell(ctx, ended, time.monotonic() - started, directory) else 1


def _do(ctx: Context, directory: Path, before: _Before | None, recovering: bool) -> Ended:
    if before is None:
        with Failures(ctx).kept("noting which boot this is"):  # it only serves to tell a reboot from a killed process
            files.write_file(directory / "boot", lease.boot_id().encode(), 0o600)
    if before is None and not recovering:
        return _attempt(ctx, Request.stored(jobs.request_of(directory)), directory)
    with Failures(ctx).kept("arming the dead-man's switch"):  # what is to be put right does not wait for it
        lease.arm(ctx.paths)
    return _recover(ctx, before)


def _attempt(ctx: Context, request: Request, directory: Path) -> Ended:
    """A release; what one before it has left comes first."""
    try:
        lease.arm(ctx.paths)
    except Exception as error:  # a candidate would outlive its lease, and an interrupted undo be tried once only
        return _not_begun(understood(error, ctx, "arming the dead-man's switch"))
    if not request.release:
        try:
            recovery.recover(_quiet(ctx), "it was left unfinished", leases=False)
        except Exception as error:
            return _in_vain(ctx, error, Exit.REFUSED)
    return Attempt(ctx, request, directory).run()


def _quiet(ctx: Context) -> Context:
    """Of what is put right before a release the laptop hears in notes: the phases that it follows are its own."""

    def emit(name: str, **fields: Any) -> None:
        if name in ("note", "warn", "output"):
            ctx.emit(name, **fields)

    return replace(ctx, emit=emit)


def _not_begun(error: HostError) -> Ended:
    return Ended(
        error.exit,
        "",
        error.message,
        message=error.message,
        state="nothing was touched",
        next=error.next or run("fab deploy"),
        logs=error.logs,
    )


def _recover(ctx: Context, before: _Before | None) -> Ended:
    """What could not be done is told, and tried again by the dead-man's switch."""
    why = before.why if before else "it was left alone"
    if before and not before.finished:
        ctx.emit("recovering")  # for its fleet: it stands at no barrier any more
        ctx.emit("warn", text=f"the deploy was cut short: {before.why}; the host puts that right by itself")
    told = replace(ctx, emit=_without_notes(ctx.emit)) if before else ctx  # the last event tells the same
    try:
        ended = recovery.recover(told, why)
    except Exception as error:
        return _in_vain(ctx, error, Exit.MIXED)
    _prune(ctx)
    return ended or _outcome(ctx, before)


def _prune(ctx: Context) -> None:
    """What the job that was cut short did not come to."""
    with Failures(ctx).kept("removing old releases"):
        release = ctx.catalog.serving()
        retention.prune(ctx, release.spec.keep if release else 1)


def _without_notes(emit: Emit) -> Emit:
    def hear(name: str, **fields: Any) -> None:
        if name != "note":
            emit(name, **fields)

    return hear


def _in_vain(ctx: Context, error: Exception, exit: Exit) -> Ended:
    said = understood(error, ctx, "clearing up")
    serving = _serving(ctx)
    return Ended(
        Exit.BUG if said.exit == Exit.BUG and exit == Exit.REFUSED else exit,
        "",
        said.message,
        message=f"what an interrupted deploy left could not be put right: {said.message}",
        state=f"{serving or 'nothing'} is current; the host tries again by itself",
        next=said.next or run("fab doctor"),
        logs=said.logs,
    )


def _outcome(ctx: Context, before: _Before | None) -> Ended:
    """How the attempt that was cut short has ended, by its record."""
    serving = _serving(ctx)
    now = f"{serving} serves" if serving else "nothing serves"
    if before is None:
        return Ended(Exit.OK, "", f"all is as it should be; {now}")
    release = None
    with Failures(ctx).kept(f"reading the record of {before.release}"):
        release = ctx.catalog.find(int(before.release[1:])) if before.release else None
    if release is not None and release.result == GOOD:
        return Ended(Exit.OK, release.name, now)
    name = release.name if release else ""
    interrupted = f"{name or 'the deploy'} was interrupted at {before.phase or 'its start'}: {before.why}"
    what = release.reason if release is not None and release.result in (FAILED, ROLLED_BACK) else interrupted
    exit = Exit.ROLLED_BACK if release is not None and release.result == ROLLED_BACK else Exit.REFUSED
    state = f"{now}; what {name} left is cleared away" if name else f"{now}; nothing was touched"
    return Ended(exit, name, what, message=what, state=state, next=run("fab deploy"))


def _look_back(directory: Path) -> _Before | None:
    """What this job has done already; None when it begins now."""
    events = list(jobs.events_of(directory))
    if not events:
        return None
    phases = [event for event in events if event.get("event") == "phase.started"]
    boot = directory / "boot"
    return _Before(
        release=next((str(event["release"]) for event in reversed(events) if event.get("release")), ""),
        phase=str(phases[-1]["phase"]) if phases else "",
        finished=jobs.glance(directory).finished,
        rebooted=boot.exists() and files.read_text(boot).strip() != lease.boot_id(),
    )


def _tell(ctx: Context, ended: Ended, seconds: float, directory: Path) -> bool:
    """The last words. False when the very last could not be said: this program is started again, and says it then."""
    serving, last = _serving(ctx), Failures(ctx)
    with Failures(ctx).kept("telling what failed"):
        if ended.message:
            ctx.emit(
                "failed",
                exit=int(ended.exit),
                message=ended.message,
                state=ended.state,
                **Next.of(ended.next).fields(),
                logs=list(ended.logs),
            )
    with Failures(ctx).kept("telling the admins"):
        now = f"{serving} serves" if serving else "nothing serves"
        text = ended.summary if ended.summary == now else f"{ended.summary}; {now}"
        _tell_admins(ctx, text, jobs.request_of(directory))
    with last.kept("telling the end"):
        ctx.emit(
            "finished",
            exit=int(ended.exit),
            release=ended.release,
            serving=serving,
            seconds=seconds,
            summary=ended.summary,
        )
    return not last


def _tell_admins(ctx: Context, text: str, request: dict[str, Any]) -> None:
    """In the journal of ``APP.service``: ``systemctl status`` and ``journalctl -u`` then tell the app's history."""
    journald.tell(f"{ctx.app}.service", f"{text} ({request.get('kind')} by {request.get('by')})")


def _serving(ctx: Context) -> str:
    with Failures(ctx).kept("reading what serves"):
        return ctx.catalog.serving_name()
    return ""

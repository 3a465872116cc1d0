"""One attempt at a release: its phases in order, and what happens when one fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer.host.deployment import outcome, phases, rollback
from deployer.host.deployment.barrier import Word
from deployer.host.deployment.failures import Failures, understood
from deployer.host.deployment.phases import DEEDS, Work, reason_to_skip
from deployer.host.deployment.request import Request
from deployer.host.errors import Damaged, HostError
from deployer.host.processes import background, commands, watch
from deployer.host.state import jobs, lease, masking
from deployer.host.state.app import Context
from deployer.host.state.releases import DEAD, FAILED, GOOD, ROLLED_BACK, ROLLING_BACK, SERVED, Release
from deployer.host.system import files, signals, systemd
from deployer.host.units import install, transient
from deployer.wire.advice import NOTHING, Advice, Next, run
from deployer.wire.environment import environment_file
from deployer.wire.protocol import BEHIND_THE_SWITCH, PHASES, Exit

_SWITCH = PHASES.index("switch")


@dataclass(frozen=True)
class Ended:
    """How an attempt ended. ``message`` is empty when it went well; ``state``, ``next`` and ``logs`` go with it."""

    exit: Exit
    release: str
    summary: str
    message: str = ""
    state: str = ""
    next: Advice = NOTHING
    logs: tuple[str, ...] = ()


class Attempt:
    """A release on its way. ``release`` is its record; ``current`` is what serves, or served before the switch."""

    def __init__(self, ctx: Context, request: Request, directory: Path | None = None) -> None:
        self.ctx = ctx
        self.request = request
        self.directory = directory
        self.current = _serving(ctx, request)
        self.work: Work | None = None
        self.secrets = masking.secret_values(request.environment, request.secret)

    def run(self) -> Ended:
        """All phases that were asked for. Raises nothing but PowerOff: every failure is undone, and told."""
        return self._run_all(revive=False)

    def go_on(self) -> Ended:
        """The same for a release that was switched to by an attempt that died: first have it run again, as it was."""
        return self._run_all(revive=True)

    def go_back(self, release: Release) -> Ended:
        """Take a condemned release back, whose way back was cut short."""
        signals.ignore_terminate()
        self.current = _standby(self.ctx, release)
        self.work = Work(self.ctx, self.request, release, self.current)
        with Failures(self.ctx).kept("reading the secrets"):
            self._know_secrets(release)
        return self._fail(HostError(release.reason, exit=Exit.ROLLED_BACK))

    def _know_secrets(self, release: Release) -> None:
        """What no message may show: of a release that goes on, as it is stored."""
        with contextlib.suppress(HostError):
            self.secrets = self.secrets or masking.stored_values(self.ctx.paths, release.number)

    def _run_all(self, *, revive: bool) -> Ended:
        try:
            signals.on_terminate(self._abort)
            signals.release()
            release = self._open()
            body = self.directory / "body" if self.directory else None
            self._know_secrets(release)
            self.ctx = replace(self.ctx, emit=masking.masked(self.ctx.emit, self.secrets))
            self.work = Work(self.ctx, self.request, release, self.current, body)
            if self.directory is not None and self.request.barriers:
                self.work.word = Word(self.directory)
            if revive:
                phases.revive(self.work)
            for phase in self.request.phases:
                if phase in self.request.barriers:
                    self._stand_at(self.work, phase)
                self._run(self.work, phase)
            self._hold(self.work)
            return Ended(Exit.OK, release.name, self._summary(self.work.release))
        except signals.Terminated as terminated:
            error = terminated.error
        except Exception as foreign:
            error = understood(foreign, self.ctx, "writing on the host")
        finally:
            signals.hold()
        with Failures(self.ctx).kept("ending the release"):
            return self._fail(error)
        return self._fail(error)  # all of it can be repeated

    def _abort(self) -> None:
        """SIGTERM: somebody ends the deploy, or the host goes down. Undo, without waiting for what runs.

        When the host goes down behind the switch, nothing is undone: what failed was not the release.
        """
        units = (transient.unit_of(self.ctx, name) for name in transient.COMMANDS)
        systemd.systemctl("stop", "--no-block", *units)
        if self._has_switched() and systemd.is_stopping():
            raise signals.PowerOff
        raise signals.Terminated(HostError(self._aborted_by(), next=run("fab status")))

    def _aborted_by(self) -> str:
        """Never raises: in a signal handler another error would be taken for one of what it interrupts."""
        asked = jobs.why_aborted(self.directory) if self.directory else ""
        return asked or "aborted: the deploy's unit was stopped on the host"

    def _has_switched(self) -> bool:
        return self.work is not None and self.ctx.catalog.current() == self.work.release.number

    def _open(self) -> Release:
        request, catalog = self.request, self.ctx.catalog
        if request.release:
            release = catalog.get(request.release)
            _check_order(release, request.phases)
            if release.result == SERVED or release.number == catalog.current():
                self.current = _standby(self.ctx, release)
            return catalog.update(release, held=None)
        with signals.uninterrupted():
            release = catalog.create(
                request.kind, request.of, request.by, self.ctx.clock(), request.spec, request.number
            )
            self.work = Work(self.ctx, request, release, self.current)
        directory = self.work.directory
        files.write_json(directory / "env.json", request.environment, 0o600)
        files.write_json(directory / "secret.json", list(request.secret), 0o600)
        note = f"release {release.name} of {self.ctx.app}"
        files.write_file(directory / "env", environment_file(request.environment, note), 0o600)
        if request.of:
            parts = catalog.get(request.of)
            same = request.spec == parts.spec and request.environment == commands.read_environment(self.ctx, parts)
            release = catalog.update(release, tree=parts.tree, venv=parts.venv, same=same)
        return release

    def _run(self, work: Work, phase: str) -> None:
        started = time.monotonic()
        name = work.release.name
        reason = reason_to_skip(work, phase)
        if reason:
            self.ctx.emit("phase.skipped", phase=phase, release=name, detail=reason)
            self._record(work, phase, 0.0)
            return
        self.ctx.emit("phase.started", phase=phase, release=name)
        try:
            detail = DEEDS[phase](work)
        except BaseException:
            self.ctx.emit("phase.failed", phase=phase, release=name, seconds=time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        self.ctx.emit("phase.done", phase=phase, release=name, seconds=seconds, detail=detail)
        self._record(work, phase, seconds)

    def _stand_at(self, work: Work, barrier: str) -> None:
        """Wait for the fleet before a phase. Raises HostError when nothing is heard of it, or what waits goes bad."""
        word = work.word
        if word is None:
            return
        self.ctx.emit("ready", phase=barrier, release=work.release.name)
        if barrier == "switch":
            watch.stand_by(self.ctx, work.release, self.current, lambda: word.said(barrier) or word.over)
        if not word.wait(barrier):
            raise HostError(
                f"nothing was heard of the laptop for {word.silence:.0f} s while the fleet got ready to {barrier}",
                next=run("fab status") + run("fab deploy"),
            )

    def _record(self, work: Work, phase: str, seconds: float) -> None:
        """Note how far it is. Behind the switch a note that cannot be made takes no release back."""
        try:
            work.record(phase=phase, phases={**(work.release.phases or {}), phase: round(seconds, 3)})
        except OSError:
            if phase not in BEHIND_THE_SWITCH:
                raise

    def _hold(self, work: Work) -> None:
        """A release whose phases are run one by one belongs to nobody for a while; then the host ends it."""
        if not work.release.unfinished or self.request.phases[-1] == PHASES[-1]:
            return
        try:
            work.record(held=lease.grant())
        except OSError:  # without a lease it is judged at once, but not taken back for that
            if self.request.phases[-1] not in BEHIND_THE_SWITCH:
                raise

    def _summary(self, release: Release) -> str:
        last = self.request.phases[-1]
        return f"{release.name} serves" if last == PHASES[-1] else f"{release.name}: {last} done"

    def _fail(self, error: HostError) -> Ended:
        """Undo, whatever else fails meanwhile. What could not be undone is told, and the host tries again."""
        signals.ignore_terminate()
        failures = Failures(self.ctx)
        with failures.kept("removing the environment of a command"):
            transient.forget_environments(self.ctx)
        exit, state = error.exit, error.state or "nothing was touched"
        if self.work is not None:
            failures = Failures(self.ctx)
            with failures.kept("reading what became of it"):
                self._judge(self.work, str(self._clean(error.message)))
            with failures.kept(f"undoing {self.work.release.name}"):
                exit, state = self._undo(self.work.release, error)
                failures = Failures(self.ctx)  # it is undone, whatever was amiss before
            with Failures(self.ctx).kept("ending its commands"):
                transient.end_all(self.ctx)
        if failures and self.work is not None:
            exit, state = Exit.MIXED, self._in_vain(failures)
        return self._ended(error, exit, state)

    def _judge(self, work: Work, reason: str) -> None:
        """Note first of all that what was switched to goes: else whoever has to go on from here might keep it."""
        with contextlib.suppress(Damaged):
            work.release = self.ctx.catalog.find(work.release.number) or work.release
        if work.release.result == SERVED and self._has_way_back(work.release):
            work.release = outcome.condemn(self.ctx, work.release, reason)

    def _in_vain(self, failures: Failures) -> str:
        serving = "what served before"
        with failures.kept("reading what serves"):
            serving = self.ctx.catalog.serving_name() or "nothing"
        further = "; ".join(dict.fromkeys(one.message for one in failures.found))
        return f"{serving} is current; undoing it failed as well: {further}; the host tries again by itself"

    def _ended(self, error: HostError, exit: Exit, state: str) -> Ended:
        """What a process printed, or an error quotes, may hold secrets: none of them leaves the host."""
        message = str(self._clean(error.message))
        return Ended(
            exit,
            self.work.release.name if self.work else "",
            message,
            message=message,
            state=str(self._clean(state)),
            next=Next.of(self._clean(error.next)) or run("fab status") + run("fab deploy"),
            logs=tuple(self._clean(error.logs)),
        )

    def _clean(self, value: Any) -> Any:
        return masking.clean(value, self.secrets)

    def _undo(self, release: Release, error: HostError) -> tuple[Exit, str]:
        if release.result == GOOD:
            return error.exit, f"{release.name} was good before and is left alone"
        if release.result in DEAD:  # all was done, and could not be told
            exit = Exit.ROLLED_BACK if release.result == ROLLED_BACK else error.exit
            return exit, f"{self.ctx.catalog.serving_name() or 'nothing'} serves; {release.name} is {release.result}"
        reason = str(self._clean(error.message))
        if self._has_switched():
            return self.take_back(release, reason)
        state = self._discard(release, reason)
        return error.exit, f"{state}; {error.stays}" if error.stays else state

    def _discard(self, release: Release, reason: str) -> str:
        install.remove_units(self.ctx, release, unused=True)
        outcome.close(self.ctx, release, FAILED, reason)
        serving = f"{self.current.name} serves, uninterrupted" if self.current else "nothing serves yet"
        state = f"{serving}; {release.name} never got a request"
        if (release.phases or {}).get("migrate"):
            state += "; its migration ran before, and stays applied"
        return state

    def take_back(self, release: Release, reason: str) -> tuple[Exit, str]:
        """The standby serves again. Raises HostError, OSError when it cannot; it is tried again then."""
        if not self._has_way_back(release):
            raise HostError(f"v{release.previous}, which served before, is gone: there is no way back")
        condemned = outcome.condemn(self.ctx, release, reason)
        serving = rollback.resume(self.ctx, condemned, self.current)
        outcome.close(self.ctx, condemned, ROLLED_BACK, reason)
        if not serving:
            return Exit.ROLLED_BACK, "nothing serves: there was no release to go back to"
        return Exit.ROLLED_BACK, f"{serving} serves again; {release.name} is stopped{self._lingering(release)}"

    def _has_way_back(self, release: Release) -> bool:
        return self.current is not None or not release.previous

    def _lingering(self, release: Release) -> str:
        """What of a release that was taken back still finishes, for people."""
        with contextlib.suppress(HostError):
            left = background.process_names(self.ctx, background.still_running(self.ctx, release.number))
            return f", but for what still finishes the job in hand: {left}" if left else ""
        return ""


def _standby(ctx: Context, release: Release) -> Release | None:
    """What served before a release; None when nothing did, or when its record cannot be read."""
    with contextlib.suppress(Damaged):
        return ctx.catalog.find(release.previous) if release.previous else None
    return None


def _serving(ctx: Context, request: Request) -> Release | None:
    """What ``current`` names. Where its record is damaged, what can be told without: it serves all the same."""
    try:
        return ctx.catalog.serving()
    except Damaged as error:
        ctx.emit("warn", text=f"{error.message}; the release that serves cannot be gone back to")
        number = ctx.catalog.current()
        return Release(number=number, kind="deploy", of=0, by="", at=0.0, spec=request.spec, result=GOOD)


def _check_order(release: Release, phases: Sequence[str]) -> None:
    """Raises HostError when a phase is asked for whose forerunner has not ended well, or of a dead release."""
    if not release.unfinished:
        raise HostError(
            f"{release.name} is {release.result}: its phases are over",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab releases"),
        )
    if release.result == ROLLING_BACK:
        raise HostError(
            f"{release.name} is being taken back: its phases are over",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab status"),
        )
    first = PHASES.index(phases[0])
    if release.result == SERVED and (first < _SWITCH or (first == _SWITCH and release.phase != "check")):
        raise HostError(
            f"{release.name} is switched to already: {phases[0]} is over",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run(f"fab phase.{release.next_phase or PHASES[-1]}"),
        )
    if first and release.phase not in PHASES[first - 1 :]:
        missing = PHASES[first - 1]
        raise HostError(
            f"{release.name} has not been through {missing} yet (last: {release.phase or 'none'})",
            exit=Exit.USAGE,
            next=run(f"fab phase.{missing}"),
        )

"""Run the phases of a deployment in order; undo it when one fails."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from deployer.host.deployment import environment, phases
from deployer.host.deployment.barrier import BarrierSignal
from deployer.host.deployment.deployment import Deployment, JobResult, check_order, serving_release
from deployer.host.deployment.failures import Failures, understood
from deployer.host.deployment.phases import HANDLERS, reason_to_skip
from deployer.host.deployment.request import Request
from deployer.host.deployment.undo import Undo
from deployer.host.errors import HostError
from deployer.host.processes import commands, watch
from deployer.host.state import jobs, lease, masking
from deployer.host.state.app import Context
from deployer.host.state.releases import SERVED, Release
from deployer.host.system import signals, systemd
from deployer.host.units import transient
from deployer.wire.advice import run
from deployer.wire.protocol import BEHIND_THE_SWITCH, PHASES, Exit


class Execution:
    """Carries out a request. ``current`` is the release that serves, or that served before the switch."""

    def __init__(self, ctx: Context, request: Request, directory: Path | None = None) -> None:
        self.ctx = ctx
        self.request = request
        self.directory = directory
        self.current = serving_release(ctx, request)
        self.deployment: Deployment | None = None
        self.secrets = masking.secret_values(request.environment, request.secret)

    def run(self) -> JobResult:
        """Run all requested phases. Raises nothing but PowerOff: every failure is undone and reported."""
        return self._run_all(revive=False)

    def resume(self) -> JobResult:
        """Go on with a release that was switched to by a job that died: start it again first."""
        return self._run_all(revive=True)

    def finish_rollback(self, release: Release) -> JobResult:
        """Roll back a release whose rollback was cut short."""
        signals.ignore_terminate()
        self.current = self.ctx.catalog.before(release)
        self.deployment = Deployment(self.ctx, self.request, release, self.current)
        with Failures(self.ctx).kept("reading the secrets"):
            self._read_secrets(release)
        return self._fail(HostError(release.reason, exit=Exit.ROLLED_BACK))

    def _read_secrets(self, release: Release) -> None:
        """Of a release that goes on: as they are stored. No message may show them."""
        with contextlib.suppress(HostError):
            self.secrets = self.secrets or masking.stored_values(self.ctx.paths, release.number)

    def _run_all(self, *, revive: bool) -> JobResult:
        try:
            signals.on_terminate(self._abort)
            signals.release()
            release = self._open()
            body = self.directory / "body" if self.directory else None
            self._read_secrets(release)
            self.ctx = replace(self.ctx, emit=masking.masked(self.ctx.emit, self.secrets))
            self.deployment = deployment = Deployment(self.ctx, self.request, release, self.current, body)
            if self.directory is not None and self.request.barriers:
                deployment.signal = BarrierSignal(self.directory)
            if revive:
                phases.revive(deployment)
            for phase in self.request.phases:
                if phase in self.request.barriers:
                    self._wait_at(deployment, phase)
                self._run(deployment, phase)
            self._grant_lease(deployment)
            return JobResult(Exit.OK, release.name, self._summary(deployment.release))
        except signals.Terminated as terminated:
            error = terminated.error
        except Exception as foreign:
            error = understood(foreign, self.ctx, "writing on the host")
        finally:
            signals.hold()
        with Failures(self.ctx).kept("ending the release"):
            return self._fail(error)
        return self._fail(error)  # every step of it can be repeated

    def _fail(self, error: HostError) -> JobResult:
        return Undo(self.ctx, self.deployment, self.secrets).run(error)

    def _abort(self) -> None:
        """SIGTERM: somebody aborts the deploy, or the host goes down. Undo, without waiting for what runs.

        When the host goes down after the switch, nothing is undone: the release did not fail.
        """
        units = (transient.unit_of(self.ctx, name) for name in transient.COMMANDS)
        systemd.systemctl("stop", "--no-block", *units)
        if self.deployment is not None and self.deployment.switched and systemd.is_stopping():
            raise signals.PowerOff
        raise signals.Terminated(HostError(self._aborted_by(), next=run("fab status")))

    def _aborted_by(self) -> str:
        """Never raises: in a signal handler, another error would look like one of the interrupted code."""
        asked = jobs.why_aborted(self.directory) if self.directory else ""
        return asked or "aborted: the deploy's unit was stopped on the host"

    def _open(self) -> Release:
        """The release to work on: a new one, or the one named in the request."""
        request, catalog = self.request, self.ctx.catalog
        if request.release:
            release = catalog.get(request.release)
            check_order(release, request.phases)
            if release.result == SERVED or release.number == catalog.current():
                self.current = catalog.before(release)
            return catalog.update(release, held=None)
        self.request = request = environment.complete(self.ctx, request)
        self.secrets = masking.secret_values(request.environment, request.secret)
        with signals.uninterrupted():
            release = catalog.create(
                request.kind, request.of, request.by, self.ctx.clock(), request.spec, request.number
            )
            self.deployment = Deployment(self.ctx, request, release, self.current)
        environment.write(self.ctx, request, release, self.deployment.directory)
        if request.of:
            parts = catalog.get(request.of)
            same = request.spec == parts.spec and request.environment == commands.read_environment(self.ctx, parts)
            release = catalog.update(release, tree=parts.tree, venv=parts.venv, same=same)
        return release

    def _run(self, deployment: Deployment, phase: str) -> None:
        started = time.monotonic()
        name = deployment.release.name
        reason = reason_to_skip(deployment, phase)
        if reason:
            self.ctx.emit("phase.skipped", phase=phase, release=name, detail=reason)
            self._record(deployment, phase, 0.0)
            return
        self.ctx.emit("phase.started", phase=phase, release=name)
        try:
            detail = HANDLERS[phase](deployment)
        except BaseException:
            self.ctx.emit("phase.failed", phase=phase, release=name, seconds=time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        self.ctx.emit("phase.done", phase=phase, release=name, seconds=seconds, detail=detail)
        self._record(deployment, phase, seconds)

    def _wait_at(self, deployment: Deployment, barrier: str) -> None:
        """Wait for the fleet before a phase. Raises HostError when the lease runs out, or what waits fails."""
        signal = deployment.signal
        if signal is None:
            return
        self.ctx.emit("ready", phase=barrier, release=deployment.release.name)
        if barrier == "switch":
            watch.stand_by(self.ctx, deployment.release, self.current, lambda: signal.allows(barrier) or signal.expired)
        if not signal.wait(barrier):
            raise HostError(
                f"nothing was heard of the laptop for {signal.silence:.0f} s while the fleet got ready to {barrier}",
                next=run("fab status") + run("fab deploy"),
            )

    def _record(self, deployment: Deployment, phase: str, seconds: float) -> None:
        """Record a finished phase. After the switch, a record that cannot be written is no reason to roll back."""
        try:
            deployment.record(phase=phase, phases={**(deployment.release.phases or {}), phase: round(seconds, 3)})
        except OSError:
            if phase not in BEHIND_THE_SWITCH:
                raise

    def _grant_lease(self, deployment: Deployment) -> None:
        """Give a release whose phases are run one by one a lease until the next; when it runs out, the host ends it."""
        if not deployment.release.unfinished or self.request.phases[-1] == PHASES[-1]:
            return
        try:
            deployment.record(held=lease.grant())
        except OSError:  # without a lease it is judged at once; that is no reason to roll back
            if self.request.phases[-1] not in BEHIND_THE_SWITCH:
                raise

    def _summary(self, release: Release) -> str:
        last = self.request.phases[-1]
        return f"{release.name} serves" if last == PHASES[-1] else f"{release.name}: {last} done"

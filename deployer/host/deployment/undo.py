"""Undo a deployment that failed: discard a release that never served, roll back one that did."""

from __future__ import annotations

import contextlib
from typing import Any

from deployer.host.deployment import outcome, rollback
from deployer.host.deployment.deployment import Deployment, JobResult
from deployer.host.deployment.failures import Failures
from deployer.host.errors import Damaged, HostError
from deployer.host.processes import background
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.host.state.releases import DEAD, FAILED, GOOD, ROLLED_BACK, SERVED, Release
from deployer.host.system import signals
from deployer.host.units import install, transient
from deployer.wire.advice import Next, run
from deployer.wire.protocol import Exit


class Undo:
    """Undoes ``deployment`` (None: it failed before there was a release). ``secrets`` are masked in what it reports."""

    def __init__(self, ctx: Context, deployment: Deployment | None, secrets: tuple[str, ...]) -> None:
        self.ctx = ctx
        self.deployment = deployment
        self.secrets = secrets

    def run(self, error: HostError) -> JobResult:
        """Undo, whatever else fails meanwhile. What could not be undone is reported, and the host tries again."""
        signals.ignore_terminate()
        failures = Failures(self.ctx)
        with failures.kept("removing the environment of a command"):
            transient.forget_environments(self.ctx)
        exit, state = error.exit, error.state or "nothing was touched"
        deployment = self.deployment
        if deployment is not None:
            failures = Failures(self.ctx)
            with failures.kept("reading what became of it"):
                self._record_rollback(deployment, str(self._clean(error.message)))
            with failures.kept(f"undoing {deployment.release.name}"):
                exit, state = self._undo(deployment, error)
                failures = Failures(self.ctx)  # it is undone, whatever failed before
            with Failures(self.ctx).kept("ending its commands"):
                transient.end_all(self.ctx)
        if failures and deployment is not None:
            exit, state = Exit.MIXED, self._failed_state(failures)
        return self._result(error, exit, state)

    def _record_rollback(self, deployment: Deployment, reason: str) -> None:
        """Record first of all that a release which was switched to is rolled back: a recovery might keep it else."""
        with contextlib.suppress(Damaged):
            deployment.release = self.ctx.catalog.find(deployment.release.number) or deployment.release
        if deployment.release.result == SERVED and deployment.can_roll_back:
            deployment.release = outcome.record_rollback(self.ctx, deployment.release, reason)

    def _failed_state(self, failures: Failures) -> str:
        serving = "what served before"
        with failures.kept("reading what serves"):
            serving = self.ctx.catalog.serving_name() or "nothing"
        further = "; ".join(dict.fromkeys(one.message for one in failures.found))
        return f"{serving} is current; undoing it failed as well: {further}; the host tries again by itself"

    def _result(self, error: HostError, exit: Exit, state: str) -> JobResult:
        """What a process printed, or an error quotes, may hold secrets: they are masked."""
        message = str(self._clean(error.message))
        return JobResult(
            exit,
            self.deployment.release.name if self.deployment else "",
            message,
            message=message,
            state=str(self._clean(state)),
            next=Next.of(self._clean(error.next)) or run("fab status") + run("fab deploy"),
            logs=tuple(self._clean(error.logs)),
        )

    def _clean(self, value: Any) -> Any:
        return masking.clean(value, self.secrets)

    def _undo(self, deployment: Deployment, error: HostError) -> tuple[Exit, str]:
        release = deployment.release
        if release.result == GOOD:
            return error.exit, f"{release.name} was good before and is left alone"
        if release.result in DEAD:  # an earlier try undid it, and failed to report that
            exit = Exit.ROLLED_BACK if release.result == ROLLED_BACK else error.exit
            return exit, f"{self.ctx.catalog.serving_name() or 'nothing'} serves; {release.name} is {release.result}"
        reason = str(self._clean(error.message))
        if deployment.switched:
            return self._roll_back(deployment, reason)
        state = self._discard(deployment, reason)
        return error.exit, f"{state}; {error.stays}" if error.stays else state

    def _discard(self, deployment: Deployment, reason: str) -> str:
        """Remove a release that never served."""
        release, current = deployment.release, deployment.current
        install.remove_units(self.ctx, release, unused=True)
        outcome.remove_content(self.ctx, release, FAILED, reason)
        serving = f"{current.name} serves, uninterrupted" if current else "nothing serves yet"
        state = f"{serving}; {release.name} never got a request"
        if (release.phases or {}).get("migrate"):
            state += "; its migration ran before, and stays applied"
        return state

    def _roll_back(self, deployment: Deployment, reason: str) -> tuple[Exit, str]:
        """Have the standby serve again. Raises HostError, OSError when it cannot; the host tries again then."""
        release = deployment.release
        if not deployment.can_roll_back:
            raise HostError(f"v{release.previous}, which served before, is gone: there is no way back")
        failed = outcome.record_rollback(self.ctx, release, reason)
        serving = rollback.roll_back(self.ctx, failed, deployment.current)
        outcome.remove_content(self.ctx, failed, ROLLED_BACK, reason)
        if not serving:
            return Exit.ROLLED_BACK, "nothing serves: there was no release to go back to"
        return Exit.ROLLED_BACK, f"{serving} serves again; {release.name} is stopped{self._finishing(release)}"

    def _finishing(self, release: Release) -> str:
        """What of a release that was rolled back still finishes a job, for people."""
        with contextlib.suppress(HostError):
            left = background.named(self.ctx, background.still_up(self.ctx, release.number))
            return f", but for what still finishes the job in hand: {left}" if left else ""
        return ""

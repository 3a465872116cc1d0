"""The web process of one release: does it start, does it answer, does it stay up."""

from __future__ import annotations

import time
from dataclasses import field
from typing import Callable

from deployer.host.diagnosis import exitstatus
from deployer.host.diagnosis.causes import APP_ERROR
from deployer.host.diagnosis.diagnosis import Explanation, from_end, from_output, from_response
from deployer.host.errors import HostError
from deployer.host.processes.probe import Response, request
from deployer.host.state.app import Context
from deployer.host.state.paths import AppPaths, unit_name
from deployer.host.state.releases import Release
from deployer.host.system import journald, proc, systemd
from deployer.wire.lazydata import dataclass
from deployer.wire.release.health import Health

_PAUSE = 0.25
_ONE_REQUEST = 10.0
"""Seconds after which a single request counts as hung, even if the health check allows more."""
_SAID = 300
"""How many log lines go with a failure: enough for the tracebacks of several workers."""
_HELPERS = 2
"""How many processes that were seen only once may end uncounted: until it runs its own program, a server's helper looks
like a worker."""


@dataclass
class Workers:
    """The worker processes that a server has had: how often each was seen, the most at once, how many have ended."""

    seen: dict[int, int] = field(default_factory=dict)
    most: int = 0
    gone: int = 0
    fleeting: int = 0

    def look(self, pid: int) -> int:
        """Record the server's present workers; returns how many have ended so far."""
        present: set[int] = proc.workers(pid) if pid else set()
        self.most = max(self.most, len(present))
        for worker in present:
            self.seen[worker] = self.seen.get(worker, 0) + 1
        for worker in set(self.seen) - present:
            if self.seen.pop(worker) > 1:
                self.gone += 1
            else:
                self.fleeting += 1
        return self.gone + max(0, self.fleeting - _HELPERS)

    @property
    def hopeless(self) -> bool:
        """Each has ended about three times: the server keeps restarting what cannot run.

        Fewer prove nothing: gunicorn's ``--max-requests`` replaces healthy workers.
        """
        return self.gone + self.fleeting >= 3 * max(2, self.most)


@dataclass(frozen=True)
class Candidate:
    """The web process of one release, asked over its own socket."""

    paths: AppPaths
    number: int
    health: Health

    @property
    def service(self) -> str:
        return unit_name(self.paths.app, "web", self.number, "service")

    @property
    def socket(self) -> str:
        return unit_name(self.paths.app, "web", self.number, "socket")

    def ask(self, timeout: float, tick: Callable[[], object] = lambda: None) -> Response:
        return request(str(self.paths.socket(self.number)), self.health, timeout, tick)

    def boot(self) -> Response:
        """Wait for the first response of any kind: proof that the code imports and the server serves.

        The first request also starts the service (socket activation). Raises HostError when the process ends, or
        nothing answers within the health check's timeout.
        """
        deadline = time.monotonic() + self.health.timeout
        workers = Workers()
        while True:
            left = deadline - time.monotonic()
            answer = self.ask(max(0.1, min(left, _ONE_REQUEST)), lambda: self._refuse_if_hopeless(workers))
            if answer.status:
                return answer
            self._refuse_if_crashed(grace=True)
            if time.monotonic() >= deadline:
                raise self.failure(self._in_vain(answer), answer)
            time.sleep(_PAUSE)

    def become_healthy(self) -> None:
        """Wait for a healthy response, then for ``settle`` seconds in which nothing fails and no worker dies.

        Raises HostError with the last response and log lines.
        """
        deadline = time.monotonic() + self.health.timeout
        workers = Workers()
        while True:
            answer = self.ask(max(0.1, min(deadline - time.monotonic(), _ONE_REQUEST)), self._refuse_if_crashed)
            if answer.healthy(self.health):
                break
            self._refuse_if_crashed(grace=not answer.status)
            if time.monotonic() >= deadline or 400 <= answer.status < 500:
                raise self.failure(self._in_vain(answer), answer)
            time.sleep(_PAUSE)
        self._settle(workers)

    def _in_vain(self, answer: Response) -> str:
        tried = f" (tried for {self.health.timeout:g} s)" if answer.seconds < self.health.timeout / 2 else ""
        return answer.describe(self.health) + ("" if 400 <= answer.status < 500 else tried)

    def _settle(self, workers: Workers) -> None:
        started = time.monotonic()
        while time.monotonic() - started < self.health.settle:
            state = self._refuse_if_crashed()
            if workers.look(state.main_pid):
                self._refuse_if_crashed(grace=True)  # the whole service may have ended between the two looks
                raise self.failure(
                    f"a worker process died {time.monotonic() - started:.1f} s after the first healthy answer"
                )
            time.sleep(_PAUSE)
            answer = self.ask(_ONE_REQUEST, self._refuse_if_crashed)
            if not answer.healthy(self.health):
                self._refuse_if_crashed(grace=True)
                raise self.failure(f"it was healthy, then {answer.describe(self.health)}", answer)
        self._refuse_if_crashed()

    def _refuse_if_crashed(self, grace: bool = False) -> systemd.UnitState:
        """Raises HostError when systemd saw the process end. ``grace`` gives systemd 0.3 s to notice."""
        state = systemd.show(self.service)
        if grace and not crashed(state):
            time.sleep(0.3)
            state = systemd.show(self.service)
        if crashed(state):
            raise self.failure(f"the process ended by itself{ending(self.service)}")
        return state

    def _refuse_if_hopeless(self, workers: Workers) -> None:
        """Raises HostError, too, when the server lives but its workers keep dying."""
        workers.look(self._refuse_if_crashed().main_pid)
        if workers.hopeless:
            raise self.failure("its worker processes end as soon as they are started")

    def failure(self, why: str, answer: Response | None = None) -> HostError:
        """The error that refuses this release, with its log; ``answer`` is the response it is refused for."""
        found = None
        if answer is not None and (answer.status or answer.is_late):
            found = from_response(answer.status, self.health.path, self.health.timeout)
        return failure(self.paths, self.number, why, self.service, found=found)


def failure(paths: AppPaths, number: int, why: str, unit: str, *, found: Explanation | None = None) -> HostError:
    """The error that refuses a release because of ``unit``, with the unit's log and the cause found in it; or the error
    of a host that could not start the process.

    ``found`` is a cause that is known already: the log is not searched.
    """
    end = systemd.end_of(unit)
    try:
        exitstatus.refuse_if_not_started(f"v{number}", unit, end.status or 0)
    except HostError as error:
        return error
    lines = journald.own_lines(unit, _SAID)
    found = found or from_end(end.result, end.signal_name)
    found = found or from_output(lines, paths.app, paths.code(number), APP_ERROR)
    return HostError(f"v{number} is not healthy: {why}{found.why}", logs=lines, next=found.next)


def crashed(state: systemd.UnitState) -> bool:
    """Whether the process ended by itself, even if systemd has yet to restart it (``auto-restart``)."""
    return state.crashed or state.sub.startswith("auto-restart")


def ending(unit: str) -> str:
    """How a unit's process ended, in brackets, for a message; empty when systemd no longer knows."""
    end = systemd.end_of(unit)
    if end.result == "oom-kill":
        return " (killed: the host, or MemoryMax, had no more memory for it)"
    if end.status is not None:
        return f" ({exitstatus.not_started(unit, end.status) or f'exit status {end.status}'})"
    return f" (killed by {end.signal_name})" if end.signal_name else ""


def candidate_of(ctx: Context, release: Release) -> Candidate:
    """The web process of a release that has one."""
    return Candidate(paths=ctx.paths, number=release.number, health=release.spec.health)


@dataclass
class Watch:
    """Judges a release that has traffic: a crash counts at once, a failed health check when it is the third in a row.

    A crash between switch and watch counts, too: the unit is as new as the release and was never restarted.
    ``recycles``: the server replaces its workers now and then, and their ends mean nothing.
    """

    candidate: Candidate
    main_pid: int
    recycles: bool = False
    workers: Workers = field(default_factory=Workers)
    failures: int = 0
    last: Response | None = None

    def verdict(self) -> str:
        """Why the release must be rolled back; empty while it may stay."""
        state = systemd.show(self.candidate.service)
        if crashed(state):
            return f"the process ended by itself{ending(self.candidate.service)}"
        if state.active == "active" and state.main_pid != self.main_pid:
            return "the process ended and was started again"
        self.workers.look(state.main_pid)
        if self.workers.hopeless and not self.recycles:
            return "its worker processes keep ending"
        self.last = self.candidate.ask(_ONE_REQUEST)
        self.failures = 0 if self.last.healthy(self.candidate.health) else self.failures + 1
        return self.last.describe(self.candidate.health) if self.failures >= 3 else ""

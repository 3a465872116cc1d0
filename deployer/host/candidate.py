"""Watching one release's process: is it up, does it answer, does it stay."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable

from deployer.host import processes, systemd
from deployer.host.errors import HostError
from deployer.host.paths import AppPaths, unit_name
from deployer.host.probe import Answer, request
from deployer.host.spec import Health

_PAUSE = 0.25
_ONE_REQUEST = 10.0
"""Seconds after which one request counts as hung, when the whole wait allows more."""


@dataclass
class Workers:
    """Which worker processes a server has had. ``gone`` counts those that ended since they were first seen twice."""

    seen: dict[int, int] = field(default_factory=dict)
    gone: int = 0

    def look(self, pid: int) -> int:
        """Take note of the server's present workers; the number of them that have ended so far."""
        present: set[int] = processes.workers(pid) if pid else set()
        for worker in present:
            self.seen[worker] = self.seen.get(worker, 0) + 1
        for worker, times in list(self.seen.items()):
            if worker not in present:
                self.gone += 1 if times > 1 else 0
                del self.seen[worker]
        return self.gone


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

    def ask(self, timeout: float, tick: Callable[[], None] = lambda: None) -> Answer:
        return request(str(self.paths.socket(self.number)), self.health, timeout, tick)

    def boot(self) -> Answer:
        """The first answer of any kind: proof that the code imports and the server serves.

        The first request also starts the service (socket activation). Raises HostError when the process ends, or
        nothing answers within the health check's timeout.
        """
        deadline = time.monotonic() + self.health.timeout
        while True:
            left = deadline - time.monotonic()
            answer = self.ask(max(0.1, min(left, _ONE_REQUEST)), self._refuse_if_crashed)
            if answer.status:
                return answer
            self._refuse_if_crashed(grace=True)
            if time.monotonic() >= deadline:
                raise self.failure(f"{answer.describe(self.health)}; waited {self.health.timeout:g} s")
            time.sleep(_PAUSE)

    def become_healthy(self) -> None:
        """Wait for a healthy answer, then for ``settle`` seconds in which nothing fails and no worker dies.

        Raises HostError saying what was answered instead, with the last log lines.
        """
        deadline = time.monotonic() + self.health.timeout
        workers = Workers()
        while True:
            answer = self.ask(max(0.1, min(deadline - time.monotonic(), _ONE_REQUEST)), self._refuse_if_crashed)
            if answer.healthy(self.health):
                break
            self._refuse_if_crashed(grace=not answer.status)
            if time.monotonic() >= deadline or 400 <= answer.status < 500:
                raise self.failure(answer.describe(self.health))
            time.sleep(_PAUSE)
        self._settle(workers)

    def _settle(self, workers: Workers) -> None:
        started = time.monotonic()
        while time.monotonic() - started < self.health.settle:
            state = self._refuse_if_crashed()
            if workers.look(state.main_pid):
                raise self.failure(
                    f"a worker process died {time.monotonic() - started:.1f} s after the first healthy answer"
                )
            time.sleep(_PAUSE)
            answer = self.ask(_ONE_REQUEST, self._refuse_if_crashed)
            if not answer.healthy(self.health):
                self._refuse_if_crashed(grace=True)
                raise self.failure(f"it was healthy, then {answer.describe(self.health)}")
        self._refuse_if_crashed()

    def _refuse_if_crashed(self, grace: bool = False) -> systemd.UnitState:
        """Raise when systemd saw the process end. ``grace`` gives systemd a moment to notice what just happened."""
        state = systemd.show(self.service)
        if grace and not state.crashed:
            time.sleep(0.3)
            state = systemd.show(self.service)
        if state.crashed:
            raise self.failure(
                "the process ended by itself" + (f" ({state.result})" if state.result != "success" else "")
            )
        return state

    def failure(self, why: str) -> HostError:
        """The refusal of this release, with the last words of its process."""
        return HostError(f"v{self.number} is not healthy: {why}", logs=systemd.own_lines(self.service, 30))


@dataclass
class Watch:
    """Judges a release that has traffic: a crash counts at once, a failed health check when it is the third in a row."""

    candidate: Candidate
    restarts: int
    main_pid: int
    workers: Workers = field(default_factory=Workers)
    failures: int = 0
    last: Answer | None = None

    def verdict(self) -> str:
        """Why the release must go; empty while it may stay."""
        state = systemd.show(self.candidate.service)
        if state.restarts > self.restarts or state.active == "failed":
            return "the process crashed"
        if state.active == "active" and state.main_pid != self.main_pid:
            return "the process ended and was started again"
        gone = self.workers.look(state.main_pid)
        if gone > max(2, len(self.workers.seen)):
            return f"{gone} worker processes died"
        self.last = self.candidate.ask(_ONE_REQUEST)
        self.failures = 0 if self.last.healthy(self.candidate.health) else self.failures + 1
        return self.last.describe(self.candidate.health) if self.failures >= 3 else ""

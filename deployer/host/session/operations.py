"""Requests that act on a running app: lock, stop, start, restart, timers, pruning, maintenance, variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from deployer.host.job import lock, prune
from deployer.host.maintenance import switch
from deployer.host.processes import lifecycle, timerrun
from deployer.host.session import requests
from deployer.host.session.laptop import end_with_laptop
from deployer.host.state.app import Context
from deployer.host.state.operator import deploylock, environment
from deployer.wire.lazydata import dataclass

_TOLD_SYSTEMD = "systemd may have been told, and carries it out by itself; fab status shows what runs"
_RUN_GOES_ON = "a run that has begun goes on by itself; fab logs shows what it prints"
_MAINTENANCE = "fab status says whether visitors get the maintenance page"


@dataclass(frozen=True)
class Operations:
    """What a session does for these. ``answer`` ends a request, ``follow`` follows a job; ``left_as`` takes what is
    known of the host should the request fail from then on."""

    ctx: Context
    answer: Callable[..., None]
    follow: Callable[[Path], None]
    left_as: Callable[[str], None]

    def handlers(self) -> Mapping[str, Callable[[Any], None]]:
        """Each by the ``op`` of its request."""
        return {
            "lock": lambda asked: self.answer(lock=deploylock.set_lock(self.ctx, asked).as_json()),
            "unlock": self._unlock,
            "stop": self._stop,
            "start": self._start,
            "restart": self._restart,
            "timer": self._timer,
            "prune": self._prune,
            "maintenance.on": self._begin_maintenance,
            "maintenance.off": self._end_maintenance,
            "stage": self._stage,
        }

    def _unlock(self, _: None) -> None:
        found = deploylock.remove_lock(self.ctx)
        self.answer(lock=found.as_json() if found else None)

    def _stop(self, _: None) -> None:
        lock.refuse_if_busy(self.ctx)
        self.left_as(_TOLD_SYSTEMD)
        self.answer(**vars(lifecycle.stop(self.ctx)))

    def _start(self, _: None) -> None:
        lock.refuse_if_busy(self.ctx)
        self.left_as(_TOLD_SYSTEMD)
        self.answer(health=lifecycle.start(self.ctx))

    def _restart(self, process: str) -> None:
        lock.refuse_if_busy(self.ctx)
        self.left_as(_TOLD_SYSTEMD)
        with end_with_laptop():
            self.answer(**vars(lifecycle.restart_process(self.ctx, process)))

    def _timer(self, name: str) -> None:
        lock.refuse_if_busy(self.ctx)
        self.left_as(_RUN_GOES_ON)
        with end_with_laptop():
            self.answer(status=timerrun.run(self.ctx, name))

    def _prune(self, asked: prune.PruneRequest) -> None:
        if asked.dry:
            self.answer(releases=prune.prunable(self.ctx, asked.prune))
        else:
            self.follow(lock.submit(self.ctx, asked.prune))

    def _begin_maintenance(self, asked: requests.MaintenanceOn) -> None:
        """A deploy that runs meanwhile goes on, behind the page."""
        self.left_as(_MAINTENANCE)
        self.answer(**switch.begin(self.ctx, asked.terms, asked.by))

    def _end_maintenance(self, _: None) -> None:
        self.left_as(_MAINTENANCE)
        self.answer(**switch.end(self.ctx))

    def _stage(self, asked: requests.StageRequest) -> None:
        """Keep a change for the next release."""
        lock.refuse_if_busy(self.ctx)
        self.answer(version=environment.stage(self.ctx, asked.change, asked.by).version)

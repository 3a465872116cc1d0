"""Watches a release: one that has traffic, or a candidate that waits for its switch."""

from __future__ import annotations

import time
from typing import Callable

from deployer.host.processes import background
from deployer.host.processes.web import Watch, candidate_of
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import systemd

_WATCHED, _STANDING = 0.5, 1.0
"""Seconds between two checks of what has traffic, and of what waits for it."""
_TICK = 0.02
"""Seconds between two checks whether the watch is over."""


def watch(ctx: Context, release: Release) -> str:
    """Watch the release that serves for its ``watch`` time. Raises HostError when it must be rolled back."""
    deadline = time.monotonic() + release.spec.watch
    watch_until(ctx, release, lambda: time.monotonic() >= deadline)
    return f"healthy for {release.spec.watch:g} s"


def watch_until(ctx: Context, release: Release, enough: Callable[[], bool]) -> None:
    """Watch everything of the release that serves until ``enough()``. Raises HostError when it is not healthy."""
    web = _web(ctx, release)

    def look() -> bool:
        well = web()
        background.refuse_if_broken(ctx, release.number)
        return well

    _look_until(enough, look, _WATCHED)


def stand_by(ctx: Context, release: Release, current: Release | None, enough: Callable[[], bool]) -> None:
    """Watch a candidate that waits for its switch. Raises HostError when it is no longer healthy."""
    if not release.stalls(current):
        _look_until(enough, _web(ctx, release), _STANDING)


def _look_until(enough: Callable[[], bool], look: Callable[[], bool], every: float) -> None:
    """Never ends on a check that found a fault which is not yet a failure."""
    due, well = time.monotonic(), True
    while not (enough() and well):
        if time.monotonic() >= due:
            well = look()
            due = time.monotonic() + every
        time.sleep(_TICK)


def _web(ctx: Context, release: Release) -> Callable[[], bool]:
    """The check of the web process: whether it is healthy. Raises HostError when it has failed."""
    if release.spec.web is None:
        return lambda: True
    recycles = any("max-requests" in argument for argument in release.spec.web.args)
    candidate = candidate_of(ctx, release)
    judges: list[Watch] = []

    def look() -> bool:
        if not judges:
            state = systemd.show(candidate.service)
            judges.append(Watch(candidate=candidate, main_pid=state.main_pid, recycles=recycles))
        why = judges[0].verdict()
        if why:
            raise candidate.failure(why, judges[0].last if judges[0].failures else None)
        return judges[0].failures == 0

    return look

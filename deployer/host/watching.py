"""Looking after a release that runs: one that has traffic, and a candidate that waits for its switch."""

from __future__ import annotations

import time
from typing import Callable

from deployer.host import systemd
from deployer.host.candidate import Candidate, Watch
from deployer.host.catalog import Release
from deployer.host.context import Context
from deployer.host.handover import candidate_of

_WATCHED, _STANDING = 0.5, 1.0
"""Seconds between two looks at what has traffic, and at what waits for it."""
_TICK = 0.02
"""Seconds between two questions whether it was watched enough."""


def watch(ctx: Context, release: Release) -> str:
    """Look after the release that serves now for a while. Raises HostError when it must be taken back."""
    deadline = time.monotonic() + release.spec.watch
    watch_until(ctx, release, lambda: time.monotonic() >= deadline)
    return f"healthy for {release.spec.watch:g} s"


def stand_by(ctx: Context, release: Release, current: Release | None, enough: Callable[[], bool]) -> None:
    """Look after a candidate that waits for its switch. Raises HostError when it goes bad: nobody has switched yet."""
    if current is None or release.spec.overlap:
        watch_until(ctx, release, enough, every=_STANDING)


def watch_until(ctx: Context, release: Release, enough: Callable[[], bool], *, every: float = _WATCHED) -> None:
    """Look after what runs, about ``every`` so many seconds, until it is ``enough``. Raises HostError when it is not
    healthy any more."""
    candidate = candidate_of(ctx, release)
    judge: Watch | None = None
    look = time.monotonic()
    while not enough():
        if time.monotonic() >= look:
            judge = judge or _judge(candidate, release)
            why = judge.verdict()
            if why:
                raise candidate.failure(why)
            look = time.monotonic() + every
        time.sleep(_TICK)


def _judge(candidate: Candidate, release: Release) -> Watch:
    state = systemd.show(candidate.service)
    recycles = release.spec.web is not None and any("max-requests" in one for one in release.spec.web.args)
    return Watch(candidate=candidate, main_pid=state.main_pid, recycles=recycles)

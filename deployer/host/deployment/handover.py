"""The phases ``start check switch drain``: how traffic moves from one release to the next."""

from __future__ import annotations

import time
from dataclasses import replace

from deployer.host.errors import HostError
from deployer.host.processes import background, commands, watch
from deployer.host.processes.web import candidate_of
from deployer.host.state import lease
from deployer.host.state.app import Context
from deployer.host.state.paths import unit_name
from deployer.host.state.releases import Release
from deployer.host.system import files, orders, proc, systemd
from deployer.host.units.install import refuse_current, remove_units
from deployer.wire.advice import do
from deployer.wire.causes import Cause
from deployer.wire.protocol import WEB
from deployer.wire.sizes import size

_SOON = 1.0
"""Seconds after which people are told what is waited for."""
_RESERVE = 32 * 1024 * 1024
"""Bytes of memory that must be left when a second generation is up."""


def start(ctx: Context, release: Release, current: Release | None) -> str:
    """Start the release beside the one that serves, up to its first answer. Raises HostError when it does not boot.

    What takes no requests would take jobs: it starts at the switch.
    """
    if current is not None:
        check_memory(ctx, release, current)
    if release.spec.web is None:
        return "no web process here: all starts at the switch"
    candidate = candidate_of(ctx, release)
    systemd.systemctl("reset-failed", candidate.service, candidate.socket)
    orders.start([candidate.socket])
    if release.stalls(current):
        return "overlap = false: starts after the switch"
    started = time.monotonic()
    candidate.boot()
    return f"answers after {time.monotonic() - started:.1f} s"


TWO_GENERATIONS = Cause(
    "no-memory-for-two",
    "the free memory is less than what one generation of the app's processes takes",
    "there is not memory enough for two generations of {app}: one needs {needed}, {available} are free",
    do("fewer workers, or more memory or swap")
    + do("or overlap = false under [web] in deploy.toml: requests then wait while the old generation stops and the new "
         "one starts"),
)  # fmt: skip


def check_memory(ctx: Context, release: Release, current: Release) -> None:
    """Raises HostError when the host has no room for two generations, naming the ways out."""
    beside = systemd.show_all(_side_by_side(ctx, release, current))
    web = release.spec.web
    said = web.memory if web is not None and not release.stalls(current) else 0
    needed = said or sum(proc.resident(state.main_pid) for state in beside.values())
    available = proc.memory().available
    if not beside or needed + _RESERVE <= available:
        return
    raise HostError(
        **TWO_GENERATIONS.told(app=ctx.app, needed=size(needed), available=size(available)),
    )


def _side_by_side(ctx: Context, release: Release, current: Release) -> list[str]:
    """The units that run while those of the new release do."""
    kinds = {process.name for process in release.spec.processes if process.overlap}
    if release.spec.web is not None and not release.stalls(current):
        kinds.add(WEB)
    spec = current.spec
    names = [WEB] if spec.web is not None else []
    names += [one for process in spec.processes for one in process.instances()]
    return [unit_name(ctx.app, one, current.number, "service") for one in names if one.partition(".")[0] in kinds]


def check(ctx: Context, release: Release, current: Release | None, *, proven: bool) -> str:
    """The private health check. A release whose very parts have served before need not settle again."""
    checked = [] if proven else commands.check_processes(ctx, release)
    told = [f"{', '.join(checked)} checked"] if checked else []
    if release.stalls(current):
        told.append("overlap = false: web is checked after the switch")
    elif release.spec.web is not None:
        told.append(_become_healthy(ctx, release, proven))
    return "; ".join(told) or "nothing to check before the switch"


def _become_healthy(ctx: Context, release: Release, proven: bool) -> str:
    candidate = candidate_of(ctx, release)
    if proven:
        candidate = replace(candidate, health=replace(candidate.health, settle=0.0))
    candidate.become_healthy()
    health = candidate.health
    settled = f", stayed so for {health.settle:g} s" if health.settle else ""
    return f"GET {health.path} is healthy{settled}"


def point(ctx: Context, release: Release, previous: Release | None) -> None:
    """The one rename that moves code and traffic together."""
    try:
        files.point(ctx.paths.current, f"releases/{release.name}")
    except OSError:
        if ctx.catalog.current() != release.number:
            raise  # else it is switched, and only not known to be durable: after a power cut the record decides
    ctx.emit("switched", to=release.name, previous=previous.name if previous else "")


def after_switch(ctx: Context, release: Release, current: Release | None, *, proven: bool) -> str:
    """Processes and timers change hands. For ``overlap = false`` it is now that the one web process stops and the other
    starts: requests wait in the new one's socket."""
    if current is not None and release.stalls(current):
        retire_service(ctx, current)
        candidate_of(ctx, release).boot()
        _become_healthy(ctx, release, proven)
    background.hand_over(ctx)
    with_it = "".join(f", {name}" for name in background.described(release))
    return f"{current.name if current else 'nothing'} → {release.name}{with_it}"


def revive(ctx: Context, release: Release) -> None:
    """Have a release run that is current and was not judged yet. Raises HostError."""
    if release.spec.web is not None:
        candidate = candidate_of(ctx, release)
        orders.start([candidate.socket])
        candidate.boot()
    background.hand_over(ctx)


def wake(ctx: Context, release: Release, current: Release | None) -> None:
    """Have a candidate listen, and answer well, that was started a while ago. Raises HostError."""
    if release.spec.web is None:
        return
    orders.start([candidate_of(ctx, release).socket])
    if not release.stalls(current):
        candidate_of(ctx, release).boot()
        _become_healthy(ctx, release, proven=True)


def drain(ctx: Context, release: Release, current: Release | None) -> str:
    """Let the old release finish all it has accepted, then stop its process. Its socket stays, held by systemd.

    A connection that was on its way during the rename would thus start it again rather than be refused. Jobs in hand
    are waited for as long as requests would be; who takes longer goes on alone, and is no hindrance.
    """
    if current is None:
        return "nothing served before"
    started = time.monotonic()
    if current.spec.web is not None:
        retire_service(ctx, current)
    left = _await_jobs(ctx, release, current)
    told = f"{current.name} finished in {time.monotonic() - started:.1f} s"
    if left:
        told += f"; left to finish what is in hand: {background.process_names(ctx, left)}"
    return told


def _await_jobs(ctx: Context, release: Release, current: Release) -> list[str]:
    """Wait for what was told to stop, and look after what runs meanwhile; the units that take longer."""
    units = background.units_of(ctx, current.number)
    if units.lasting or units.runs:
        watch.watch_until(ctx, release, _Jobs(ctx, release, current).are_done)
    return background.still_running(ctx, current.number)


class _Jobs:
    """What an older release has in hand: it is waited for, for some time; by whom it must not overlap, to its end."""

    def __init__(self, ctx: Context, release: Release, current: Release) -> None:
        self._ctx, self._release, self._current = ctx, release, current
        self._began, self._told = time.monotonic(), False

    def are_done(self) -> bool:
        """Whether there is nothing more to wait for. What is waited for is told once it takes longer than a moment."""
        up = background.still_running(self._ctx, self._current.number)
        waited = time.monotonic() - self._began
        enough = not up or waited >= self._current.spec.drain
        if enough and not background.is_starting(self._ctx, self._release.number):
            return True
        if waited > _SOON and up and not self._told:
            self._told = True
            names = background.process_names(self._ctx, up)
            self._ctx.emit("note", text=f"{self._current.name} finishes what it has in hand: {names}")
        return False


def retire_service(ctx: Context, release: Release) -> float:
    """Wait until nobody waits in the accept queue, then stop the service gracefully. Returns the seconds it took.

    Stopping first would reset the queue: 168 of 2,017 requests lost under overload, against 0 (measured).
    """
    refuse_current(ctx, release)
    started = time.monotonic()
    wait_for_queue(ctx, release, release.spec.drain)
    orders.stop([candidate_of(ctx, release).service], timeout=release.spec.drain + 30)
    return time.monotonic() - started


def wait_for_queue(ctx: Context, release: Release, seconds: float) -> bool:
    """True once the release's accept queue was seen empty twice; False when ``seconds`` ran out first."""
    path, deadline, empty = str(ctx.paths.socket(release.number)), time.monotonic() + seconds, 0
    while empty < 2:
        empty = empty + 1 if proc.waiting_connections(path) == 0 else 0
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def retire(ctx: Context, release: Release) -> None:
    """Close a release that no traffic can reach any more: first whatever still came in late, then its socket."""
    if release.spec.web is not None:
        wait_for_queue(ctx, release, release.spec.drain)
    remove_but_finishing(ctx, release)


def remove_but_finishing(ctx: Context, release: Release) -> None:
    """Take a release's units away. What has not finished yet keeps its own, and somebody who looks after it."""
    finishing = background.finishing(ctx)
    remove_units(ctx, release, but=finishing)
    if finishing:
        lease.start_watchdog(ctx.paths)  # who looks for what has finished, if nobody does already

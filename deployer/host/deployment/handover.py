"""The phases ``start check switch drain``: how traffic moves from one release to the next."""

from __future__ import annotations

import time
from dataclasses import replace

from deployer.host.errors import HostError
from deployer.host.processes import background, commands, watch
from deployer.host.processes.web import candidate_of
from deployer.host.state import lease
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import unit_name
from deployer.host.state.releases import Release
from deployer.host.system import orders, proc, systemd
from deployer.host.units.install import refuse_current, remove_units
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.protocol import WEB
from deployer.wire.sizes import size

_SOON = 1.0
"""Seconds after which a note says what is waited for."""
_RESERVE = 32 * 1024 * 1024
"""Bytes of memory that must stay free while two generations run."""


def start(ctx: Context, release: Release, current: Release | None) -> str:
    """Start the release's web process beside the one that serves, and wait for its first answer.

    Background processes start at the switch: before it they would already take jobs. Raises HostError.
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
    """Raises HostError when the host has no memory for two generations."""
    beside = systemd.show_all(_side_by_side(ctx, release, current))
    web = release.spec.web
    configured = web.memory if web is not None and not release.stalls(current) else 0
    needed = configured or sum(proc.resident(state.main_pid) for state in beside.values())
    available = proc.memory().available
    if not beside or needed + _RESERVE <= available:
        return
    raise HostError(
        **TWO_GENERATIONS.told(app=ctx.app, needed=size(needed), available=size(available)),
    )


def _side_by_side(ctx: Context, release: Release, current: Release) -> list[str]:
    """The units of the current release that run while those of the new one do."""
    kinds = {process.name for process in release.spec.processes if process.overlap}
    if release.spec.web is not None and not release.stalls(current):
        kinds.add(WEB)
    spec = current.spec
    names = [WEB] if spec.web is not None else []
    names += [one for process in spec.processes for one in process.instances()]
    return [unit_name(ctx.app, one, current.number, "service") for one in names if one.partition(".")[0] in kinds]


def check(ctx: Context, release: Release, current: Release | None, *, proven: bool) -> str:
    """The private health check. ``proven``: exactly these parts have served before and need not settle again."""
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
        ctx.catalog.point(release.number)
    except OSError:
        if ctx.catalog.current() != release.number:
            raise  # else it is switched, but perhaps not durably: after a power cut the record decides
    ctx.emit("switched", to=release.name, previous=previous.name if previous else "")
    if maintenance.is_on(ctx.paths):
        ctx.emit("note", text=f"maintenance is on: visitors get its page, and {release.name} after fab maintenance off")


def after_switch(ctx: Context, release: Release, current: Release | None, *, proven: bool) -> str:
    """Hand processes and timers over. With ``overlap = false`` the old web process stops now and the new one starts:
    requests wait in the new one's socket."""
    if current is not None and release.stalls(current):
        retire_service(ctx, current)
        candidate_of(ctx, release).boot()
        _become_healthy(ctx, release, proven)
    background.hand_over(ctx)
    stays = " (stopped)" if maintenance.workers_stopped(ctx.paths) else ""
    with_it = "".join(f", {name}{stays}" for name in background.described(release))
    return f"{current.name if current else 'nothing'} → {release.name}{with_it}"


def revive(ctx: Context, release: Release) -> None:
    """Start a release again that is current and still unfinished. Raises HostError."""
    if release.spec.web is not None:
        candidate = candidate_of(ctx, release)
        orders.start([candidate.socket])
        candidate.boot()
    background.hand_over(ctx)


def wake(ctx: Context, release: Release, current: Release | None) -> None:
    """Check again a candidate that was started a while ago; start it if it is down. Raises HostError."""
    if release.spec.web is None:
        return
    orders.start([candidate_of(ctx, release).socket])
    if not release.stalls(current):
        candidate_of(ctx, release).boot()
        _become_healthy(ctx, release, proven=True)


def drain(ctx: Context, release: Release, current: Release | None) -> str:
    """Let the old release finish all requests it has accepted, then stop its web process. systemd keeps its socket: a
    connection made during the rename starts the process again instead of being refused.

    Jobs in progress are waited for as long as requests would be; one that takes longer goes on by itself.
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
    """Wait for what was told to stop, and watch the new release meanwhile. Returns the units that take longer."""
    units = background.units_of(ctx, current.number)
    if units.lasting or units.runs:
        watch.watch_until(ctx, release, _Jobs(ctx, release, current).are_done)
    return background.still_running(ctx, current.number)


class _Jobs:
    """The jobs that an older release finishes: waited for up to ``drain`` seconds, but to their end where a process of
    the new release must not overlap with them."""

    def __init__(self, ctx: Context, release: Release, current: Release) -> None:
        self._ctx, self._release, self._current = ctx, release, current
        self._began, self._told = time.monotonic(), False

    def are_done(self) -> bool:
        """Whether there is nothing left to wait for. A wait of more than ``_SOON`` is reported once."""
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
    """Wait until the accept queue is empty, then stop the service gracefully. Returns the seconds it took.

    Stopping first would reset the queue: 168 of 2,017 requests were lost under overload, against 0 (measured).
    """
    refuse_current(ctx, release)
    started = time.monotonic()
    wait_for_queue(ctx, release, release.spec.drain)
    orders.stop([candidate_of(ctx, release).service], timeout=release.spec.drain + 30)
    return time.monotonic() - started


def wait_for_queue(ctx: Context, release: Release, seconds: float) -> bool:
    """True once the release's accept queue was seen empty twice; False when ``seconds`` ran out first."""
    return wait_for_empty_queue(str(ctx.paths.socket(release.number)), seconds)


def wait_for_empty_queue(path: str, seconds: float) -> bool:
    """The same for any listening Unix socket."""
    deadline, empty = time.monotonic() + seconds, 0
    while True:
        empty = empty + 1 if proc.waiting_connections(path) == 0 else 0
        if empty == 2:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def retire(ctx: Context, release: Release) -> None:
    """Remove the units of a release that served well and gets no new traffic, once its late requests are answered."""
    if release.spec.web is not None:
        wait_for_queue(ctx, release, release.spec.drain)
    remove_but_finishing(ctx, release)


def remove_but_finishing(ctx: Context, release: Release) -> None:
    """Remove a release's units, except those that still finish a job; the recovery timer removes these later."""
    finishing = background.finishing(ctx) if background.may_finish(release) else {}
    remove_units(ctx, release, but=finishing)
    if finishing:
        lease.start_watchdog(ctx.paths)

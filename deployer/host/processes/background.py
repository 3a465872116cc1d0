"""The background of a release, processes and timers: how it passes from one release to the next.

The rule: a process that was told to stop takes no new job and finishes the current one; a process that must wait for
that waits in systemd (:func:`deployer.host.units.install.older_services`). What still finishes outlives the deploy
(:func:`finishing`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from deployer.host.processes.web import crashed, ending, failure
from deployer.host.state.app import Context
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import UnitName, parse_unit
from deployer.host.state.releases import Release
from deployer.host.system import files, orders, systemd
from deployer.host.units import install
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import WEB

_POLL = 0.1
_UP = ("active", "activating", "reloading", "deactivating")


@dataclass(frozen=True)
class BackgroundUnits:
    """The background units of a release on this host: processes, timers, and the services that timers run."""

    processes: tuple[str, ...] = ()
    timers: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def lasting(self) -> list[str]:
        """The units that are started and stay up."""
        return [*self.timers, *self.processes]


def units_of(ctx: Context, number: int) -> BackgroundUnits:
    """The background units of a release, read from its unit files: its record may be unreadable."""
    found = [(name, unit) for name in install.on_disk(ctx, number) if (unit := parse_unit(ctx.app, name))]
    services = [name for name, unit in found if unit.kind == "service" and unit.process != WEB]
    runs = [name for name in services if _runs_once(ctx.paths.units / name)]
    return BackgroundUnits(
        processes=tuple(name for name in services if name not in runs),
        timers=tuple(name for name, unit in found if unit.kind == "timer"),
        runs=tuple(runs),
    )


def _runs_once(path: Path) -> bool:
    """Whether a service is a timer's run. A run that goes on may have outlived its timer."""
    with contextlib.suppress(OSError):
        return "Type=oneshot" in files.read_text(path).splitlines()
    return False


def hand_over(ctx: Context) -> None:
    """Have the processes and timers of the release that serves run, and those of no other. Raises HostError.

    Where maintenance has stopped them, none does, but for a timer's run that is under way. What serves is read here: a
    caller without the lock may have waited. Idempotent: if it is interrupted, the next call completes it. Waits neither
    for ends nor for starts; the watch sees a process that fails to start.
    """
    number = ctx.catalog.current()
    if not number:
        return
    new = units_of(ctx, number)
    old = [units_of(ctx, other) for other in install.numbers(ctx) if other != number]
    timers = [name for units in old for name in units.timers]
    if timers:
        orders.ensure_stopped(timers)
        _carry_stamps(ctx, timers, new.timers)
    stopping = [name for units in old for name in (*units.processes, *_runs_taken_back(units, number, ctx))]
    with files.locked(ctx.paths.releases):  # maintenance may begin or end at this moment
        stopped = maintenance.workers_stopped(ctx.paths)
        if stopped and new.timers:
            orders.ensure_stopped(new.timers)
        stopping += new.processes if stopped else ()
        if stopping:
            orders.ensure_stopped(stopping, wait=False)
        if new.lasting and not stopped:
            orders.start(new.lasting, wait=False)


def _runs_taken_back(units: BackgroundUnits, number: int, ctx: Context) -> list[str]:
    """Runs of releases newer than what serves, which were rolled back. They must not go on beside the next run: that
    waits only for runs of older releases (:func:`deployer.host.units.text.run_unit`)."""
    return [name for name in units.runs if (unit := parse_unit(ctx.app, name)) and unit.number > number]


def stop_later(ctx: Context, number: int) -> None:
    """Tell a release that has no successor to take no more jobs. Does not wait for the current ones."""
    units = units_of(ctx, number)
    if units.timers:
        orders.ensure_stopped(units.timers)
    if units.processes or units.runs:
        orders.ensure_stopped([*units.processes, *units.runs], wait=False)


def wait_for_end(ctx: Context, number: int, seconds: float) -> None:
    """Wait up to ``seconds`` until nothing of a release that was told to stop is up."""
    deadline = time.monotonic() + seconds
    while still_running(ctx, number) and time.monotonic() < deadline:
        time.sleep(_POLL)


def start(ctx: Context) -> None:
    """As at boot: earlier crashes no longer count, then :func:`hand_over`. Raises HostError."""
    names = units_of(ctx, ctx.catalog.current()).lasting
    if names:
        systemd.systemctl("reset-failed", *names)
    hand_over(ctx)


def _carry_stamps(ctx: Context, olds: Sequence[str], news: Sequence[str]) -> None:
    """Give each timer the last run of its predecessor, so that a run that fell due in between is caught up on.

    systemd keeps it as the modification time of a file named after the unit (systemd.timer(5), ``Persistent=``). A
    timer with a new schedule has missed nothing.
    """
    for new in news:
        for old in olds:
            with contextlib.suppress(OSError):
                if _times(ctx, old) == _times(ctx, new):
                    _carry(ctx.paths.stamps / f"stamp-{old}", ctx.paths.stamps / f"stamp-{new}")


def _times(ctx: Context, timer: str) -> list[str]:
    """What a timer runs, and when: read from its unit file."""
    lines = files.read_text(ctx.paths.units / timer).splitlines()
    unit = parse_unit(ctx.app, timer)
    return [unit.process if unit else "", *(line for line in lines if line.startswith("OnCalendar="))]


def _carry(old: Path, new: Path) -> None:
    """Give ``new`` the time of ``old``, unless it is younger: then it has run since."""
    last = old.stat().st_mtime_ns
    if not new.exists() or new.stat().st_mtime_ns < last:
        files.write_file(new, b"", 0o644, modified=last)


def refuse_if_broken(ctx: Context, number: int) -> None:
    """Raises HostError when a process of a release has crashed or does not run. One that waits to start is fine, and so
    are those that maintenance has stopped."""
    if maintenance.workers_stopped(ctx.paths):
        return
    states = systemd.show_all(units_of(ctx, number).processes)
    for name, state in states.items():
        unit = parse_unit(ctx.app, name)
        process = unit.process if unit else name
        if crashed(state):
            raise failure(ctx.paths, number, f"the process {process} ended by itself{ending(name)}", name)
        if state.active not in _UP and not state.queued:
            raise failure(ctx.paths, number, f"the process {process} does not run", name)


def is_starting(ctx: Context, number: int) -> bool:
    """Whether a process of a release still waits to start."""
    return any(state.queued for state in systemd.show_all(units_of(ctx, number).processes).values())


def still_running(ctx: Context, number: int) -> list[str]:
    """Units of an older release that have not ended yet: processes, and runs of its timers."""
    units = units_of(ctx, number)
    states = systemd.show_all([*units.processes, *units.runs])
    return [name for name, state in states.items() if state.active in _UP]


def may_finish(release: Release) -> bool:
    """Whether a release has anything that may still finish a job: only then systemd need be asked."""
    return bool(release.spec.processes or release.spec.timers)


def finishing(ctx: Context) -> dict[str, UnitName]:
    """Units of any release that end by themselves: processes that were told to stop, and runs of timers.

    Raises HostError when systemd does not answer: their code would be removed under them.
    """
    states = "--state=activating,deactivating"
    shown = systemd.ask("list-units", "--plain", "--no-legend", states, f"{ctx.app}-*@v*.service")
    found = {line.split()[0]: line.split()[2] for line in shown.splitlines() if len(line.split()) > 2}
    units = {name: unit for name in found if (unit := parse_unit(ctx.app, name)) and unit.process != WEB}
    runs = _oneshots([name for name in units if found[name] != "deactivating"])
    return {name: unit for name, unit in units.items() if found[name] == "deactivating" or name in runs}


def finishing_numbers(ctx: Context) -> set[int]:
    """The releases of which something still runs to its end and needs its code. Raises HostError."""
    return {unit.number for unit in finishing(ctx).values()}


def _oneshots(names: Sequence[str]) -> set[str]:
    """The units that run once: timers' runs. A process that is starting is not one."""
    shown = systemd.properties(names, "Type")
    return {name for name, values in zip(names, shown) if values.get("Type") == "oneshot"}


def process_names(ctx: Context, names: Iterable[str]) -> str:
    """The processes of units, for people: ``worker, worker.2``."""
    return ", ".join(sorted(unit.process for name in names if (unit := parse_unit(ctx.app, name))))


def described(release: Release) -> list[str]:
    """The processes and timers of a release, for people."""
    processes = [one.name + (f" ×{one.count}" if one.count > 1 else "") for one in release.spec.processes]
    return [*processes, *(f"timer {one.name}" for one in release.spec.timers)]

"""What of a release takes no requests, processes and timers: how it goes from one release to the next.

The one rule: what was told to stop takes no new job from then on, and finishes the one in hand; who must wait for that
waits in systemd (see :func:`deployer.host.units.install.older`). What is left to finish outlives the deploy: see
:func:`finishing`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.host.processes.web import crashed, ending, failure
from deployer.host.state.app import Context
from deployer.host.state.paths import UnitName, parse_unit
from deployer.host.state.releases import Release
from deployer.host.system import files, orders, systemd
from deployer.host.units import install
from deployer.wire.protocol import WEB

_POLL = 0.1
_UP = ("active", "activating", "reloading", "deactivating")


@dataclass(frozen=True)
class Units:
    """The background units of a release on this host: those of its processes, its timers, and what these run."""

    processes: tuple[str, ...] = ()
    timers: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def lasting(self) -> list[str]:
        """All that is started, and stays up."""
        return [*self.timers, *self.processes]


def units_of(ctx: Context, number: int) -> Units:
    """Read from the unit files, which also a release has whose record cannot be read."""
    found = [(name, unit) for name in install.on_disk(ctx, number) if (unit := parse_unit(ctx.app, name))]
    services = [name for name, unit in found if unit.kind == "service" and unit.process != WEB]
    runs = [name for name in services if _runs_once(ctx.paths.units / name)]
    return Units(
        processes=tuple(name for name in services if name not in runs),
        timers=tuple(name for name, unit in found if unit.kind == "timer"),
        runs=tuple(runs),
    )


def _runs_once(path: Path) -> bool:
    """Whether a service is a timer's run. One that still goes on may have outlived its timer."""
    with contextlib.suppress(OSError):
        return "Type=oneshot" in files.read_text(path).splitlines()
    return False


def hand_over(ctx: Context) -> None:
    """Have the processes and timers of what serves now run, and those of no other release. Raises HostError.

    What serves is read here and now: whoever calls this without the lock may have waited since he looked.
    Level-triggered, so that it can be repeated: whoever is killed on the way is followed by somebody who begins again.
    Neither ends nor starts are waited for; a process that fails to start is seen by whoever watches.
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
    if stopping:
        orders.ensure_stopped(stopping, wait=False)
    if new.lasting:
        orders.start(new.lasting, wait=False)


def _runs_taken_back(units: Units, number: int, ctx: Context) -> list[str]:
    """A run of a release newer than what serves is of one that was taken back. It must not go on beside the next run:
    that waits for an older one's end only (see :func:`deployer.host.units.text.run_unit`), and for any that was told to
    stop."""
    return [name for name in units.runs if (unit := parse_unit(ctx.app, name)) and unit.number > number]


def tell_to_stop(ctx: Context, number: int) -> None:
    """Have a release that nothing takes over from begin no more jobs. What is in hand is not waited for."""
    units = units_of(ctx, number)
    if units.timers:
        orders.ensure_stopped(units.timers)
    if units.processes or units.runs:
        orders.ensure_stopped([*units.processes, *units.runs], wait=False)


def wait_for_end(ctx: Context, number: int, seconds: float) -> None:
    """Until nothing of a release is up that was told to stop, at most so long."""
    deadline = time.monotonic() + seconds
    while still_up(ctx, number) and time.monotonic() < deadline:
        time.sleep(_POLL)


def start(ctx: Context) -> None:
    """The same as at boot: crashes of before count no more. Raises HostError."""
    names = units_of(ctx, ctx.catalog.current()).lasting
    if names:
        systemd.systemctl("reset-failed", *names)
    hand_over(ctx)


def _carry_stamps(ctx: Context, olds: Sequence[str], news: Sequence[str]) -> None:
    """Give each timer the time of its forerunner's last run: what fell due between the two is made up for.

    systemd keeps it as the time of a file's last change, named by the unit (systemd.timer(5), ``Persistent=``). A timer
    that is to run at other times from now on has missed none of them.
    """
    for new in news:
        for old in olds:
            with contextlib.suppress(OSError):
                if _times(ctx, old) == _times(ctx, new):
                    _carry(ctx.paths.stamps / f"stamp-{old}", ctx.paths.stamps / f"stamp-{new}")


def _times(ctx: Context, timer: str) -> list[str]:
    """What runs, and when: read from the unit file, as :func:`units_of` does."""
    lines = files.read_text(ctx.paths.units / timer).splitlines()
    unit = parse_unit(ctx.app, timer)
    return [unit.process if unit else "", *(line for line in lines if line.startswith("OnCalendar="))]


def _carry(old: Path, new: Path) -> None:
    """Have ``new`` be of the same time, unless it is younger: it has run since then."""
    last = old.stat().st_mtime_ns
    if not new.exists() or new.stat().st_mtime_ns < last:
        files.write_file(new, b"", 0o644, modified=last)


def refuse_if_broken(ctx: Context, number: int) -> None:
    """Raises HostError when a process does not run as it should. One that waits for its turn is well."""
    states = systemd.show_all(units_of(ctx, number).processes)
    for name, state in states.items():
        unit = parse_unit(ctx.app, name)
        process = unit.process if unit else name
        if crashed(state):
            raise failure(ctx.paths, number, f"the process {process} ended by itself{ending(name)}", name)
        if state.active not in _UP and not state.queued:
            raise failure(ctx.paths, number, f"the process {process} does not run", name)


def is_starting(ctx: Context, number: int) -> bool:
    """Whether a process of a release still waits for its turn."""
    return any(state.queued for state in systemd.show_all(units_of(ctx, number).processes).values())


def still_up(ctx: Context, number: int) -> list[str]:
    """Units of an older release that have not ended yet: processes, and runs of its timers."""
    units = units_of(ctx, number)
    states = systemd.show_all([*units.processes, *units.runs])
    return [name for name, state in states.items() if state.active in _UP]


def finishing(ctx: Context) -> dict[str, UnitName]:
    """Units that come to an end by themselves: a process that was told to stop, a run of a timer. Of any release.

    Raises HostError when systemd does not say: what it would be taken for has no need of its code.
    """
    states = "--state=activating,deactivating"
    shown = systemd.ask("list-units", "--plain", "--no-legend", states, f"{ctx.app}-*@v*.service")
    found = {line.split()[0]: line.split()[2] for line in shown.splitlines() if len(line.split()) > 2}
    units = {name: unit for name in found if (unit := parse_unit(ctx.app, name)) and unit.process != WEB}
    runs = _oneshots([name for name in units if found[name] != "deactivating"])
    return {name: unit for name, unit in units.items() if found[name] == "deactivating" or name in runs}


def finishing_numbers(ctx: Context) -> set[int]:
    """The releases of which something still comes to its end, and needs its code. Raises HostError."""
    return {unit.number for unit in finishing(ctx).values()}


def _oneshots(names: Sequence[str]) -> set[str]:
    """Those that run once: a timer's runs. A process that is starting is none."""
    shown = systemd.properties(names, "Type")
    return {name for name, values in zip(names, shown) if values.get("Type") == "oneshot"}


def named(ctx: Context, names: Iterable[str]) -> str:
    """Units, for people: ``worker, worker.2``."""
    return ", ".join(sorted(unit.process for name in names if (unit := parse_unit(ctx.app, name))))


def told(release: Release) -> list[str]:
    """What of a release runs in the background, for people."""
    processes = [one.name + (f" ×{one.count}" if one.count > 1 else "") for one in release.spec.processes]
    return [*processes, *(f"timer {one.name}" for one in release.spec.timers)]

"""What of a release takes no requests, processes and timers: how it goes from one release to the next.

The one rule: what was told to stop takes no new job from then on, and finishes the one in hand; who must wait for that
waits in systemd (see :func:`deployer.host.instance.older`). What is left to finish outlives the deploy: see
:func:`finishing`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.host import instance, systemd
from deployer.host.candidate import crashed, ending, failure
from deployer.host.catalog import Release
from deployer.host.context import Context
from deployer.host.paths import UnitName, parse_unit, unit_name
from deployer.host.protocol import WEB

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
    found = [(name, unit) for name in instance.on_disk(ctx, number) if (unit := parse_unit(ctx.app, name))]
    timers = {unit.process: name for name, unit in found if unit.kind == "timer"}
    services = [(name, unit.process) for name, unit in found if unit.kind == "service" and unit.process != WEB]
    return Units(
        processes=tuple(name for name, process in services if process not in timers),
        timers=tuple(timers.values()),
        runs=tuple(name for name, process in services if process in timers),
    )


def hand_over(ctx: Context, release: Release, before: Release | None) -> None:
    """From ``before``, which served, to the one that serves now. Neither ends nor starts are waited for.

    Can be repeated. One that fails to start is seen by whoever watches; systemd tries it again.
    """
    old = units_of(ctx, before.number) if before is not None else Units()
    new = units_of(ctx, release.number)
    if old.timers and before is not None:
        systemd.systemctl("stop", *old.timers)
        _carry_stamps(ctx, before, release)
    if old.processes:
        systemd.systemctl("stop", "--no-block", *old.processes)
    if new.lasting:
        systemd.systemctl("start", "--no-block", *new.lasting)


def start(ctx: Context, number: int) -> None:
    """Start all of a release, as at boot. Crashes of before count no more."""
    names = units_of(ctx, number).lasting
    if names:
        systemd.systemctl("reset-failed", *names)
        systemd.systemctl("start", "--no-block", *names)


def _carry_stamps(ctx: Context, before: Release, release: Release) -> None:
    """Give each timer the time of its forerunner's last run: what fell due between the two is made up for.

    systemd keeps it as the time of a file's last change, named by the unit (systemd.timer(5), ``Persistent=``). A timer
    that is to run at other times from now on has missed none of them.
    """
    older = {(timer.name, timer.calendar) for timer in before.spec.timers}
    for timer in release.spec.timers:
        if (timer.name, timer.calendar) in older:
            with contextlib.suppress(OSError):
                _carry(stamp(ctx, timer.name, before.number), stamp(ctx, timer.name, release.number))


def _carry(old: Path, new: Path) -> None:
    """Have ``new`` be of the same time, unless it is younger: it has run since then."""
    last = old.stat().st_mtime_ns
    if new.exists() and new.stat().st_mtime_ns >= last:
        return
    made = new.with_name(f".{new.name}.tmp")
    made.touch(0o644)
    os.utime(made, ns=(last, last))
    os.replace(made, new)


def stamp(ctx: Context, timer: str, number: int) -> Path:
    return ctx.paths.stamps / f"stamp-{unit_name(ctx.app, timer, number, 'timer')}"


def refuse_if_broken(ctx: Context, number: int) -> None:
    """Raises HostError when a process does not run as it should. One that waits for its turn is well."""
    states = systemd.show_all(units_of(ctx, number).processes)
    for name, state in states.items():
        unit = parse_unit(ctx.app, name)
        process = unit.process if unit else name
        if crashed(state):
            raise failure(number, f"the process {process} ended by itself{ending(name)}", name)
        if state.active not in _UP and not state.queued:
            raise failure(number, f"the process {process} does not run", name)


def is_starting(ctx: Context, number: int) -> bool:
    """Whether a process of a release still waits for its turn."""
    return any(state.queued for state in systemd.show_all(units_of(ctx, number).processes).values())


def still_up(ctx: Context, number: int) -> list[str]:
    """Units of an older release that have not ended yet: processes, and runs of its timers."""
    units = units_of(ctx, number)
    states = systemd.show_all([*units.processes, *units.runs])
    return [name for name, state in states.items() if state.active in _UP]


def finishing(ctx: Context) -> dict[str, UnitName]:
    """Units that come to an end by themselves: a process that was told to stop, a run of a timer. Of any release."""
    states = "--state=activating,deactivating"
    shown = systemd.systemctl("list-units", "--plain", "--no-legend", states, f"{ctx.app}-*@v*.service").out
    found = {line.split()[0]: line.split()[2] for line in shown.splitlines() if len(line.split()) > 2}
    units = {name: unit for name in found if (unit := parse_unit(ctx.app, name)) and unit.process != WEB}
    runs = _oneshots([name for name in units if found[name] != "deactivating"])
    return {name: unit for name, unit in units.items() if found[name] == "deactivating" or name in runs}


def _oneshots(names: Sequence[str]) -> set[str]:
    """Those that run once: a timer's runs. A process that is starting is none."""
    if not names:
        return set()
    blocks = systemd.systemctl("show", "-p", "Type", *names).out.split("\n\n")
    return {name for name, block in zip(names, blocks) if block.strip() == "Type=oneshot"}


def named(ctx: Context, names: Iterable[str]) -> str:
    """Units, for people: ``worker, worker.2``."""
    return ", ".join(sorted(unit.process for name in names if (unit := parse_unit(ctx.app, name))))


def told(release: Release) -> list[str]:
    """What of a release runs in the background, for people."""
    processes = [one.name + (f" ×{one.count}" if one.count > 1 else "") for one in release.spec.processes]
    return [*processes, *(f"timer {one.name}" for one in release.spec.timers)]

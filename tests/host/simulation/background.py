"""Processes that take jobs, and timers: started and stopped in the order that their units ask for, started again
whatever way they end; who is told to stop finishes the job in hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .clock import Clock
from .service import CRASHES, WORKER_CRASHES, WORKER_DIES, WORKER_EXITS, Program, read
from .units import Table, Unit

_EXEC, _CUT, _AGAIN = 0.05, 0.1, 1.0
"""Seconds from fork to exec, from SIGTERM to the end of a run, and from a process's end to its next start."""
_ENDS = {CRASHES: (0.1, "exit-code"), WORKER_CRASHES: (0.1, "exit-code"), WORKER_DIES: (0.8, "exit-code")}
_ENDS[WORKER_EXITS] = (0.1, "success")
"""After how many seconds a process ends by itself that behaves so, and with which result."""


@dataclass
class Background:
    """``running`` are the programs of what is up, by unit. ``in_hand`` is how many seconds the job takes that a process
    has in hand, ``run_takes`` the same for a timer's run.

    ``starts`` and ``ended`` are told of each unit that begins to run, and of each that has run to its end; ``cut`` of
    one that was ended before its time. ``struck`` is when the calendar last asked for runs, and ``runs`` the timers
    that have started one.
    """

    table: Table
    clock: Clock
    stamps: Path
    in_hand: float = 0.4
    run_takes: float = 0.4
    struck: float = 0.0
    running: dict[str, Program] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    starts: Callable[[str], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None
    cut: Callable[[str], None] = lambda _: None
    pids: int = 9000

    def forget(self) -> None:
        self.running.clear()

    # systemd's part: jobs, and the order they run in

    def start(self, unit: Unit) -> None:
        if unit.name.endswith(".timer"):
            if unit.active != "active":
                self._wait_for_the_time(unit)
        elif unit.active in ("inactive", "failed", "deactivating") or unit.sub == "auto-restart":
            unit.job = "start"
            self._dispatch()
        elif unit.sub == "running":
            unit.job = ""

    def stop(self, unit: Unit) -> bool:
        """False when systemd refuses it: two that are each ordered after the other cannot be stopped at a time."""
        if any(one.job == "stop" and one.name in unit.after and unit.name in one.after for one in self._others(unit)):
            return False
        if unit.name.endswith(".timer") or unit.sub.startswith("auto-restart"):
            unit.job = ""
            unit.becomes("inactive", "dead", "success")
            self._dispatch()
        elif unit.active in ("inactive", "failed"):
            unit.job = ""
            self._dispatch()
        else:
            unit.job = "stop"
            self._dispatch()
        return True

    def _others(self, unit: Unit) -> list[Unit]:
        return [one for one in self.table.units.values() if one is not unit]

    def kill(self, unit: Unit) -> None:
        """SIGKILL of its process."""
        self.cut(unit.name)
        self._over(unit, "signal") if unit.active == "deactivating" else self.exits(unit, "signal")

    def _dispatch(self) -> None:
        """Begin each job that need not wait."""
        for unit in [one for one in self.table.units.values() if one.job]:
            if self._waits(unit):
                continue
            if unit.job == "stop" and unit.active in ("active", "activating"):
                self._tell_to_stop(unit)
            elif unit.job == "start" and unit.active in ("inactive", "failed"):
                unit.restarts = 0
                self._exec(unit)
            elif unit.job == "start" and unit.sub == "auto-restart-queued":
                self._exec(unit)

    def _waits(self, unit: Unit) -> bool:
        """Of two that are ordered, in whichever way, one that is to start waits for the other's stop; of two that are
        to start, and of two that are to stop the other way about, the first comes first (systemd.unit(5), Before=)."""
        for other in self._others(unit):
            if other.job and unit.job == "start" and other.name in unit.after:
                return True
            if other.job == "stop" and unit.name in other.after:
                return True
        return False

    def _exec(self, unit: Unit) -> None:
        self.pids += 10
        unit.pid = self.pids
        unit.becomes("activating", "start", "success")
        unit.entered = self.clock.now
        self.running[unit.name] = read(unit.directives)
        self.starts(unit.name)
        if unit.is_oneshot:
            self._later(unit, self.run_takes, lambda: self._over(unit, "success"))
        else:
            self._later(unit, _EXEC, lambda: self._is_up(unit))

    def _is_up(self, unit: Unit) -> None:
        unit.becomes("active", "running")
        unit.job = "" if unit.job == "start" else unit.job
        after, result = _ENDS.get(self.running[unit.name].behaviour, (0.0, ""))
        if result:
            self._later(unit, after, lambda: self.exits(unit, result))
        self._dispatch()

    def _tell_to_stop(self, unit: Unit) -> None:
        takes, most = self.in_hand, float(unit.directives["TimeoutStopSec"][-1])
        if unit.is_oneshot:  # SIGTERM ends it
            takes = _CUT
            self.cut(unit.name)
        unit.becomes("deactivating", "stop-sigterm")
        self._later(unit, min(takes, most), lambda: self._over(unit, "success" if takes <= most else "timeout"))

    def _over(self, unit: Unit, result: str) -> None:
        """It has come to its end, and is to start again only if somebody asked for that."""
        self.ended(unit.name)
        self.running.pop(unit.name, None)
        unit.pid = 0
        unit.job = "start" if unit.job == "start" and unit.active == "deactivating" else ""
        unit.becomes("inactive" if result == "success" else "failed", "dead", result)
        self._dispatch()
        self.table.collect()

    def exits(self, unit: Unit, result: str) -> None:
        """It ends without having been asked."""
        if unit.is_oneshot or unit.job == "stop":
            self._over(unit, result)
            return
        self.running.pop(unit.name, None)
        unit.pid = 0
        unit.becomes("activating", "auto-restart", result)
        self._later(unit, _AGAIN, lambda: self._again(unit))

    def _again(self, unit: Unit) -> None:
        unit.restarts += 1
        unit.job = "start"
        unit.becomes("activating", "auto-restart-queued")
        self._dispatch()

    def _later(self, unit: Unit, seconds: float, action: Callable[[], None]) -> None:
        """Unless it comes to something else meanwhile."""
        spell = unit.spell
        self.clock.later(seconds, lambda: action() if unit.spell == spell else None)

    # timers

    def strike(self) -> None:
        """The time comes that the calendar of every timer names."""
        self.struck = self.clock.wall
        for unit in [one for one in self.table.units.values() if one.name.endswith(".timer") and not one.transient]:
            if unit.active == "active":
                self._elapse(unit)

    def _wait_for_the_time(self, timer: Unit) -> None:
        """A persistent one makes up for what it missed since its last run; one that never ran has missed nothing."""
        timer.becomes("active", "waiting", "success")
        timer.entered = self.clock.now
        if timer.directives["Persistent"] != ["yes"]:
            return
        stamp = self._stamp(timer)
        if not stamp.exists():
            self._touch(stamp)
        elif stamp.stat().st_mtime < self.struck <= self.clock.wall:
            self._elapse(timer)

    def _elapse(self, timer: Unit) -> None:
        if timer.directives["Persistent"] == ["yes"]:
            self._touch(self._stamp(timer))
        self.runs.append(timer.name)
        service = self.table.load(timer.directives["Unit"][-1])
        if service is not None:
            self.start(service)

    def _stamp(self, timer: Unit) -> Path:
        return self.stamps / f"stamp-{timer.name}"

    def _touch(self, stamp: Path) -> None:
        stamp.write_bytes(b"")
        os.utime(stamp, (self.clock.wall, self.clock.wall))

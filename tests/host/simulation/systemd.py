"""A systemd that is not real: it starts, stops, restarts and shows units, and outlives every program it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.state.paths import stop_unit
from deployer.host.system.journald import JournalEntry
from deployer.host.system.runner import CommandResult

from . import builds
from .background import Background
from .programs import DIED, TERMINATED, Programs
from .units import ALIVE, Table, Unit
from .web import Web

Main = Callable[[Sequence[str]], int]
_BURST, _INTERVAL = 5, 10.0
"""Starts of a unit that systemd allows in so many seconds, unless the unit says otherwise."""
OK = CommandResult(0, "", "")


def refused(text: str, status: int = 1) -> CommandResult:
    return CommandResult(status, "", text + "\n")


class FakeSystemd:
    """``main`` runs a program of the host by its arguments; ``state`` is the app's own directory."""

    def __init__(
        self, app: str, table: Table, web: Web, background: Background, programs: Programs, main: Main, state: Path
    ) -> None:
        self.app, self.table, self.web, self.background = app, table, web, background
        self.programs, self.main, self.state = programs, main, state
        self.clock = programs.clock
        self.told: list[str] = []
        self.prints: list[str] = []
        self.pids = 20000
        self.restarting, self.stopping, self.canceled = "", False, False
        self.synced: Callable[[], None] = lambda: None

    # what the host program calls

    def run(
        self, argv: Sequence[str], *, timeout: float = 90, stdin: bytes | None = None, user: str = ""
    ) -> CommandResult:
        """Stands in for ``runner.run``."""
        words = list(argv)
        if not self.programs.change("command", *words):
            return refused("Failed to connect to bus: Connection refused")
        result = self.programs.outside(lambda: self._run(words, timeout))
        self.programs.check_alive()
        assert isinstance(result, CommandResult)
        return result

    def stream(
        self,
        argv: Sequence[str],
        on_line: Callable[[str], None],
        *,
        stdin: bytes | None = None,
        goes_on: Callable[[], bool] | None = None,
    ) -> int:
        """Stands in for ``runner.stream``: a command in a unit of its own, which outlives who started it."""
        words = list(argv)
        if not self.programs.change("command", *words):
            return 1
        unit = self._transient(words)
        if unit is None:
            return 1
        made = self.state.parents[2] / "run" / _property(words, "RuntimeDirectory")
        self.programs.outside(lambda: made.mkdir(parents=True, exist_ok=True))
        steps = builds.deeds(unit.argv, Path(_property(words, "WorkingDirectory")), self.state)
        spell = unit.spell
        fails = "inactive" if "--collect" in words else "failed"
        unit.work = lambda: self._build(unit, steps, fails)
        self.clock.later(0.2, lambda: self._go_on(unit, spell))
        while unit.active in ALIVE and unit.spell == spell:
            self.programs.sleep(0.2)
            self.programs.change("waits", unit.name)
        for line in ("it was built", *self.prints):
            on_line(line)
        return {"success": 0}.get(unit.result, 1)

    def terminate(self, pid: int, still: Callable[[], bool]) -> bool:
        """Stands in for ``proc.terminate``: of a job."""
        unit = next((unit for unit in self.table.units.values() if unit.pid == pid and unit.transient), None)
        process = self.programs.find(unit.name) if unit is not None else None
        if process is None or not still():
            return False
        process.end()
        return True

    def records(self, arguments: Sequence[str]) -> Iterator[JournalEntry]:
        """Stands in for ``systemd.records``: whatever runs has printed the same."""
        return (
            JournalEntry(lines=(line,), at=self.clock.wall, who="app", pid="77", host="web1") for line in self.prints
        )

    def tell(self, unit: str, text: str) -> None:
        self.told.append(f"{unit}: {text}")

    # what happens by itself

    def _go_on(self, unit: Unit, spell: int) -> None:
        if unit.spell == spell and unit.work is not None and unit.work():
            self.clock.later(0.2, lambda: self._go_on(unit, spell))

    def _build(self, unit: Unit, steps: list[builds.Deed], fails: str) -> bool:
        """One step of a command; False when that was the last."""
        try:
            if steps:
                if self.programs.disk_error():
                    raise OSError(self.programs.disk_error(), "the disk")
                steps.pop(0)()
                return True
            unit.becomes("inactive", "dead", "success")
        except OSError:
            unit.becomes(fails, "dead", "exit-code")
        return False

    def boot(self) -> None:
        """The host was switched on: nothing of what was is left but the files. APP.service is started."""
        self.table.units.clear()
        self.stopping = self.canceled = False
        self.web.forget()
        self.background.forget()
        if (self.table.directory / f"{self.app}.service").exists():
            self._start_handle(f"{self.app}.service", wait=True)

    # programs in units of their own

    def _transient(self, words: list[str]) -> Unit | None:
        """A new unit, started; None when one of that name is there."""
        name = next(word.partition("=")[2] for word in words if word.startswith("--unit="))
        there = self.table.load(name)
        if there is not None and (there.active in ALIVE or not there.transient):
            return None
        unit = self.table.units[name] = Unit(name, transient=True)
        unit.argv = tuple(words[words.index("--") + 1 :])
        unit.description = _property(words, "Description")
        unit.restart = _property(words, "Restart") == "on-failure"
        if _property(words, "Type") == "oneshot":
            unit.text = "Type=oneshot\n"
            unit.becomes("activating", "start", "success")
        else:
            unit.becomes("active", "running", "success")
            unit.entered = self.clock.now
        return unit

    def _run_program(self, unit: Unit, spell: int) -> None:
        """Run a unit's program to its end; killed or failed, it may be started again."""
        if unit.spell != spell:
            return
        unit.becomes("active", "running")
        unit.starts.append(self.clock.now)
        spell = unit.spell
        self.pids += 1
        unit.pid = self.pids
        status = self.programs.run(unit.name, lambda: self.main(unit.argv))
        unit.pid = 0
        if unit.spell != spell:
            return  # it was stopped meanwhile
        if status == 0:
            unit.becomes("inactive", "dead", "success")
        elif unit.restart and status != TERMINATED:
            self._start_again(unit, "signal" if status == DIED else "exit-code")
        else:
            unit.becomes("inactive", "dead", "exit-code")  # --collect: a failed one is forgotten, too
        self.table.collect()

    def _start_again(self, unit: Unit, result: str) -> None:
        recent = [start for start in unit.starts if start > self.clock.now - _INTERVAL]
        if len(recent) >= _BURST:
            unit.becomes("inactive", "dead", "start-limit-hit")
            return
        unit.restarts += 1
        unit.becomes("activating", "auto-restart", result)
        spell = unit.spell
        self.clock.later(0.1, lambda: self._run_program(unit, spell))

    def _systemd_run(self, words: list[str]) -> CommandResult:
        delay = next((float(word.partition("=")[2]) for word in words if word.startswith("--on-active=")), None)
        if delay is not None:
            return self._start_timer(words, delay)
        unit = self._transient(words)
        if unit is None:
            return refused("Failed to start transient service unit: Unit was already loaded.")
        spell = unit.spell
        self.clock.later(0.0, lambda: self._run_program(unit, spell))
        return OK

    def _start_timer(self, words: list[str], delay: float) -> CommandResult:
        service = next(word.partition("=")[2] for word in words if word.startswith("--unit="))
        name = service.replace(".service", ".timer")
        there = self.table.known(name)
        if there is not None and there.active in ALIVE:
            return refused(f"Unit {name} was already loaded or has a fragment file.")
        timer = self.table.units[name] = Unit(name, transient=True)
        timer.argv = tuple(words[words.index("--") + 1 :])
        timer.becomes("active", "waiting")
        spell = timer.spell
        self.clock.later(delay, lambda: self._elapse(timer, spell, service, delay))
        return OK

    def _elapse(self, timer: Unit, spell: int, service: str, period: float) -> None:
        if timer.spell != spell:
            return
        unit = self.table.units[service] = Unit(service, transient=True, argv=timer.argv)
        unit.becomes("active", "running")
        self._run_program(unit, unit.spell)
        self.clock.later(period, lambda: self._elapse(timer, spell, service, period))

    # systemctl and the rest

    def _run(self, words: list[str], timeout: float = 90) -> CommandResult:
        self.clock.advance(0.01)
        program = words[0].rpartition("/")[2]
        if program == "env":  # it sets the zone in which times are told
            return self._run(words[2:])
        if program == "systemctl":
            return self._systemctl(words[1], words[2:], timeout)
        if program == "systemd-run":
            return self._systemd_run(words)
        if program == "ss":
            return CommandResult(0, self.web.queue_line(words[-1].partition(":")[2]), "")
        if program == "sync" and self.programs.disk_error():
            return refused("sync: Input/output error")
        if program.startswith("python"):
            return CommandResult(0, "CPython 3.11.2 x86_64\n", "")
        if program == "sync":
            self.synced()
        if program in ("systemd-analyze", "journalctl", "sync"):
            return OK
        raise AssertionError(f"a command that nobody foresaw: {words}")

    def _systemctl(self, verb: str, rest: list[str], timeout: float) -> CommandResult:
        names = [word for word in rest if not word.startswith("-")]
        if verb == "show":
            properties = rest[rest.index("-p") + 1].split(",")
            blocks = [self.table.show(name, properties) for name in rest[rest.index("-p") + 2 :] if name[0] != "-"]
            lines = ["\n".join(block) for block in blocks]
            text = "\n\n".join(lines)
            return CommandResult(0, (text.partition("=")[2] if "--value" in rest else text) + "\n", "")
        if verb == "daemon-reload":
            self.clock.advance(0.3)
            self.table.read_again()
            return OK
        if verb == "is-system-running":
            return CommandResult(0, "stopping\n" if self.programs.stopping else "running\n", "")
        if verb == "list-units":
            return CommandResult(0, self._list(rest), "")
        if verb == "list-jobs":
            jobs = [f"17 {self.restarting} restart running\n"] if self.restarting in names else []
            known = [unit for unit in map(self.table.known, names) if unit is not None and unit.job]
            return CommandResult(0, "".join([*jobs, *(f"18 {unit.name} {unit.job} waiting\n" for unit in known)]), "")
        acts = {"start": self._start, "stop": self._stop, "restart": self._restart}
        acts.update({"kill": self._kill, "reset-failed": self._reset})
        wait = "--no-block" not in rest
        results = [acts[verb](name, wait) for name in names]
        if wait and verb in ("start", "stop"):
            self._await(names, verb, timeout)
        self.table.collect()
        return next((result for result in results if not result.ok), OK)

    def _await(self, names: Sequence[str], verb: str, timeout: float) -> None:
        """What the background has to do ends in its own time. Raises HostError as ``runner.run`` does."""
        until = self.clock.now + timeout
        while any(unit.job == verb for unit in map(self.table.known, names) if unit is not None):
            if self.clock.now >= until:
                raise HostError(f"systemctl {verb} {names[0]} did not end within {timeout:.0f} s")
            self.programs.sleep(0.1)

    def _list(self, rest: list[str]) -> str:
        state = next((word.partition("=")[2] for word in rest if word.startswith("--state=")), "")
        patterns = [word for word in rest if not word.startswith("-")]
        found = [unit for pattern in patterns for unit in self.table.matching(pattern)]
        found = [unit for unit in found if state or unit.active != "inactive" or unit.job]
        wanted = [unit for unit in found if not state or {unit.active, unit.sub} & set(state.split(","))]
        return "".join(f"{unit.name} loaded {unit.active} {unit.sub} {unit.name}\n" for unit in wanted)

    def _start(self, name: str, wait: bool) -> CommandResult:
        if name == f"{self.app}.service":
            return self._start_handle(name, wait)
        unit = self.table.load(name)
        if unit is None:
            return refused(f"Failed to start {name}: Unit {name} not found.", 5)
        if self._is_of_the_background(name):
            self.background.start(unit)
            return OK
        if unit.active == "active":
            return OK
        done = self.web.start_socket(unit) if name.endswith(".socket") else self.web.start_service(unit)
        if not done and wait:
            return refused(f"Job for {name} failed because the control process exited with error code.")
        return OK

    def _is_of_the_background(self, name: str) -> bool:
        return name.startswith(f"{self.app}-") and not name.startswith(f"{self.app}-web@")

    def _start_handle(self, name: str, wait: bool) -> CommandResult:
        unit = self.table.load(name)
        if unit is None:
            return refused(f"Failed to start {name}: Unit {name} not found.", 5)
        if unit.active in ALIVE:
            return OK
        unit.becomes("activating", "start")
        status = self.programs.run(name, lambda: self.main(unit.directives["ExecStart"][-1].split()))
        if self.canceled:
            return self._stopped_while_starting(unit)
        if status in (DIED, TERMINATED) and unit.directives.get("Restart") == ["on-abnormal"]:
            status = self.programs.run(name, lambda: self.main(unit.directives["ExecStart"][-1].split()))
        if status == 0:
            unit.becomes("active", "exited", "success")
            return OK
        unit.becomes("failed", "failed", "exit-code")
        return refused(f"Job for {name} failed.")

    def _stopped_while_starting(self, unit: Unit) -> CommandResult:
        """``ExecStop=`` is only run of a unit that is active; what is part of this one is stopped all the same."""
        self.canceled = False
        unit.becomes("failed", "failed", "signal")
        self._stop_failed(unit)
        return refused(f"Job for {unit.name} canceled.")

    def _stop_failed(self, unit: Unit) -> None:
        """The unit that is part of APP.service stops the app, and forgets that its start had failed."""
        self.stopping = True
        self.programs.run(stop_unit(self.app), lambda: self.main(unit.directives["ExecStop"][-1].split()))
        self.stopping = False
        self._reset(unit.name, True)

    def _stop(self, name: str, wait: bool) -> CommandResult:
        if "*" in name:
            for unit in self.table.matching(name):
                self._stop(unit.name, wait)
            return OK
        unit = self.table.load(name)
        if unit is None:
            return refused(f"Failed to stop {name}: Unit {name} not loaded.", 5)
        if name == f"{self.app}.service" and unit.active == "active":
            self.stopping = True
            self.programs.run(name, lambda: self.main(unit.directives["ExecStop"][-1].split()))
            self.stopping = False
        elif name.startswith(f"{self.app}-web@"):
            self.web.stop(unit)
            return OK
        elif self._is_of_the_background(name):
            return OK if self.background.stop(unit) else refused(f"Failed to stop {name}: Transaction order is cyclic.")
        process = self.programs.find(name)
        if process is not None and unit.active in ALIVE:
            process.end()  # it waits for us, and hears it then
            self.canceled = self.canceled or name == f"{self.app}.service"
            return OK
        if name == f"{self.app}.service" and unit.active == "failed":
            self._stop_failed(unit)
            return OK
        if unit.transient and unit.is_oneshot and unit.active in ALIVE:
            unit.becomes("failed", "failed", "signal")
            return OK
        unit.becomes("inactive", "dead", unit.result if unit.active == "failed" else "success")
        return OK

    def _restart(self, name: str, wait: bool) -> CommandResult:
        self.restarting = name
        self._stop(name, wait)
        self.restarting = ""
        return self._start(name, wait)

    def _kill(self, name: str, wait: bool) -> CommandResult:
        unit = self.table.known(name)
        if unit is None or not unit.pid:
            return refused(f"Failed to kill unit {name}: no main process")
        if self._is_of_the_background(name):
            self.background.kill(unit)
        else:
            self.web.exits(unit, "signal")
        return OK

    def _reset(self, name: str, wait: bool) -> CommandResult:
        unit = self.table.known(name)
        if unit is None:
            return refused(f"Failed to reset failed state of unit {name}: Unit {name} not loaded.")
        unit.restarts = 0
        if unit.active == "failed":
            unit.becomes("inactive", "dead", "success")
        return OK


def _property(words: Sequence[str], name: str) -> str:
    pairs = [words[place + 1] for place, word in enumerate(words[:-1]) if word == "-p"]
    return next((pair.partition("=")[2] for pair in pairs if re.match(rf"{name}=", pair)), "")

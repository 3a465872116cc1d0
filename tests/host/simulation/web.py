"""The sockets and processes of releases, and those who call: a client comes at every moment, through ``current``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deployer.host.processes.probe import Response

from .clock import Clock
from .service import BREAKS_LATER, BROKEN, CRASHES, DIES_LATER, Program, read
from .units import Table, Unit

_GRACE = 0.4
"""Seconds that a release which goes bad once it is current takes for it."""


@dataclass
class Web:
    """``programs`` are those of the running services, by unit; ``queues`` the connections nobody has accepted.

    ``clients`` call, unless what is current has no web process (``called`` remembers that, by number).
    """

    app: str
    home: Path
    table: Table
    clock: Clock
    running: dict[str, Program] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    clients: bool = True
    called: dict[int, bool] = field(default_factory=dict)
    going_down: Callable[[], bool] = lambda: False
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    pids: int = 5000
    leads_to: str = ""  # the Location of what the app answers

    def current(self) -> int:
        """The number that ``current`` names; 0 when there is none."""
        try:
            return int(os.readlink(f"{self.home}/current").partition("/v")[2].partition("/")[0])
        except FileNotFoundError:
            return 0

    def forget(self) -> None:
        self.running.clear()
        self.since.clear()
        self.queues.clear()

    def service(self, number: int) -> str:
        return f"{self.app}-web@v{number}.service"

    def socket(self, number: int) -> str:
        return f"{self.app}-web@v{number}.socket"

    def listens(self, number: int) -> bool:
        unit = self.table.known(self.socket(number))
        return unit is not None and unit.active == "active"

    # systemd's part

    def start_socket(self, unit: Unit) -> bool:
        service = self.table.known(unit.name.replace(".socket", ".service"))
        if service is not None and service.active in ("active", "activating"):
            unit.becomes("failed", "failed", "resources")  # "Socket service already active, refusing."
            return False
        path = Path(unit.directives["ListenStream"][-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        unit.becomes("active", "listening", "success")
        unit.entered = self.clock.now
        return True

    def start_service(self, unit: Unit) -> bool:
        if unit.active == "activating" and unit.sub == "auto-restart":
            unit.restarts += 1
        socket = self.table.load(unit.directives["Requires"][-1])
        if socket is None or (socket.active != "active" and not self.start_socket(socket)):
            return False
        self.clock.advance(0.3)
        program = read(unit.directives)
        if program.behaviour == CRASHES or (program.behaviour == DIES_LATER and self._is_current(unit, program)):
            self._crash(unit)
            return False
        self.pids += 10
        unit.pid = self.pids
        unit.becomes("active", "running")
        unit.entered = self.clock.now
        self.running[unit.name] = program
        self._accept(unit)
        return True

    def exits(self, unit: Unit, result: str) -> None:
        """Its process ends without having been asked; systemd starts it again in a second."""
        unit.result = result
        self._crash(unit)

    def _crash(self, unit: Unit) -> None:
        self.running.pop(unit.name, None)
        self.since.pop(unit.name, None)
        unit.pid = 0
        unit.becomes("activating", "auto-restart", "exit-code")
        spell = unit.spell
        self.clock.later(1.0, lambda: self._again(unit, spell))

    def _again(self, unit: Unit, spell: int) -> None:
        if unit.spell == spell:
            self.start_service(unit)

    def stop(self, unit: Unit) -> None:
        if unit.name.endswith(".socket"):
            service = self.table.known(unit.name.replace(".socket", ".service"))
            if service is not None:
                self._end(service)
            if unit.active == "active":
                self._close(unit)
            unit.becomes("inactive", "dead", "success")
            return
        self._end(unit)
        if self.queues.get(unit.name.replace(".service", ".socket")):
            self.start_service(unit)

    def _end(self, unit: Unit) -> None:
        self.running.pop(unit.name, None)
        self.since.pop(unit.name, None)
        unit.pid = 0
        unit.becomes("inactive", "dead", "success")

    def _close(self, socket: Unit) -> None:
        waiting = self.queues.pop(socket.name, 0)
        if waiting and self.current() and not self.going_down():  # with nothing to go back to, nobody can answer them
            self.failed.append(f"{waiting} connections were waiting in {socket.name} when it was closed")
        path = Path(socket.directives["ListenStream"][-1])
        if path.exists():
            path.unlink()

    def queue_line(self, path: str) -> str:
        for unit in self.table.matching(f"{self.app}-web@*.socket"):
            if unit.active == "active" and unit.directives["ListenStream"][-1] == path:
                return f"u_str LISTEN {self.queues.get(unit.name, 0)} 4096 {path} 12345 * 0\n"
        return ""

    # the processes' part

    def _is_current(self, unit: Unit, program: Program) -> bool:
        return unit.name == self.service(program.release) and self.current() == program.release

    def age(self) -> None:
        """Have those go bad whose time has come."""
        for name, program in list(self.running.items()):
            unit = self.table.units[name]
            if program.behaviour not in (DIES_LATER, BREAKS_LATER) or not self._is_current(unit, program):
                self.since.pop(name, None)
                continue
            since = self.since.setdefault(name, self.clock.now)
            if program.behaviour == DIES_LATER and self.clock.now - since >= _GRACE:
                self.exits(unit, "exit-code")

    def _status(self, name: str, program: Program) -> int:
        late = self.clock.now - self.since.get(name, self.clock.now) >= _GRACE
        return 500 if program.behaviour == BROKEN or (program.behaviour == BREAKS_LATER and late) else 200

    def _accept(self, unit: Unit) -> None:
        self.answered += self.queues.pop(unit.name.replace(".service", ".socket"), 0)

    # the clients' part

    def call(self) -> None:
        """One client connects to what ``current`` leads to; it is answered, or waits in the queue."""
        number = self.current()
        if not self.clients or not number or not self._has_web(number):
            return
        if not self.listens(number):
            self.failed.append(f"v{number} is current and nothing listens on its socket")
            return
        socket = self.socket(number)
        self.queues[socket] = self.queues.get(socket, 0) + 1
        self._activate(number)
        if self.service(number) in self.running:
            self._accept(self.table.units[self.service(number)])

    def _has_web(self, number: int) -> bool:
        if number not in self.called:
            self.called[number] = (self.table.directory / self.service(number)).exists()
        return self.called[number]

    def _activate(self, number: int) -> None:
        unit = self.table.load(self.service(number))
        if unit is not None and unit.active in ("inactive", "failed"):
            self.start_service(unit)

    def ask(self, path: str, timeout: float, tick: Callable[[], object], sleep: Callable[[float], None]) -> Response:
        """Stands in for ``probe.request``."""
        until = self.clock.now + timeout
        number = int(re.findall(r"/v([0-9]+)/run/", path)[-1])
        if not self.listens(number):
            return Response(0, "nothing listens on the release's socket")
        self._activate(number)
        while (program := self.running.get(self.service(number))) is None:
            tick()
            if self.clock.now >= until:
                return Response(0, f"no answer within {timeout:.3g} s", timeout)
            sleep(0.1)
        self.clock.advance(0.02)
        self.age()
        if self.service(number) not in self.running:
            return Response(0, "the connection was closed without an answer", 0.02)
        return Response(self._status(self.service(number), program), "", 0.02, self.leads_to)

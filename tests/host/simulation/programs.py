"""Runs programs of the host inside the test, counts what they change, and lets them die at any of it."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployer.host.errors import HostError

from .clock import Clock
from .faults import REFUSED_BY, CommandFails, DiskFails, Fault, Kill, Killed, Meanwhile, PowerCut, PowerLost, Terminate

DIED, TERMINATED = -9, -15


@dataclass
class Process:
    """One running program. ``asked_to_end``: a SIGTERM is on its way to it; ``stopped``: one was sent at all."""

    name: str
    dead: bool = False
    asked_to_end: bool = False
    stopped: bool = False

    def end(self) -> None:
        self.asked_to_end = self.stopped = True


@dataclass(frozen=True)
class Change:
    """One thing that a program did to the host: ``what``, and the path or the words it was done with."""

    number: int
    process: str
    what: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number} {self.process}: {self.what} {' '.join(self.words)}"


@dataclass
class Programs:
    """Programs run one inside the other: who waits lets the others go on. The last of ``stack`` is the one that runs;
    None on top of it is systemd, or the test."""

    clock: Clock
    watch: Callable[[], None] = lambda: None
    stack: list[Process | None] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    trace: list[Change] = field(default_factory=list)
    dark: bool = False
    stopping: bool = False
    bugs: list[str] = field(default_factory=list)

    @property
    def active(self) -> Process | None:
        """The program whose change this is; None for what systemd or the test does, or a thread that only reads."""
        if threading.current_thread() is not threading.main_thread():
            return None
        return self.stack[-1] if self.stack else None

    def run(self, name: str, function: Callable[[], int]) -> int:
        """Run a program to its end; its exit status, DIED or TERMINATED when it was not its own. Raises PowerLost."""
        process = Process(name)
        handler = signal.signal(signal.SIGTERM, _default)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
        self.stack.append(process)
        try:
            status = int(function())
        except Killed:
            status = DIED
        except HostError as error:
            status = int(error.exit)
        except Exception as error:
            status = 1
            refused = isinstance(error, OSError) and any(isinstance(fault, DiskFails) for fault in self.faults)
            if not process.dead and not refused:
                self.bugs.append(f"{name}: {traceback.format_exc()}")
        finally:
            self.stack.pop()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGTERM, handler)
        if self.dark:
            raise PowerLost
        if process.stopped:
            return TERMINATED if status else 0
        return DIED if process.dead else status

    def outside(self, function: Callable[[], object]) -> object:
        """Do what is no program's doing."""
        self.stack.append(None)
        try:
            return function()
        finally:
            self.stack.pop()

    def find(self, name: str) -> Process | None:
        return next((one for one in self.stack if one is not None and one.name == name), None)

    def sleep(self, seconds: float) -> None:
        self.check_alive()
        self.outside(lambda: self.clock.wait(seconds))
        self.outside(self.watch)
        self.check_alive()

    def check_alive(self) -> None:
        """Raises Killed in a program that is dead; delivers what was sent to it meanwhile."""
        process = self.active
        if self.dark:
            raise PowerLost
        if process is None:
            return
        if process.dead:
            raise Killed
        if process.asked_to_end:
            process.asked_to_end = False
            signal.raise_signal(signal.SIGTERM)

    def change(self, what: str, *words: str, torn: Callable[[], object] | None = None) -> bool:
        """A program is about to change something: now it may die of it. False when a command is to fail.

        Raises Killed, or the OSError that the disk answers with. ``torn`` does a part of it, when it dies.
        """
        process = self.active
        if process is None:
            if self.dark:
                raise PowerLost
            return True
        self.check_alive()
        self.outside(self.watch)
        self.count += 1
        self.trace.append(Change(self.count, process.name, what, words))
        ok = True
        for fault in list(self.faults):
            ok = self._strike(fault, process, what, words, torn) and ok
        return ok

    def _strike(
        self, fault: Fault, process: Process, what: str, words: Sequence[str], torn: Callable[[], object] | None
    ) -> bool:
        if isinstance(fault, DiskFails):
            if self.count == fault.at or (fault.lasts and self.count > fault.at):
                self.refuse(what, words, fault.error)
            return True
        if self.count != fault.at:
            return True
        if isinstance(fault, CommandFails):
            return what != "command"
        if isinstance(fault, Meanwhile):
            self.outside(fault.act)
            self.check_alive()
        elif isinstance(fault, Terminate):
            self.stopping = self.stopping or fault.shutdown
            for one in self.stack if fault.shutdown else [process]:
                if one is not None:
                    one.end()
            self.check_alive()
        else:
            self._die(fault, process, torn)
        return True

    def refuse(self, what: str, words: Sequence[str], error: int) -> None:
        if what in REFUSED_BY[error]:
            raise OSError(error, os.strerror(error), words[0] if words else None)

    def _die(self, fault: Kill | PowerCut, process: Process, torn: Callable[[], object] | None) -> None:
        if torn is not None:
            self.outside(torn)
        process.dead = True
        if isinstance(fault, PowerCut):
            self.dark = True
            raise PowerLost
        raise Killed

    def disk_error(self) -> int:
        """The error that everything written now fails with; 0 while the disk is well."""
        for fault in self.faults:
            if isinstance(fault, DiskFails) and fault.lasts and self.count >= fault.at:
                return fault.error
        return 0


def _default(*_: object) -> None:
    raise Killed


def below(root: object, path: object) -> bool:
    """Whether ``path`` belongs to the host in ``root``."""
    try:
        return os.fsdecode(path).startswith(str(root))  # type: ignore[arg-type]
    except TypeError:
        return False

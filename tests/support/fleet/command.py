"""A ``fab`` command on a fleet: under way, and how it ended."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support.site import Ended

PATIENCE = 150.0  # seconds


@dataclass
class FleetEnded(Ended):
    """How a command on a fleet ended."""

    @property
    def fleet(self) -> dict[str, Any]:
        """The fleet's last word."""
        return self.event("fleet.finished")

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        """Every host's outcome, by its bare name."""
        return {bare(one["host"]): one for one in self.fleet["hosts"]}

    @property
    def results(self) -> dict[str, str]:
        """Every host's result, by its bare name."""
        return {name: one["result"] for name, one in self.hosts.items()}

    def named(self, name: str, **wanted: Any) -> list[str]:
        """The bare names of the hosts that sent such an event, in its order; each once."""
        found = (
            bare(event["host"])
            for event in self.events
            if event["event"] == name and all(event.get(key) == value for key, value in wanted.items())
        )
        return list(dict.fromkeys(found))

    def at(self, name: str, host: str, **wanted: Any) -> float:
        """When a host sent such an event for the first time, in seconds since 1970. Raises LookupError."""
        for event in self.events:
            fits = all(event.get(key) == value for key, value in wanted.items())
            if event["event"] == name and bare(event["host"]) == host and fits:
                return float(event["at"])
        raise LookupError(f"no event {name} {wanted} of {host}")


def bare(name: str) -> str:
    """``box1`` of ``deploy@box1``."""
    return name.rpartition("@")[2]


class Command:
    """A command under way. Its output goes to a file: it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], out: IO[bytes], err: IO[bytes]) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def events(self) -> list[dict[str, Any]]:
        """What ``--json`` has printed so far."""
        whole = _text(self._out).rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith('{"event"')]

    def until(self, name: str, *, host: str = "", seconds: float = 60, **wanted: Any) -> dict[str, Any]:
        """The first event of that name, host and fields, once it is there. Raises AssertionError if it never comes."""
        found = self.until_all(name, [host], seconds=seconds, **wanted)
        return found[0]

    def until_all(self, name: str, hosts: Sequence[str], *, seconds: float = 60, **wanted: Any) -> list[dict[str, Any]]:
        """The same for each of some hosts (by their bare names; "" stands for any)."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            found = [self._first(name, host, wanted) for host in hosts]
            if all(found):
                return [one for one in found if one]
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no {name} {wanted} of {hosts} in:\n{_text(self._out)}\n{_text(self._err)}")
            time.sleep(0.1)

    def _first(self, name: str, host: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
        for event in self.events:
            fits = all(event.get(key) == value for key, value in wanted.items())
            if event["event"] == name and host in ("", bare(event["host"])) and fits:
                return event
        return None

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """What a closed lid or a lost battery is to the hosts."""
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = PATIENCE) -> FleetEnded:
        """How it ends; AssertionError when it does not."""
        try:
            exit = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it hangs:\n{_text(self._out)}\n{_text(self._err)}") from None
        return FleetEnded(exit, _text(self._out), _text(self._err), self.events)


@contextlib.contextmanager
def under_way(argv: Sequence[str], cwd: Path) -> Iterator[Command]:
    """A command, killed at the end of the block if it still runs."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(list(argv), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        command = Command(process, out, err)
        try:
            yield command
        finally:
            command.kill()


def _text(file: IO[bytes]) -> str:
    """All that is in it. The position is the process's, too: it must not be moved."""
    return Path(f"/proc/self/fd/{file.fileno()}").read_bytes().decode(errors="replace")

"""What every way of running a host can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from deployer.sandbox.contents.files import File
from deployer.sandbox.machine.processes import OsProcess
from deployer.sandbox.records.state import Record

Progress = Callable[[str], None]
"""Called with each step as it begins. A text that repeats the previous one plus ``: …`` adds detail to that step."""

_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def last_lines(console: str, count: int = 20) -> str:
    """The last `count` lines of a console's raw output that say something, without colours."""
    plain = _ESCAPE_SEQUENCE.sub("", console)
    return "\n".join([line.rstrip() for line in plain.splitlines() if line.strip()][-count:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where this machine reaches a host, and the address its services bind inside it."""

    address: str
    ssh_port: int
    http_port: int
    listen: str


class Backend(Protocol):
    """A way of running hosts. Every method may raise SandboxError; every wait is bounded."""

    @property
    def name(self) -> str:
        """What records and users call it."""

    def require(self) -> None:
        """Raise SandboxError, saying what to install, when it cannot work here."""

    def endpoint(self, taken: Iterable[str], in_use: Callable[[str], bool]) -> Endpoint:
        """A free place for one more host, neither `taken` by another one nor `in_use` by strangers."""

    def has_image(self, distribution: str) -> bool:
        """Whether `ensure_image` would return at once."""

    def ensure_image(self, distribution: str, progress: Progress) -> str:
        """Build the image unless it is there; what `create` wants to know of it."""

    def create(self, record: Record, image: str, files: Iterable[File]) -> None:
        """Make the host's file system, with `files` in it, and do not boot it."""

    def start(self, record: Record) -> OsProcess | None:
        """Boot it; the process that keeps it running, where there is one on this machine."""

    def power_off(self, record: Record) -> None:
        """Shut it down as its power button would."""

    def kill(self, record: Record) -> None:
        """End everything in it at once. Idempotent."""

    def remove(self, record: Record) -> None:
        """Kill it and free all it holds, the host's directory too. Idempotent; copes with half-made ones."""

    def is_alive(self, record: Record) -> bool:
        """Whether its init runs."""

    def console(self, record: Record) -> str:
        """The last lines it printed while it booted."""

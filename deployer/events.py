"""What happens, as frozen values. Logic emits events; only ``ui`` prints them.

Host events arrive as JSON lines and become these values by :func:`parse`; the laptop adds its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Protocol, cast

from deployer.errors import DeployerError
from deployer.wire.advice import NOTHING, Next
from deployer.wire.lazydata import dataclass

__all__ = [
    "Connected", "Connecting", "Data", "Event", "Failed", "Finished", "FleetFinished", "HostEnd", "Logs", "Note",
    "Output", "PhaseDone", "PhaseFailed", "PhaseSkipped", "PhaseStarted", "Progress", "Ready", "Reporter", "Switched",
    "Waiting", "Warn", "failure", "parse",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Event:
    """``host`` is the host as the user named it; ``at`` seconds since the epoch (0.0: the moment it is read)."""

    host: str = ""
    at: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The event as a flat JSON object; ``event`` is its name, as in ``--json``."""
        return {"event": NAMES[type(self)], **asdict(self)}


class _Advising:
    """An event with a ``next``: in JSON the text, and the ``commands`` alone."""

    __slots__ = ()
    next: Next

    def __post_init__(self) -> None:
        object.__setattr__(self, "next", Next.of(self.next))

    def as_json(self) -> dict[str, Any]:
        value = Event.as_json(cast(Event, self))
        return {**value, "next": str(self.next), "commands": list(self.next.commands)}


@dataclass(frozen=True, kw_only=True)
class Connecting(Event):
    """A connection to the host is being opened."""


@dataclass(frozen=True, kw_only=True)
class Connected(Event):
    """Logged in and the host program answered. ``seconds`` it took; ``detail`` e.g. ``v42 serves``."""

    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A phase began. ``release`` is being made; ``detail`` says what is awaited."""

    phase: str
    release: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseDone(Event):
    """A phase ended well after ``seconds``; ``detail`` is a short human fact (``3 files, 1.2 KiB``)."""

    phase: str
    release: str = ""
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseSkipped(Event):
    """There was nothing to do in a phase; ``detail`` says why."""

    phase: str
    release: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseFailed(Event):
    """A phase failed after ``seconds``; the reason follows in ``Failed``."""

    phase: str
    release: str = ""
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """``done`` of ``total`` bytes are through; ``doing`` says what is done with them: packing, sending."""

    phase: str
    done: int
    total: int
    doing: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiting(Event):
    """Another deploy runs, and this one waits for its turn; told again whenever something of it changes.

    ``by``, ``kind``, ``since`` (seconds since the epoch) and ``phase`` are those of the one that runs; ``ahead`` others
    wait before this one.
    """

    by: str = ""
    kind: str = ""
    since: float = 0.0
    phase: str = ""
    ahead: int = 0


@dataclass(frozen=True, kw_only=True)
class Output(Event):
    """A line that a command printed: a build, a migration, or one that was asked for (``phase`` is ``run``), of which
    ``stream`` says where: ``out`` or ``err``."""

    phase: str
    line: str
    stream: str = ""


@dataclass(frozen=True, kw_only=True)
class Data(Event):
    """Bytes that a command printed. They go to standard output as they are, and never into ``--json``: no name."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class Logs(Event):
    """Lines of a process's journal: what ``fab logs`` prints, and the last lines of a failing process."""

    unit: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Switched(Event):
    """``current`` names ``to`` now: new connections reach it. ``previous`` is empty at a first deploy."""

    to: str
    previous: str = ""


@dataclass(frozen=True, kw_only=True)
class Ready(Event):
    """The host waits for the rest of its fleet: before ``phase``; where that is ``keep``, at the end of its watch."""

    phase: str
    release: str = ""


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something worth a line."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Warn(Event):
    """Something that should be looked at, though the command goes on."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Failed(_Advising, Event):
    """Why a command fails: ``message``, the ``state`` everything is in, what to type ``next``, and the log lines."""

    exit: int
    message: str
    state: str = ""
    next: Next = NOTHING
    logs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The command's end on one host. ``serving`` is what serves now; ``summary`` one line for people."""

    exit: int
    release: str = ""
    serving: str = ""
    seconds: float = 0.0
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class HostEnd:
    """How a command on a fleet ended on one host.

    ``result`` is one of: done, failed (this host is the reason), discarded (its candidate went, because of another),
    rolled back (it had switched, and serves the old release again, because of another), untouched, unreachable, busy,
    lost (the connection broke, and what became of it is not known). ``serving`` is what it serves, as far as is known
    (empty: nothing, or unknown); ``detail`` one line for people, such as why it failed; ``logs`` the lines behind it.
    """

    host: str
    result: str
    exit: int = 0
    release: str = ""
    serving: str = ""
    seconds: float = 0.0
    detail: str = ""
    logs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FleetFinished(_Advising, Event):
    """The end of a command on several hosts: every host's outcome, in the order in which they were named.

    ``host`` is empty. ``summary`` is one line for people, ``state`` what serves where, ``next`` what to type now.
    """

    exit: int
    hosts: tuple[HostEnd, ...]
    release: str = ""
    seconds: float = 0.0
    summary: str = ""
    state: str = ""
    next: Next = NOTHING


def failure(host: str, error: DeployerError) -> Failed:
    """What an error on this side says of a host, as the host itself would say it."""
    return Failed(
        host=host,
        exit=int(error.exit),
        message=error.message,
        state=error.state,
        next=error.next,
        logs=tuple(error.logs),
    )


NAMES: dict[type[Event], str] = {
    Connecting: "connecting",
    Connected: "connected",
    PhaseStarted: "phase.started",
    PhaseDone: "phase.done",
    PhaseSkipped: "phase.skipped",
    PhaseFailed: "phase.failed",
    Progress: "progress",
    Waiting: "waiting",
    Output: "output",
    Logs: "logs",
    Switched: "switched",
    Ready: "ready",
    Note: "note",
    Warn: "warn",
    Failed: "failed",
    Finished: "finished",
    FleetFinished: "fleet.finished",
}
TYPES = {name: kind for kind, name in NAMES.items()}


class Reporter(Protocol):
    """Where events go. Implementations may be called from several threads."""

    def __call__(self, event: Event) -> None: ...


def parse(message: Mapping[str, Any], host: str) -> Event | None:
    """The event a host's JSON line stands for; None when this laptop's version does not know it."""
    kind = TYPES.get(str(message.get("event")))
    if kind is None:
        return None
    known = {field.name for field in fields(kind)}
    values = {key: value for key, value in message.items() if key in known}
    for key in ("lines", "logs"):
        if key in values:
            values[key] = tuple(values[key])
    if "next" in known:
        values["next"] = Next.told(message)
        if not str(values.get("message") or "").strip():
            values["message"] = f"{host} says that it failed, and not why (exit code {message.get('exit')})"
    return kind(**{**values, "host": host})

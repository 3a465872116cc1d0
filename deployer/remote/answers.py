"""What a host may say, and the decoder that takes nothing else. A host may be broken, or somebody else's by now.

Each line is decoded by the type of its event; an answer by that of the question. What the types do not have is passed
over, and so is an event that this version does not know: a newer host may tell more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from deployer.errors import BadAnswer
from deployer.wire.protocol import DIGEST, MOST_NUMBER, RELEASE

__all__ = ["ANSWERS", "EVENTS", "answer", "event", "version"]

Moment = Annotated[float, Meta(ge=0, le=1e11)]
"""Seconds since 1970."""
Seconds = Annotated[float, Meta(ge=-1e9, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Number = Annotated[int, Meta(ge=1, le=MOST_NUMBER)]
Name = Annotated[str, Meta(pattern=rf"\A(?:{RELEASE.pattern})?\Z")]
"""Of a release; empty for none."""
JobId = Annotated[str, Meta(pattern=r"\A[0-9]{0,8}\Z")]
Digest = Annotated[str, Meta(pattern=rf"\A{DIGEST.pattern}")]
Code = Literal[0, 1, 2, 3, 4, 5, 6, 7, 130]
"""As :class:`deployer.errors.Exit` has them."""

# events


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: Moment = 0.0


class Phase(Told, frozen=True, kw_only=True, omit_defaults=True):
    phase: str
    release: Name = ""
    detail: str = ""


class PhaseEnd(Phase, frozen=True, kw_only=True, omit_defaults=True):
    seconds: Seconds = 0.0


class Job(Told, frozen=True, kw_only=True, omit_defaults=True):
    by: str = ""
    kind: str = ""
    since: Moment = 0.0
    phase: str = ""
    waits: str = ""
    job: JobId = ""


class Waiting(Job, frozen=True, kw_only=True, omit_defaults=True):
    ahead: Count = 0


class Output(Told, frozen=True, kw_only=True, omit_defaults=True):
    phase: str
    line: str


class Logs(Told, frozen=True, kw_only=True, omit_defaults=True):
    unit: str
    lines: list[str]


class Switched(Told, frozen=True, kw_only=True, omit_defaults=True):
    to: Name
    previous: Name = ""


class Text(Told, frozen=True, kw_only=True, omit_defaults=True):
    text: str


class Following(Told, frozen=True, kw_only=True, omit_defaults=True):
    job: JobId


class Failed(Told, frozen=True, kw_only=True, omit_defaults=True):
    exit: Code
    message: str
    state: str = ""
    next: str = ""
    steps: list[tuple[str, str]] = []
    logs: list[str] = []


class Finished(Told, frozen=True, kw_only=True, omit_defaults=True):
    exit: Code
    release: Name = ""
    serving: Name = ""
    seconds: Seconds = 0.0
    summary: str = ""


EVENTS: Mapping[str, type] = {
    "phase.started": Phase,
    "phase.done": PhaseEnd,
    "phase.skipped": Phase,
    "phase.failed": PhaseEnd,
    "waiting": Waiting,
    "output": Output,
    "logs": Logs,
    "switched": Switched,
    "ready": Phase,
    "note": Text,
    "warn": Text,
    "following": Following,
    "recovering": Told,
    "holding": Told,
    "failed": Failed,
    "finished": Finished,
}
"""What a host tells without being asked, by the name of the event."""

# answers


class Version(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that an answer of another version is asked for."""

    protocol: int


class Base(Struct, frozen=True, kw_only=True, omit_defaults=True):
    key: str
    ids: str


class Ask(Version, frozen=True, kw_only=True, omit_defaults=True):
    program: str
    current: Name
    spec: dict[str, Any] | None
    busy: Job | None
    base: Base
    partials: dict[Digest, Count]
    free: Count
    next: Number
    target: Name
    usable: dict[Name, Digest]
    processes: list[str] = []
    passed: dict[Name, str] = {}


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    number: Name
    state: str
    kind: str = ""
    by: str = ""
    at: Moment = 0.0
    switched: Moment = 0.0
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    of: Name = ""
    reason: str = ""
    phase: str = ""
    size: Count = 0


class Unit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    process: str = ""
    name: str
    active: str
    sub: str
    pid: Count = 0
    restarts: Count = 0
    memory: Count = 0
    since: Moment = 0.0
    ok: bool


class Timer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    process: str = ""
    name: str
    ok: bool
    next: Moment = 0.0
    last: Moment = 0.0
    running: bool = False
    result: str = ""


class Lingering(Struct, frozen=True, kw_only=True, omit_defaults=True):
    process: str = ""
    release: Name = ""
    name: str = ""
    since: Moment = 0.0


class Held(Struct, frozen=True, kw_only=True, omit_defaults=True):
    release: Name
    seconds: Seconds


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    app: str = ""
    current: Name | None = None
    standby: Name | None = None
    busy: Job | None = None
    healthy: bool | None = None
    health: str = ""
    units: list[Unit] = []
    timers: list[Timer] = []
    lingering: list[Lingering] = []
    release: Row | None = None
    last: Row | None = None
    held: Held | None = None
    notes: list[str] = []


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: State


class Releases(Struct, frozen=True, kw_only=True, omit_defaults=True):
    releases: list[Row]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    what: str
    at: Moment = 0.0
    release: Name = ""
    releases: list[Name] = []
    kind: str = ""
    by: str = ""
    commit: str = ""
    ref: str = ""
    of: Name = ""
    result: str = ""
    phase: str = ""
    serving: Name = ""
    reason: str = ""


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    entries: list[Entry]


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str = ""
    what: str = ""
    text: str = ""
    repair: str = ""
    fix: bool = False


class Doctor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    current: Name
    busy: Job | None
    findings: list[Found]
    notes: list[str] = []


class Calendar(Struct, frozen=True, kw_only=True, omit_defaults=True):
    calendar: str
    next: Moment = 0.0
    problem: str = ""


class Calendars(Struct, frozen=True, kw_only=True, omit_defaults=True):
    calendars: list[Calendar]


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: Annotated[int, Meta(ge=0, le=255)]


class Aborted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    job: Job


class Nothing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer that only says that it is one."""


ANSWERS: Mapping[str, type] = {
    "ask": Ask,
    "status": Status,
    "releases": Releases,
    "history": History,
    "doctor": Doctor,
    "calendars": Calendars,
    "run": Run,
    "abort": Aborted,
}
"""What an answer holds, by the ``op`` of the question; to others, nothing."""

_OURS = re.compile(rb'\s*\{\s*"event"')


class _Head(Struct, frozen=True):
    event: str


_TYPES: set[type] = {_Head, Version, Nothing, *EVENTS.values(), *ANSWERS.values()}
_DECODERS: Mapping[type, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in _TYPES}
"""Made here, before any thread of a fleet's runs: threads that met a type for the first time at once have crashed in
msgspec 0.22, which reads the hints of a type when it is first used."""


def event(line: bytes, host: str, *, begun: bool) -> dict[str, Any] | None:
    """The event of a line, as a dict of what it may hold. An answer comes with its ``line``, to be read by
    :func:`answer`; of an event that this version does not know there is the name alone.

    None for a login banner: what is no event, before the host has said anything (``begun``). Raises BadAnswer.
    """
    if not begun and not _OURS.match(line):
        return None
    name = _decode(line, _Head, "what it sent is no event", host).event
    if name == "answer":
        return {"event": name, "line": line}
    kind = EVENTS.get(name)
    told = msgspec.to_builtins(_decode(line, kind, name, host)) if kind else {}
    return {"event": name, **told}


def answer(line: bytes, op: str, host: str) -> dict[str, Any]:
    """What a host answers to the question ``op``. Raises BadAnswer."""
    found: dict[str, Any] = msgspec.to_builtins(_decode(line, ANSWERS.get(op, Nothing), f"its answer to {op!r}", host))
    return found


def version(line: bytes, host: str) -> int:
    """The protocol of a host that answers ``ask``: one of another version may say all else in another way."""
    found: Version = _decode(line, Version, "its answer to 'ask'", host)
    return found.protocol


def _decode(line: bytes, kind: Any, what: str, host: str) -> Any:
    try:
        return _DECODERS[kind].decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer.of(host, f"{what}: {error}") from None

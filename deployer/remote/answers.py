"""What a host may say, and the decoder that takes nothing else. A host may be broken, or somebody else's by now.

Each line is decoded by the type of its event; an answer by the type that the question asks for. What a type does not
have is ignored, and so is an event that this version does not know: a newer host may tell more.

The types of answers are the ones that are shown, so that nothing is copied between two sets of fields and defaults. A
few fields are the laptop's own: no host is believed in them, for whoever asks sets them after decoding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from deployer.errors import BadAnswer
from deployer.wire.protocol import DIGEST, MOST_NUMBER, RELEASE, standing

__all__ = [
    "ANSWERS", "EVENTS", "Aborted", "Ask", "Calendar", "Calendars", "Diagnosis", "Entry", "Finding", "Held", "History",
    "Job", "Lingering", "Nothing", "ReleaseRow", "Releases", "Run", "Status", "StatusOf", "TimerRow", "UnitRow",
    "answer", "event", "version",
]  # fmt: skip

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


class Waiting(Told, frozen=True, kw_only=True, omit_defaults=True):
    by: str = ""
    kind: str = ""
    since: Moment = 0.0
    phase: str = ""
    waits: str = ""
    job: JobId = ""
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


class Version(Struct, frozen=True, kw_only=True):
    """All that an answer of another version is asked for."""

    protocol: int


class Job(Struct, frozen=True, kw_only=True):
    """What runs on a host and holds the lock: whose deploy, reload, … it is, since when, and at which phase.

    ``since`` is in seconds since the epoch (0.0: unknown), ``id`` the host's name for it. ``waits`` is the barrier at
    which it stands until its fleet goes on; empty when it is at work.
    """

    by: str = ""
    kind: str = ""
    since: Moment = 0.0
    phase: str = ""
    id: JobId = field(name="job", default="")
    waits: str = ""

    def __str__(self) -> str:
        """``a deploy by ada@laptop runs since 12:03:04, at build``."""
        since = f" since {time.strftime('%H:%M:%S', time.localtime(self.since))}" if self.since else ""
        if self.kind == _RECOVER:
            what = "the host is finishing an interrupted deploy"
        else:
            what = f"a {self.kind or 'deploy'} by {self.by or 'someone'} runs"
        return f"{what}{since}, {standing(self.phase, self.waits)}"


_RECOVER = "recover"
"""The kind of a job by which a host ends what another left unfinished."""


class Base(Struct, frozen=True, kw_only=True):
    key: str
    ids: str


class Ask(Version, frozen=True, kw_only=True):
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
    processes: tuple[str, ...] = ()
    passed: dict[Name, str] = {}


class ReleaseRow(Struct, frozen=True, kw_only=True):
    """One release of an app on one host.

    ``state`` is one of current, standby, candidate, retired, failed, preparing, rolled back, interrupted, and for one
    that only the ledger knows also pruned or unfinished. ``kind`` is the command that made it. ``at`` is in seconds
    since the epoch (0.0: unknown), as is ``switched``, when it began to serve; ``size`` in bytes (0: unknown). ``of``
    names the release whose parts it has (a reload, a rollback); ``reason`` says why it failed, or what befell it;
    ``phase`` how far it came.
    """

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


class UnitRow(Struct, frozen=True, kw_only=True):
    """One instance of a process: ``active`` is systemd's ActiveState; 0 stands for what systemd does not say.

    ``ok``: it is up, or will be when the one of the older release has ended.
    """

    process: str
    name: str
    active: str
    sub: str = ""
    pid: Count = 0
    restarts: Count = 0
    memory_bytes: Count = field(name="memory", default=0)
    since: Moment = 0.0
    ok: bool

    @property
    def instance(self) -> str:
        """``worker.2`` for ``shop-worker.2@v42.service``: no name of a process has a dash."""
        return self.name.partition("@")[0].rpartition("-")[2]


class TimerRow(Struct, frozen=True, kw_only=True):
    """A timer. ``next`` and ``last`` are its runs, in seconds since the epoch (0.0: none).

    ``result`` is how the last one ended, as systemd calls it; empty when that is not known. ``ok``: it waits for its
    next run, and the last one did not fail.
    """

    process: str
    name: str = ""
    ok: bool
    next: Moment = 0.0
    last: Moment = 0.0
    running: bool = False
    result: str = ""


class Lingering(Struct, frozen=True, kw_only=True):
    """What still finishes for an older ``release``: a process that was told to stop, the run of a timer."""

    process: str = ""
    release: Name = ""
    name: str = ""
    since: Moment = 0.0


class Held(Struct, frozen=True, kw_only=True):
    """A candidate whose next phase the host waits for, for so many ``seconds`` more."""

    release: Name
    seconds: Seconds


class Status(Struct, frozen=True, kw_only=True):
    """What an app does on one host. ``since``: when ``current`` began to serve; ``busy``: who deploys now.

    ``healthy`` is the result of a health check made just now (None: nothing serves); ``health`` says what came back.
    On a host without a web process it says whether all processes are up, and ``health`` is empty.
    ``last`` is the last attempt when that did not end as a good release; ``notes`` what setup decided for this host.
    ``host`` and ``since`` are the laptop's own.
    """

    app: str = ""
    host: str = ""
    current: Name | None = None
    standby: Name | None = None
    since: Moment = 0.0
    release: ReleaseRow | None = None
    units: tuple[UnitRow, ...] = ()
    timers: tuple[TimerRow, ...] = ()
    lingering: tuple[Lingering, ...] = ()
    busy: Job | None = None
    healthy: bool | None = None
    health: str = ""
    last: ReleaseRow | None = None
    held: Held | None = None
    notes: tuple[str, ...] = ()


class StatusOf(Struct, frozen=True, kw_only=True):
    status: Status


class Releases(Struct, frozen=True, kw_only=True):
    releases: tuple[ReleaseRow, ...]


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the ledger: what has ``begun`` or ``ended``, or was ``pruned``; a newer host may write others."""

    what: str
    at: Moment = 0.0
    release: Name = ""
    releases: tuple[Name, ...] = ()
    kind: str = ""
    by: str = ""
    commit: str = ""
    ref: str = ""
    of: Name = ""
    result: str = ""
    phase: str = ""
    serving: Name = ""
    reason: str = ""


class History(Struct, frozen=True, kw_only=True):
    entries: tuple[Entry, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """Something on a host that is not as it should be, and what is done about it.

    ``kind`` is one of unfinished, leftover, down, restarting, failed, unhealthy, damaged, and of the host's
    preparation account, login, confinement, proxy; ``what`` names the thing; ``fix`` says that the host can put it
    right by itself.
    """

    kind: str = ""
    what: str = ""
    text: str = ""
    repair: str = ""
    fix: bool = False


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What ``fab doctor`` found on one host: all is well without findings. ``busy``: who deploys now.

    ``notes`` are no findings: what setup decided for this host, and what that leaves open. ``app``, ``host`` and
    ``next``, the command that puts right what the host can put right by itself, are the laptop's own.
    """

    app: str = ""
    host: str = ""
    current: Name | None
    busy: Job | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    next: str = ""


class Calendar(Struct, frozen=True, kw_only=True):
    """When a calendar comes ``next`` (0.0: never), and the ``problem`` with one that the host does not understand."""

    calendar: str
    next: Moment = 0.0
    problem: str = ""


class Calendars(Struct, frozen=True, kw_only=True):
    calendars: tuple[Calendar, ...]


class Run(Struct, frozen=True, kw_only=True):
    status: Annotated[int, Meta(ge=0, le=255)]


class Aborted(Struct, frozen=True, kw_only=True):
    job: Job


class Nothing(Struct, frozen=True, kw_only=True):
    """An answer that only says that it is one."""


ANSWERS: Mapping[str, type[Struct]] = {
    "ask": Ask,
    "status": StatusOf,
    "releases": Releases,
    "history": History,
    "doctor": Diagnosis,
    "calendars": Calendars,
    "run": Run,
    "abort": Aborted,
}
"""What an answer holds, by the ``op`` of the question; to others, nothing."""

Answer = TypeVar("Answer", bound=Struct)

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


def answer(line: bytes, kind: type[Answer], op: str, host: str) -> Answer:
    """What a host answers to the question ``op``. Raises BadAnswer."""
    found: Answer = _decode(line, kind, f"its answer to {op!r}", host)
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

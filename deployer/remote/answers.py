"""What a host answers, by the question. The types are the ones that are shown, so nothing is copied between two sets.

What a type does not have is ignored: a newer host may tell more. A few fields are the laptop's own: no host is believed
in them, for the code that asks sets them after decoding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from deployer.wire.protocol import DIGEST, MOST_NUMBER, RELEASE, standing

__all__ = [
    "ANSWERS",
    "Aborted",
    "AskAnswer",
    "Calendar",
    "Calendars",
    "Diagnosis",
    "Finding",
    "HeldRelease",
    "History",
    "Job",
    "LedgerEntry",
    "Lingering",
    "Nothing",
    "ReleaseRow",
    "Releases",
    "Run",
    "Status",
    "StatusOf",
    "TimerRow",
    "UnitRow",
    "Version",
]  # fmt: skip

MOST_MOMENT = 1e11
MOST_SECONDS = 1e9
MOST_COUNT = 1 << 62
JOB_ID = r"\A[0-9]{0,8}\Z"

Moment = Annotated[float, Meta(ge=0, le=MOST_MOMENT)]
"""Seconds since 1970."""
Seconds = Annotated[float, Meta(ge=-MOST_SECONDS, le=MOST_SECONDS)]
Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Number = Annotated[int, Meta(ge=1, le=MOST_NUMBER)]
Name = Annotated[str, Meta(pattern=rf"\A(?:{RELEASE.pattern})?\Z")]
"""Of a release; empty for none."""
JobId = Annotated[str, Meta(pattern=JOB_ID)]
Digest = Annotated[str, Meta(pattern=rf"\A{DIGEST.pattern}")]


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


class AskAnswer(Version, frozen=True, kw_only=True):
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
    names the release whose parts it has (a reload, a rollback); ``reason`` says why it failed or was rolled back;
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


class HeldRelease(Struct, frozen=True, kw_only=True):
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
    held: HeldRelease | None = None
    notes: tuple[str, ...] = ()


class StatusOf(Struct, frozen=True, kw_only=True):
    status: Status


class Releases(Struct, frozen=True, kw_only=True):
    releases: tuple[ReleaseRow, ...]


class LedgerEntry(Struct, frozen=True, kw_only=True):
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
    entries: tuple[LedgerEntry, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """A problem on a host, and what is done about it.

    ``kind`` is one of unfinished, leftover, down, restarting, failed, unhealthy, damaged, of the host's preparation
    account, login, confinement, proxy, and of its surroundings service, machine; ``what`` names the thing; ``fix`` says
    that the host can put it right by itself.
    """

    kind: str = ""
    what: str = ""
    text: str = ""
    repair: str = ""
    fix: bool = False


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What ``fab doctor`` found on one host: all is well without findings. ``busy``: who deploys now.

    ``notes`` are no findings: what setup decided for this host, and what that leaves open. ``seen`` are the URLs by
    which a visitor was seen to reach the app, asked from the host itself. ``app``, ``host`` and
    ``next``, the command that repairs what the host can repair itself, are the laptop's own.
    """

    app: str = ""
    host: str = ""
    current: Name | None
    busy: Job | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
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
    "ask": AskAnswer,
    "status": StatusOf,
    "releases": Releases,
    "history": History,
    "doctor": Diagnosis,
    "calendars": Calendars,
    "run": Run,
    "abort": Aborted,
}
"""What an answer holds, by the ``op`` of the question; to others, nothing."""

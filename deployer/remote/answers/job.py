"""What runs on a host, and what the host has: the answers to ``ask`` and ``abort``."""

from __future__ import annotations

import time
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from deployer.remote.answers.environment import HostVariable
from deployer.remote.answers.values import Count, Digest, JobId, Moment, Name, Number, Seconds
from deployer.wire.deploylock import DeployLock
from deployer.wire.protocol import DIGEST, standing

_RECOVER = "recover"
"""The kind of a job by which a host ends what another left unfinished."""


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


class Lock(Struct, frozen=True, kw_only=True):
    """Who keeps deploys from beginning, with ``fab lock``; times in seconds since 1970 (``until`` 0: no end)."""

    by: str
    why: str
    since: Moment
    until: Moment

    def __str__(self) -> str:
        return DeployLock(by=self.by, why=self.why, since=self.since, until=self.until).text()


class LockAnswer(Struct, frozen=True, kw_only=True):
    """The lock that holds now (of ``lock``), or that was removed (of ``unlock``; None: there was none)."""

    lock: Lock | None


class Base(Struct, frozen=True, kw_only=True):
    """See :class:`deployer.remote.facts.BaseTree`; the ids in base64."""

    key: str
    digest: Annotated[str, Meta(pattern=rf"\A(?:{DIGEST.pattern})?\Z")]
    altered: str
    ids: str


class Ids(Struct, frozen=True, kw_only=True):
    """The ids of the files that an upload may build on, in base64."""

    ids: str


class HeldRelease(Struct, frozen=True, kw_only=True):
    """A candidate whose next phase the host waits for, for so many ``seconds`` more."""

    release: Name
    seconds: Seconds


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
    held: HeldRelease | None = None
    passed: dict[Name, str] = {}
    lock: Lock | None = None
    environment: dict[str, HostVariable] = {}


class Aborted(Struct, frozen=True, kw_only=True):
    job: Job

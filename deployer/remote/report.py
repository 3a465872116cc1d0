"""What ``fab releases``, ``fab status``, ``fab doctor`` and the demo show, as frozen values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.wire.protocol import standing

__all__ = [
    "DemoStep", "Diagnosis", "Finding", "Held", "Job", "Lingering", "Plan", "PlannedProcess", "PlannedTimer",
    "ReleaseRow", "Status", "TimerRow", "UnitRow",
]  # fmt: skip

RECOVER = "recover"
"""The kind of a job by which a host ends what another left unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What runs on a host and holds the lock: whose deploy, reload, … it is, since when, and at which phase.

    ``since`` is in seconds since the epoch (0.0: unknown), ``id`` the host's name for it. ``waits`` is the barrier at
    which it stands until its fleet goes on; empty when it is at work.
    """

    by: str = ""
    kind: str = ""
    since: float = 0.0
    phase: str = ""
    id: str = ""
    waits: str = ""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Job:
        """What a host says of it."""
        return cls(
            by=str(value.get("by") or ""),
            kind=str(value.get("kind") or ""),
            since=float(value.get("since") or 0),
            phase=str(value.get("phase") or ""),
            id=str(value.get("job") or ""),
            waits=str(value.get("waits") or ""),
        )

    def __str__(self) -> str:
        """``a deploy by ada@laptop runs since 12:03:04, at build``."""
        since = f" since {time.strftime('%H:%M:%S', time.localtime(self.since))}" if self.since else ""
        if self.kind == RECOVER:
            what = "the host is finishing an interrupted deploy"
        else:
            what = f"a {self.kind or 'deploy'} by {self.by or 'someone'} runs"
        return f"{what}{since}, {standing(self.phase, self.waits)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One release of an app on one host.

    ``state`` is one of current, standby, candidate, retired, failed, preparing, rolled back, interrupted, and for one
    that only the ledger knows also pruned. ``kind`` is the command that made it. ``at`` is in seconds since the epoch
    (0.0: unknown), ``size`` in bytes (0: unknown). ``of`` names the release whose parts it has (a reload, a rollback);
    ``reason`` says why it failed, or what befell it; ``phase`` how far it came.
    """

    number: str
    state: str
    kind: str = ""
    by: str = ""
    at: float = 0.0
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    of: str = ""
    reason: str = ""
    phase: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """One instance of a process: ``active`` is systemd's ActiveState; 0 stands for what systemd does not say.

    ``ok``: it is up, or will be when the one of the older release has ended.
    """

    process: str = ""
    name: str
    active: str
    sub: str = ""
    pid: int = 0
    restarts: int = 0
    memory_bytes: int = 0
    since: float = 0.0
    ok: bool = True

    @property
    def instance(self) -> str:
        """``worker.2`` for ``shop-worker.2@v42.service``: no name of a process has a dash."""
        return self.name.partition("@")[0].rpartition("-")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerRow:
    """A timer. ``next`` and ``last`` are its runs, in seconds since the epoch (0.0: none).

    ``result`` is how the last one ended, as systemd calls it; empty when that is not known. ``ok``: it waits for its
    next run, and the last one did not fail.
    """

    process: str = ""
    name: str = ""
    ok: bool = True
    next: float = 0.0
    last: float = 0.0
    running: bool = False
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lingering:
    """What still finishes for an older ``release``: a process that was told to stop, the run of a timer."""

    process: str = ""
    release: str = ""
    name: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A candidate whose next phase the host waits for, for so many ``seconds`` more."""

    release: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an app does on one host. ``since``: when ``current`` began to serve; ``busy``: who deploys now.

    ``healthy`` is the result of a health check made just now (None: nothing serves); ``health`` says what came back.
    On a host without a web process it says whether all processes are up, and ``health`` is empty.
    ``last`` is the last attempt when that did not end as a good release; ``notes`` what setup decided for this host.
    """

    app: str
    host: str
    current: str | None
    standby: str | None = None
    since: float = 0.0
    release: ReleaseRow | None = None
    units: tuple[UnitRow, ...] = ()
    timers: tuple[TimerRow, ...] = ()
    lingering: tuple[Lingering, ...] = ()
    busy: str | None = None
    healthy: bool | None = None
    health: str = ""
    last: ReleaseRow | None = None
    held: Held | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something on a host that is not as it should be, and what is done about it.

    ``kind`` is one of unfinished, leftover, down, restarting, failed, unhealthy, damaged, and of the host's
    preparation account, login, confinement, proxy; ``what`` names the thing; ``fix`` says that the host can put it
    right by itself.
    """

    kind: str
    what: str
    text: str
    repair: str = ""
    fix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What ``fab doctor`` found on one host: all is well without findings. ``busy``: who deploys now.

    ``notes`` are no findings: what setup decided for this host, and what that leaves open. ``next`` is the command that
    puts right what the host can put right by itself.
    """

    app: str
    host: str
    current: str | None
    busy: str | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedProcess:
    """A process that a host is to run, ``count`` of it (of ``web``: so many workers in one).

    ``runs`` is its command, ``change`` how it differs from what the host runs now: new, changed, or empty.
    """

    process: str
    runs: str
    count: int = 1
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTimer:
    """A timer that a host is to have. ``next`` is when its calendar comes next there (0.0: never).

    ``problem`` is what the host's systemd says of a calendar that it does not understand.
    """

    process: str
    runs: str
    calendar: str
    next: float = 0.0
    problem: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What ``fab deploy`` would have run on one host, and as which ``release``; ``current`` is what serves now.

    ``gone`` names the processes and timers of what serves now that would not run any more.
    """

    app: str
    host: str
    current: str | None
    release: str
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    busy: str | None = None
    processes: tuple[PlannedProcess, ...] = ()
    timers: tuple[PlannedTimer, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """One step of the demo under load. Latencies in milliseconds; ``outcome`` is a remark (``refused``)."""

    step: str
    seconds: float
    release: str
    sent: int
    failed: int
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    outcome: str = ""

"""What ``fab releases``, ``fab status``, ``fab doctor`` and the demo show, as frozen values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.host.protocol import standing

__all__ = ["DemoStep", "Diagnosis", "Finding", "Held", "Job", "ReleaseRow", "Status", "UnitRow"]

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
    """One systemd unit: ``active`` is systemd's ActiveState; 0 stands for what systemd does not say."""

    name: str
    active: str
    sub: str = ""
    pid: int = 0
    restarts: int = 0
    memory_bytes: int = 0
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
    ``last`` is the last attempt when that did not end as a good release.
    """

    app: str
    host: str
    current: str | None
    standby: str | None = None
    since: float = 0.0
    release: ReleaseRow | None = None
    units: tuple[UnitRow, ...] = ()
    busy: str | None = None
    healthy: bool | None = None
    health: str = ""
    last: ReleaseRow | None = None
    held: Held | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something on a host that is not as it should be, and what is done about it.

    ``kind`` is one of unfinished, leftover, down, unhealthy, damaged; ``what`` names the thing; ``fix`` says that the
    host can put it right by itself.
    """

    kind: str
    what: str
    text: str
    repair: str = ""
    fix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What ``fab doctor`` found on one host: all is well without findings. ``busy``: who deploys now.

    ``next`` is the command that puts right what the host can put right by itself.
    """

    app: str
    host: str
    current: str | None
    busy: str | None = None
    findings: tuple[Finding, ...] = ()
    next: str = ""


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

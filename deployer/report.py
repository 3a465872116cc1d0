"""What ``fab releases``, ``fab status`` and the demo show, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DemoStep", "ReleaseRow", "Status", "UnitRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One release of an app on one host.

    ``state`` is one of current, standby, retired, failed, preparing, rolled back. ``kind`` is the command
    that made it. ``at`` is in seconds since the epoch (0.0: unknown), ``size`` in bytes (0: unknown). ``of``
    names the release whose parts it has (a reload, a rollback); ``reason`` says why it failed.
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
class Status:
    """What an app does on one host. ``since``: when ``current`` began to serve; ``busy``: who deploys now.

    ``healthy`` is the result of a health check made just now (None: nothing serves); ``health`` says what came back.
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

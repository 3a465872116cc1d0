"""What an app does on a host: the answer to ``status``."""

from __future__ import annotations

from msgspec import Struct, field

from deployer.remote.answers.job import HeldRelease, Job, Lock
from deployer.remote.answers.maintenance import Maintenance
from deployer.remote.answers.releases import ReleaseRow
from deployer.remote.answers.values import Count, Moment, Name


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


class Status(Struct, frozen=True, kw_only=True):
    """What an app does on one host. ``since``: when ``current`` began to serve; ``busy``: who deploys now;
    ``lock``: who keeps deploys from beginning.

    ``healthy`` is the result of a health check made just now (None: nothing serves); ``health`` says what came back.
    On a host without a web process it says whether all processes are up, and ``health`` is empty.
    ``last`` is the last attempt when that did not end as a good release; ``notes`` what setup decided for this host;
    ``maintenance`` is None when it is off.
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
    lock: Lock | None = None
    healthy: bool | None = None
    health: str = ""
    last: ReleaseRow | None = None
    held: HeldRelease | None = None
    notes: tuple[str, ...] = ()
    maintenance: Maintenance | None = None


class StatusOf(Struct, frozen=True, kw_only=True):
    status: Status

"""What ``fab plan`` shows, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from deployer.wire.lazydata import dataclass

__all__ = ["Plan", "PlannedProcess", "PlannedTimer"]


@dataclass(frozen=True, kw_only=True)
class PlannedProcess:
    """A process that a host is to run, ``count`` of it (of ``web``: so many workers in one).

    ``runs`` is its command, ``change`` how it differs from what the host runs now: new, changed, or empty.
    """

    process: str
    runs: str
    count: int = 1
    change: str = ""


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What ``fab deploy`` would have run on one host, and as which ``release``; ``current`` is what serves now.
    ``busy`` and ``locked`` say what would have it refused now; ``scaled`` are the counts that ``fab scale`` has set.

    ``gone`` names the processes and timers of what serves now that would not run any more; ``notes`` say what would be
    wrong for visitors, as far as that is known before; ``hidden`` the variables of deploy.toml that one set on the host
    wins over, each with where it is; ``missing`` those that are required and not set.
    """

    app: str
    host: str
    current: str | None
    release: str
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    busy: str | None = None
    locked: str | None = None
    scaled: tuple[str, ...] = ()
    processes: tuple[PlannedProcess, ...] = ()
    timers: tuple[PlannedTimer, ...] = ()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

"""What is wrong on a host: the answer to ``doctor``."""

from __future__ import annotations

from msgspec import Struct

from deployer.remote.answers.job import Job
from deployer.remote.answers.values import Name


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

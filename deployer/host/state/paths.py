"""Where everything of an app lives on its host. The one place that knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class AppPaths:
    """Paths of one app. ``root`` is ``/`` on a host and a temporary directory in tests."""

    app: str
    root: Path = Path("/")

    @cached_property
    def home(self) -> Path:
        return self.root / "srv" / self.app

    @cached_property
    def current(self) -> Path:
        return self.home / "current"

    @cached_property
    def releases(self) -> Path:
        return self.home / "releases"

    @cached_property
    def trees(self) -> Path:
        return self.home / "trees"

    @cached_property
    def venvs(self) -> Path:
        return self.home / "venvs"

    @cached_property
    def state(self) -> Path:
        """What the app itself writes: ``StateDirectory=``."""
        return self.root / "var/lib" / self.app

    @cached_property
    def private(self) -> Path:
        """Root's own records of the app: jobs, uploads under way, the fingerprint key."""
        return self.root / "var/lib/deployer" / self.app

    @cached_property
    def incoming(self) -> Path:
        return self.private / "incoming"

    @cached_property
    def jobs(self) -> Path:
        return self.private / "jobs"

    @cached_property
    def ledger(self) -> Path:
        return self.private / "ledger.jsonl"

    @cached_property
    def tickets(self) -> Path:
        """Of those who wait for the lock."""
        return self.private / "waiting"

    @cached_property
    def settings(self) -> Path:
        """What root decided at set-up; the deploy user cannot change it."""
        return self.root / "etc/deployer" / f"{self.app}.json"

    @cached_property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @cached_property
    def stamps(self) -> Path:
        """Where systemd keeps when each persistent timer last ran."""
        return self.root / "var/lib/systemd/timers"

    def release(self, number: int) -> Path:
        return self.releases / f"v{number}"

    def socket(self, number: int, process: str = "web") -> Path:
        return self.release(number) / "run" / f"{process}.sock"


def unit_name(app: str, process: str, number: int, kind: str) -> str:
    """``shop-web@v42.service``; ``kind`` is ``service``, ``socket`` or ``timer``; ``process`` may be ``worker.2``."""
    return f"{app}-{process}@v{number}.{kind}"


@dataclass(frozen=True)
class UnitName:
    """The name of a release's unit, taken apart: the reverse of :func:`unit_name`."""

    process: str
    number: int
    kind: str


def parse_unit(app: str, name: str) -> UnitName | None:
    """None for what is no unit of the app's: ``shop-web-a@v1.service`` is one of the app ``shop-web``."""
    pattern = rf"{re.escape(app)}-([a-z][a-z0-9_]*(?:\.[0-9]+)?)@v([1-9][0-9]*)\.(service|socket|timer)"
    match = re.fullmatch(pattern, name)
    return UnitName(match[1], int(match[2]), match[3]) if match else None


def job_unit(app: str) -> str:
    """The transient unit of a running deploy. Its name is the app's lock."""
    return f"deployer-{app}.service"


def lease_unit(app: str, kind: str) -> str:
    """The transient timer (and its service) that looks for what no job finishes any more."""
    return f"deployer-{app}-lease.{kind}"

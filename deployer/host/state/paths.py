"""Where everything of an app lives on its host: the only place that knows."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from deployer.wire.lazydata import dataclass


@dataclass(frozen=True)
class AppPaths:
    """The paths of one app. ``root`` is ``/`` on a host and a temporary directory in tests."""

    app: str
    root: Path = Path("/")

    @cached_property
    def home(self) -> Path:
        return self.root / "srv" / self.app

    @cached_property
    def current(self) -> Path:
        return self.home / "current"

    @cached_property
    def maintenance(self) -> Path:
        """The terms of maintenance; the app's user, as whom the page is served, reads them."""
        return self.home / "maintenance.json"

    @cached_property
    def maintenance_socket(self) -> Path:
        """Where the maintenance page is served."""
        return self.home / "maintenance.sock"

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
    def assets(self) -> Path:
        """The hashed assets of all kept releases, by the path of their URL; the proxy serves them first."""
        return self.home / "assets"

    @cached_property
    def media(self) -> Path:
        """Where the proxy finds what the app writes for visitors."""
        return self.home / "media"

    def medium(self, directory: str) -> Path:
        """Where the proxy finds one directory of the app's state, such as ``media``."""
        return self.media / directory.replace("/", "+")

    @cached_property
    def state(self) -> Path:
        """What the app itself writes: ``StateDirectory=``."""
        return self.root / "var/lib" / self.app

    @cached_property
    def private(self) -> Path:
        """Root's records of the app: jobs, incoming uploads, the key of this host."""
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
    def environment(self) -> Path:
        """The variables that the host keeps for the app."""
        return self.private / "environment.json"

    @cached_property
    def tickets(self) -> Path:
        """The queue of those who wait for the lock."""
        return self.private / "waiting"

    @cached_property
    def deploy_lock(self) -> Path:
        """Who keeps releases from beginning, and why."""
        return self.private / "deploy-lock.json"

    @cached_property
    def settings(self) -> Path:
        """Root's settings from ``fab setup``; the deploy user cannot change them."""
        return self.root / "etc/deployer" / f"{self.app}.json"

    @cached_property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @cached_property
    def stamps(self) -> Path:
        """Where systemd records when each persistent timer last ran (systemd.timer(5))."""
        return self.root / "var/lib/systemd/timers"

    def release(self, number: int) -> Path:
        return self.releases / f"v{number}"

    def code(self, number: int, directory: str = "") -> Path:
        """The code of a release, or a directory of it."""
        return self.release(number) / "code" / directory

    def socket(self, number: int, process: str = "web") -> Path:
        return self.release(number) / "run" / f"{process}.sock"


def unit_name(app: str, process: str, number: int, kind: str) -> str:
    """The name of a release's unit, for example ``shop-web@v42.service``.

    ``kind`` is ``service``, ``socket`` or ``timer``; ``process`` may be an instance, ``worker.2``.
    """
    return f"{app}-{process}@v{number}.{kind}"


@dataclass(frozen=True)
class UnitName:
    """The parts of a unit's name: the reverse of :func:`unit_name`."""

    process: str
    number: int
    kind: str


def parse_unit(app: str, name: str) -> UnitName | None:
    """The parts of the name of a unit of the app; None for any other, such as the app ``shop-web``'s."""
    pattern = rf"{re.escape(app)}-([a-z][a-z0-9_]*(?:\.[0-9]+)?)@v([1-9][0-9]*)\.(service|socket|timer)"
    match = re.fullmatch(pattern, name)
    return UnitName(match[1], int(match[2]), match[3]) if match else None


def job_unit(app: str) -> str:
    """The transient unit of a running job. Its name is the app's lock."""
    return f"deployer-{app}.service"


def stop_unit(app: str) -> str:
    """What stops the app whose ``APP.service`` has failed, or was stopped while it started."""
    return f"deployer-stop@{app}.service"


def redis_unit(app: str) -> str:
    """The app's own Redis, where it has one. No other unit of deployer's has an ``@`` behind ``deployer-WORD``."""
    return f"deployer-redis@{app}.service"


def maintenance_unit(app: str, kind: str) -> str:
    """What serves the maintenance page of the app: a socket, and its service."""
    return f"deployer-maintenance@{app}.{kind}"


def dump_unit(app: str, kind: str) -> str:
    """The timer of the daily dump of the app's database, and its service."""
    return f"deployer-dump@{app}.{kind}"


def scrub_unit(app: str, kind: str) -> str:
    """The timer of the weekly scrub of the app's releases, and its service."""
    return f"deployer-scrub@{app}.{kind}"


def lease_unit(app: str, kind: str) -> str:
    """The transient timer of the watchdog, and its service."""
    return f"deployer-{app}-lease.{kind}"

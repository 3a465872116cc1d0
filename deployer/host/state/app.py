"""What every host-side operation is given: where things are, what root decided, where events go."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass
from typing import Any, Callable

from deployer.host.errors import BadRequest, Damaged
from deployer.host.state.ledger import Ledger
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import Catalog
from deployer.host.state.store import Store
from deployer.host.system import files
from deployer.wire.advice import run
from deployer.wire.reader import Reader
from deployer.wire.site import ProxySite

Emit = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """Root's decisions about one app, made by ``fab setup``. ``units`` widens the list of unit overrides.

    ``site`` is what the proxy's site was made from. ``unsupported`` names the lines of the confinement that this host
    cannot bear: no unit of the app has them.
    """

    deploy_user: str
    socket_group: str
    units: tuple[str, ...] = ()
    proxy: str = ""
    site: ProxySite | None = None
    unsupported: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Settings:
        """Raises ValueError. What an older or a newer version has written is read, too: apps of one host share the
        program, are set up one by one, and must boot meanwhile."""
        read = Reader({"site": None, "unsupported": [], **value} if isinstance(value, dict) else value, "settings")
        site = None
        with contextlib.suppress(ValueError):  # another version's: it is looked at by fab doctor alone
            site = ProxySite.parse(read.raw("site"))
        return cls(
            deploy_user=read.text("deploy_user"),
            socket_group=read.text("socket_group"),
            units=read.texts("units"),
            proxy=read.text("proxy"),
            site=site,
            unsupported=read.texts("unsupported"),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "deploy_user": self.deploy_user,
            "socket_group": self.socket_group,
            "units": list(self.units),
            "proxy": self.proxy,
            "site": self.site.as_json() if self.site else None,
            "unsupported": list(self.unsupported),
        }


@dataclass(frozen=True)
class Context:
    """One app on this host. ``emit(name, **fields)`` reports an event; ``clock()`` is time in seconds since 1970."""

    paths: AppPaths
    settings: Settings
    emit: Emit
    clock: Callable[[], float]

    @property
    def app(self) -> str:
        return self.paths.app

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.paths)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.paths.ledger)

    @property
    def trees(self) -> Store:
        return Store(self.paths.trees)

    @property
    def venvs(self) -> Store:
        return Store(self.paths.venvs)

    def builder(self) -> tuple[int, int]:
        """uid and gid of the user who builds."""
        entry = pwd.getpwnam(self.settings.deploy_user)
        return entry.pw_uid, entry.pw_gid


def open_context(app: str, emit: Emit, clock: Callable[[], float]) -> Context:
    """The app's context. Raises BadRequest when it was never set up on this host."""
    paths = AppPaths(app)
    try:
        value = files.read_json(paths.settings)
        settings = Settings.parse(value) if value is not None else None
    except (ValueError, Damaged) as error:
        raise BadRequest(
            f"{paths.settings} is not as this version writes it: {error}",
            next=run("fab setup -H root@HOST", "writes it again"),
        ) from None
    if settings is None:
        raise BadRequest(
            f"this host is not set up for the app {app!r}",
            next=run("fab setup -H root@HOST", "once; then deploy as the deploy user"),
        )
    return Context(paths=paths, settings=settings, emit=emit, clock=clock)


def free_bytes(path: str) -> int:
    """Bytes that may still be written below ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize

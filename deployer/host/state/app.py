"""One app on this host: its paths, the settings that root made, and where events go."""

from __future__ import annotations

import contextlib
import pwd
from dataclasses import field
from typing import Any, Callable

from deployer.host.errors import BadRequest, Damaged
from deployer.host.state.catalog import Catalog
from deployer.host.state.content.store import Store
from deployer.host.state.ledger import Ledger
from deployer.host.state.paths import AppPaths
from deployer.host.system import files
from deployer.wire.advice import run
from deployer.wire.environment import parse_environment
from deployer.wire.lazydata import dataclass
from deployer.wire.reader import Reader
from deployer.wire.setup.software import BACKUPS
from deployer.wire.site import ProxySite

Emit = Callable[..., None]


@dataclass(frozen=True)
class AppSettings:
    """Root's settings for one app, made by ``fab setup``. ``units`` are unit directives allowed beyond the default
    list.

    ``site`` is what the proxy's site was generated from. ``unsupported`` are confinement lines that this host cannot
    apply: no unit of the app has them. ``interpreter`` is the Python that setup has installed, or found, for the app;
    empty where none was asked for. ``environment`` holds the variables of the data services on this host; ``backups``
    is how many dumps of the database are kept.
    """

    deploy_user: str
    socket_group: str
    units: tuple[str, ...] = ()
    proxy: str = ""
    site: ProxySite | None = None
    unsupported: tuple[str, ...] = ()
    interpreter: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    backups: int = 0

    @classmethod
    def parse(cls, value: Any) -> AppSettings:
        """The settings in a JSON value, also of an older or newer version: the apps of a host share the program, but
        are set up one by one. Raises ValueError."""
        older: dict[str, Any] = {"site": None, "unsupported": [], "interpreter": "", "environment": {}, "backups": 0}
        read = Reader({**older, **value} if isinstance(value, dict) else value, "settings")
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
            interpreter=read.text("interpreter"),
            environment=parse_environment(read.raw("environment")),
            backups=read.integer("backups", *BACKUPS),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "deploy_user": self.deploy_user,
            "socket_group": self.socket_group,
            "units": list(self.units),
            "proxy": self.proxy,
            "site": self.site.as_json() if self.site else None,
            "unsupported": list(self.unsupported),
            "interpreter": self.interpreter,
            "environment": self.environment,
            "backups": self.backups,
        }


@dataclass(frozen=True)
class Context:
    """What every operation on an app is given. ``emit(name, **fields)`` reports an event; ``clock()`` is in seconds
    since 1970."""

    paths: AppPaths
    settings: AppSettings
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
    """The context of an app. Raises BadRequest when it was not set up on this host."""
    paths = AppPaths(app)
    try:
        value = files.read_json(paths.settings)
        settings = AppSettings.parse(value) if value is not None else None
    except (ValueError, Damaged) as error:
        raise BadRequest(
            f"{paths.settings} was not written by this version: {error}",
            next=run("fab setup -H root@HOST", "writes it again"),
        ) from None
    if settings is None:
        raise BadRequest(
            f"this host is not set up for the app {app!r}",
            next=run("fab setup -H root@HOST", "once; then deploy as the deploy user"),
        )
    return Context(paths=paths, settings=settings, emit=emit, clock=clock)

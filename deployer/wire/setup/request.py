"""What ``fab setup`` asks of a host: root's own request, the only one that a deploy user cannot send."""

from __future__ import annotations

from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.protocol import RESERVED_APP, USER
from deployer.wire.reader import Reader
from deployer.wire.release.processes import DIRECTIVE
from deployer.wire.release.spec import parse_app
from deployer.wire.setup.software import NOTHING, Software
from deployer.wire.site import KINDS, ProxySite, caddy_problem

PUBLIC_KEY = pattern(r"(?:ssh-[a-z0-9@.-]+|ecdsa-[a-z0-9@.-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+(?: [^\r\n\0]*)?\Z")
"""A line of authorized_keys without options."""


@dataclass(frozen=True)
class Setup:
    """``keys`` are public keys that may log in as the deploy user; ``units`` the systemd directives that root allows
    besides those that any app may set; ``proxy`` is empty where deployer writes no site; ``software`` is what else the
    app needs.
    """

    app: str
    deploy_user: str
    keys: tuple[str, ...]
    units: tuple[str, ...]
    proxy: str
    site: ProxySite | None
    software: Software = NOTHING

    @classmethod
    def parse(cls, value: Any) -> Setup:
        """Raises ValueError naming the key that is refused."""
        read = Reader(value, "setup")
        site, software = read.raw("site"), read.raw("software")
        setup = cls(
            app=parse_app(read.raw("app")),
            deploy_user=read.text("deploy_user", USER),
            keys=read.texts("keys", PUBLIC_KEY),
            units=read.texts("units", DIRECTIVE),
            proxy=read.choice("proxy", KINDS),
            site=ProxySite.parse(site) if site is not None else None,
            software=Software.parse(software) if software is not None else NOTHING,
        )
        read.done()
        if problem := app_problem(setup.app):
            raise ValueError(f"setup.app: {problem}")
        if problem := user_problem(setup.deploy_user, setup.app):
            raise ValueError(f"setup.deploy_user: {problem}")
        if setup.proxy and setup.site is None:
            raise ValueError("setup.site: missing")
        if setup.proxy == "caddy" and setup.site and (wrong := caddy_problem(setup.site)):
            raise ValueError(f"setup.site.{wrong[0]}: {wrong[1]}")
        return setup


def app_problem(app: str) -> str:
    """Why an app may not have this name, which fits APP; empty when it may."""
    return f"may not be {app!r}: deployer needs that name for itself" if RESERVED_APP.fullmatch(app) else ""


def user_problem(user: str, app: str) -> str:
    """Why this user may not deploy the app; empty when it may."""
    if user == "root":
        return "may not be root: a deploy key must not be able to become root"
    return f"may not be {user!r}: that is the user the app runs as" if user == app else ""

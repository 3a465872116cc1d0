"""Which proxy an app's site goes into, where deploy.toml leaves that to the host."""

from __future__ import annotations

from deployer.host.errors import HostError
from deployer.host.setup.software import apt
from deployer.host.system import runner, systemd
from deployer.wire.site import ProxySite, caddy_problem


def choose(asked: str, before: str, site: ProxySite | None) -> str:
    """``nginx`` or ``caddy`` (empty: no site) for what was ``asked``.

    ``auto``: the one that setup chose ``before``, else the one that runs, else the one that is installed, else Caddy,
    where this host's packages have it and it can have such a site.
    """
    if asked != "auto" or site is None:
        return asked
    if caddy_problem(site):
        return "nginx"
    if before in ("nginx", "caddy"):
        return before
    for kind in ("nginx", "caddy"):
        if systemd.show(f"{kind}.service").active == "active":
            return kind
    for kind in ("nginx", "caddy"):
        if runner.which(kind, runner.ENVIRONMENT["PATH"]):
            return kind
    return "caddy" if _is_packaged("caddy") else "nginx"


def _is_packaged(name: str) -> bool:
    """Whether apt could install a package of that name. Debian 11 has no Caddy; a fresh image knows no packages yet."""
    try:
        if apt.has_candidate(name):
            return True
        runner.run(["apt-get", "-q", "update"], timeout=900)
        return apt.has_candidate(name)
    except HostError:  # no apt here
        return False

"""The last step of ``fab setup``: the site's certificate is there, and served.

It depends on others (DNS, firewalls, the authority): when it fails all else is done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from deployer.host.errors import HostError
from deployer.host.proxy import caddylog, certbot, certificate, install
from deployer.host.proxy.server import site_file
from deployer.host.state.app import Emit
from deployer.host.state.paths import AppPaths
from deployer.host.system import journald
from deployer.wire.advice import do, run
from deployer.wire.site import ProxySite

_PATIENCE = 90.0
"""Seconds that a proxy has to serve its certificates; less when it says that it got none."""
_RECORDS = 200


def certify(kind: str, site: ProxySite, paths: AppPaths, emit: Emit, *, since: float, loaded: bool) -> list[str]:
    """Get the site's certificate where there is none that is good, and see that it is served. Raises HostError.

    ``since`` is when this set-up began, in seconds since 1970; ``loaded`` whether it has had the proxy read its files.
    """
    if site.tls != "auto":
        return []
    changed = _by_certbot(site, paths, emit) if kind == "nginx" else []
    if kind == "caddy" and not loaded and _unserved(site, site.domains):
        install.reload("caddy")  # after some failures it waits for hours before it tries again
        changed.append("caddy tries again")
    left, why = _await(kind, site, since)
    if left:
        state = "Caddy goes on trying by itself; until then no browser can reach the site"
        raise _uncertified(
            site,
            f"no certificate is served for {', '.join(left)}",
            why,
            state if kind == "caddy" else "the site has one, and does not serve it",
        )
    return changed


def _by_certbot(site: ProxySite, paths: AppPaths, emit: Emit) -> list[str]:
    """A certificate, where there is none that is good, and the site that uses it."""
    changed = []
    if not certbot.is_good(site, paths.app, time.time()):
        try:
            certbot.obtain(site, paths.app)
        except HostError as error:
            raise _uncertified(site, error.message, error.logs, "the site answers as it did before") from None
        changed.append(f"certificate for {', '.join(site.domains)}")
    wanted = site_file("nginx", site, paths)
    return changed + install.install("nginx", {wanted.path: wanted.text}, emit)


def _await(kind: str, site: ProxySite, since: float) -> tuple[list[str], list[str]]:
    """The domains for which no certificate of theirs is served within the time, and what Caddy said of them.

    Ends early when Caddy has failed for all that are left.
    """
    deadline, left = time.monotonic() + _PATIENCE, list(site.domains)
    while left := _unserved(site, left):
        lines = journald.own_lines("caddy.service", _RECORDS) if kind == "caddy" else []
        refused = caddylog.refusals(lines, since)
        if set(left) <= set(refused) or time.monotonic() >= deadline:
            return left, [f"{name}: {refused[name]}" for name in left if name in refused]
        time.sleep(1.0)
    return [], []


def _unserved(site: ProxySite, names: Sequence[str]) -> list[str]:
    return [name for name in names if not _is_served(site, name)]


def _is_served(site: ProxySite, name: str) -> bool:
    found = certificate.find(site.https, name)
    return found is not None and found.covers(name) and not found.is_over(time.time())


def _uncertified(site: ProxySite, message: str, logs: Sequence[str], state: str) -> HostError:
    names = ", ".join(site.domains)
    return HostError(
        message,
        state=f"everything else of the set-up is done, and deploys work; {state}",
        next=do(f"do all of these names lead to this host, and does the internet reach its port 80: {names}")
        + run("fab setup -H root@HOST", "again: it goes on where it stopped"),
        logs=list(logs),
    )

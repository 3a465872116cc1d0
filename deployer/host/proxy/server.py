"""nginx or Caddy on this host: where it reads an app's site from, what stands there, who it runs as."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deployer.host.proxy import caddy, nginx
from deployer.host.proxy.site import Certificate, site_of
from deployer.host.state.paths import AppPaths
from deployer.wire.lazydata import dataclass
from deployer.wire.site import ProxySite

LINEAGES = Path("/etc/letsencrypt/live")
"""Where certbot keeps the newest certificate of each name."""


@dataclass(frozen=True)
class SiteFile:
    """The file of a site, as setup writes it, and the admin's own directory beside it."""

    path: Path
    text: str
    snippets: Path


def site_file(kind: str, wire: ProxySite, paths: AppPaths) -> SiteFile:
    """The site's file on this host: it depends on the proxy's version, and on whether there is a certificate yet."""
    if kind == "caddy":
        path, snippets = caddy.site_path(paths.app), caddy.snippets_path(paths.app)
        site = site_of(wire, paths, snippets=str(snippets))
        return SiteFile(path, caddy.render(site), snippets)
    path, snippets = nginx.site_path(paths.app), nginx.snippets_path(paths.app)
    site = site_of(wire, paths, snippets=str(snippets), certificate=obtained(wire, paths.app))
    site = replace(site, gzip_static=nginx.has_gzip_static())
    return SiteFile(path, nginx.render(site, ipv6=nginx.has_ipv6(), version=nginx.version()), snippets)


def user(kind: str) -> str:
    """Who opens the app's socket."""
    return caddy.USER if kind == "caddy" else nginx.worker_user()


def lineage(app: str) -> str:
    """certbot's name of the app's certificate."""
    return f"deployer-{app}"


def obtained(wire: ProxySite, app: str) -> Certificate | None:
    """The certificate that certbot has got for the app's site; None when there is none yet, or none is wanted."""
    directory = LINEAGES / lineage(app)
    chain, key = directory / "fullchain.pem", directory / "privkey.pem"
    if wire.tls != "auto" or not (chain.exists() and key.exists()):
        return None
    return Certificate(str(chain), str(key))

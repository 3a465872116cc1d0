"""Install the app's site into nginx, which validates it first and goes on serving whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup import nginx
from deployer.host.state.app import Emit
from deployer.host.system import files, journald, runner, systemd
from deployer.wire.advice import do
from deployer.wire.site import ProxySite

_STOCK = Path("/etc/nginx/sites-enabled/default")
_PACKAGES = ("nginx-common", "nginx")


def install_site(path: Path, text: str, emit: Emit, *, unlink: Path | None = None) -> list[str]:
    """Write the site, have nginx check its configuration, then reload it. When nginx objects, restore the old site.

    ``unlink`` is another site to remove: see :func:`conflicting_site`. An unchanged site causes no reload, which would
    end connections that clients keep open.
    """
    before = path.read_bytes() if path.exists() else None
    if before == text.encode() and unlink is None:
        return []
    target = os.readlink(str(unlink)) if unlink else ""
    files.write_file(path, text.encode(), 0o644)
    if unlink:
        unlink.unlink()
    try:
        warnings = _warnings()
    except BaseException:
        _restore(path, before)
        if unlink:
            files.point(unlink, target)
        raise
    for line in warnings:
        emit("warn", text=line)
    if systemd.show("nginx.service").active == "active":
        systemd.require("reload", "nginx.service")
    return [str(path), *([f"{unlink} removed (nginx's own welcome page)"] if unlink else [])]


def _warnings() -> list[str]:
    """nginx's warnings about its configuration. Raises HostError when it objects, or does not answer in time."""
    done = runner.run(["nginx", "-t"])
    if not done.ok:
        raise HostError(
            "nginx refuses the site; the one before is back and nginx was not reloaded",
            logs=done.tail(),
            next=do("mend [proxy] in deploy.toml, or what else the lines above name"),
        )
    return [line for line in done.err.splitlines() if "[warn]" in line]


def _restore(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink()
    else:
        files.write_file(path, before, 0o644)


def conflicting_site(path: Path, site: ProxySite) -> Path | None:
    """The site to remove so that this one can be the default: the unchanged welcome page of nginx's package.

    Only a site without a name must be the default. Raises HostError when another site is.
    """
    if site.names:
        return None
    others = nginx.default_sites(nginx.read_directives(), site.addresses(nginx.has_ipv6()))
    theirs = [one for one in others if Path(one.file) != path]
    stock = _STOCK if _is_stock() else None
    for one in theirs:
        if stock is None or Path(one.file) != stock:
            raise HostError(
                f"{one.where} answers all requests that no other site does ({' '.join(one.words)}): "
                "without a name of its own the site would answer none",
                state="the steps before this one are done; the proxy was not touched",
                next=do('set server_name under [proxy] in deploy.toml, or take "default_server" out of that line'),
            )
    return stock if theirs else None


def _is_stock() -> bool:
    """Whether the default site is the package's link to the package's unchanged file."""
    with contextlib.suppress(OSError):
        page = Path(os.path.realpath(str(_STOCK)))
        if _STOCK.is_symlink() and page != _STOCK:
            return f"{page} {hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()}" in _packaged()
    return False


def _packaged() -> set[str]:
    """The configuration files of nginx's packages, each with its packaged digest (dpkg-query(1))."""
    with contextlib.suppress(HostError):  # no dpkg here
        shown = (runner.run(["dpkg-query", "-W", "-f=${Conffiles}\\n", name]).out for name in _PACKAGES)
        return {" ".join(line.split()[:2]) for text in shown for line in text.splitlines()}
    return set()


def ensure_started() -> list[str]:
    """Start nginx, now and at boot. Raises HostError with its last log lines."""
    if systemd.show("nginx.service").active == "active":
        return []
    done = systemd.systemctl("enable", "--now", "nginx.service")
    if not done.ok:
        raise HostError(
            "nginx does not start",
            logs=journald.own_lines("nginx.service", 10),
            next=do("if another server has the port: stop it, or set listen under [proxy] in deploy.toml"),
        )
    return ["nginx started"]

"""Putting the site in front of the app: nginx decides whether it can be read, and goes on serving whatever happens."""

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
    """Write the site, have nginx check all it reads, then reload it; what was there before comes back if it objects.

    ``unlink`` is another site that goes: see :func:`in_the_way`. A reload ends connections that clients keep open, so
    that nothing is reloaded for a site that is as it was.
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
        _bring_back(path, before)
        if unlink:
            files.point(unlink, target)
        raise
    for line in warnings:
        emit("warn", text=line)
    if systemd.show("nginx.service").active == "active":
        systemd.require("reload", "nginx.service")
    return [str(path), *([f"{unlink} removed (nginx's own welcome page)"] if unlink else [])]


def _warnings() -> list[str]:
    """What nginx warns of in all that it reads. Raises HostError when it objects, or does not say in time."""
    done = runner.run(["nginx", "-t"])
    if not done.ok:
        raise HostError(
            "nginx refuses the site; the one before is back and nginx was not reloaded",
            logs=done.tail(),
            next=do("mend [proxy] in deploy.toml, or what else the lines above name"),
        )
    return [line for line in done.err.splitlines() if "[warn]" in line]


def _bring_back(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink()
    else:
        files.write_file(path, before, 0o644)


def in_the_way(path: Path, site: ProxySite) -> Path | None:
    """The site that has to go for this one to answer: the welcome page of nginx's package, when it is unchanged.

    A site without a name answers what no other site does, and of those there can be one. Raises HostError when that is
    a site of somebody else's.
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
    """Whether the default site is the link that the package made, to the file that the package brought."""
    with contextlib.suppress(OSError):
        page = Path(os.path.realpath(str(_STOCK)))
        if _STOCK.is_symlink() and page != _STOCK:
            return f"{page} {hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()}" in _packaged()
    return False


def _packaged() -> set[str]:
    """The configuration files of nginx's packages, each with the digest that it came with (dpkg-query(1))."""
    with contextlib.suppress(HostError):  # no dpkg here
        shown = (runner.run(["dpkg-query", "-W", "-f=${Conffiles}\\n", name]).out for name in _PACKAGES)
        return {" ".join(line.split()[:2]) for text in shown for line in text.splitlines()}
    return set()


def ensure_started() -> list[str]:
    """nginx runs, now and after a boot. Raises HostError with its last words."""
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

"""Install an app's site into the proxy, which validates it first and goes on serving whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.proxy import directives, nginx
from deployer.host.state.app import Emit
from deployer.host.system import files, journald, runner, systemd
from deployer.wire.advice import do
from deployer.wire.site import ProxySite

_STOCK = Path("/etc/nginx/sites-enabled/default")
_PACKAGES = {"nginx": ("nginx-common", "nginx"), "caddy": ("caddy",)}
_CHECKS = {
    "nginx": ("nginx", "-t"),
    "caddy": (
        "env", "HOME=/var/lib/caddy", "caddy", "validate", "--adapter", "caddyfile", "--config", "/etc/caddy/Caddyfile",
    ),
}  # fmt: skip
"""What judges the configuration. Caddy's runs as its own user: what root can read, it may not."""
_USERS = {"nginx": "", "caddy": "caddy"}


def install(
    kind: str, texts: Mapping[Path, str], emit: Emit, *, unlink: Path | None = None, restart: bool = False
) -> list[str]:
    """Write the files, have the proxy check its configuration, then have it read them. When it objects, restore them.

    ``unlink`` is another site to remove: see :func:`conflicting_site`. Files that are as wanted cause no reload, which
    would end connections that clients keep open. With ``restart`` a proxy that runs is restarted. Raises HostError.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    changed = [path for path in texts if before[path] != texts[path].encode()]
    if not changed and unlink is None and not restart:
        return []
    target = os.readlink(str(unlink)) if unlink else ""
    try:
        for path in changed:
            files.write_file(path, texts[path].encode(), 0o644)
        if unlink:
            unlink.unlink()
        warnings = check(kind)
        restarted = _load(kind, restart)
    except BaseException:
        for path in changed:
            _restore(path, before[path])
        if unlink:
            files.point(unlink, target)
        if restart:
            _load_again(kind)
        raise
    for line in warnings:
        emit("warn", text=line)
    return [*map(str, changed), *([f"{unlink} removed (nginx's own welcome page)"] if unlink else []), *restarted]


def check(kind: str) -> list[str]:
    """The proxy's warnings about its configuration. Raises HostError when it objects, or does not answer in time."""
    done = runner.run(_CHECKS[kind], user=_USERS[kind])
    if not done.ok:
        raise HostError(
            f"{kind} refuses the site; the one before is back and {kind} was not reloaded",
            logs=done.tail(),
            next=do("mend [proxy] in deploy.toml, or what else the lines above name"),
        )
    return [line for line in done.err.splitlines() if "[warn]" in line]


def _load(kind: str, restart: bool) -> list[str]:
    """Returns what is to be told of it. Raises HostError; a reload that fails leaves the proxy with what it had."""
    if restart:  # a drop-in may be new, which the start that follows must see
        systemd.require("daemon-reload")
    if not restart or systemd.show(f"{kind}.service").active != "active":
        reload(kind)
        return []
    systemd.require("restart", f"{kind}.service")
    return [f"{kind} restarted (its groups, its unit or its options have changed)"]


def _load_again(kind: str) -> None:
    """After a restart that failed: with the files of before. Never raises: there is an error to tell already."""
    with contextlib.suppress(HostError):
        systemd.require("daemon-reload")
        if systemd.show(f"{kind}.service").active == "failed":
            systemd.require("restart", f"{kind}.service")


def reload(kind: str) -> None:
    """Have the proxy read its files again, where it runs. Raises HostError; then it goes on with what it had."""
    if systemd.show(f"{kind}.service").active == "active":
        systemd.require("reload", f"{kind}.service")


def _restore(path: Path, before: bytes | None) -> None:
    if before is None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    else:
        files.write_file(path, before, 0o644)


def conflicting_site(path: Path, site: ProxySite) -> Path | None:
    """The site of nginx to remove so that this one can be the default: the unchanged welcome page of its package.

    Only a site without a name must be the default. Raises HostError when another site is.
    """
    if site.domains:
        return None
    ipv6 = nginx.has_ipv6()
    wanted = (*site.addresses(ipv6), *site.tls_addresses(ipv6))
    others = directives.default_sites(directives.read_directives(), wanted)
    theirs = [one for one in others if Path(one.file) != path]
    stock = _STOCK if is_packaged("nginx", _STOCK, link=True) else None
    for one in theirs:
        if stock is None or Path(one.file) != stock:
            raise HostError(
                f"{one.where} answers all requests that no other site does ({' '.join(one.words)}): "
                "without a name of its own the site would answer none",
                state="the steps before this one are done; the proxy was not touched",
                next=do('set domains under [proxy] in deploy.toml, or take "default_server" out of that line'),
            )
    return stock if theirs else None


def is_packaged(kind: str, path: Path, *, link: bool = False) -> bool:
    """Whether a file of the proxy's is its package's, unchanged (``link``: a link to such a file)."""
    with contextlib.suppress(OSError):
        page = Path(os.path.realpath(str(path)))
        if path.is_symlink() == link and (page != path) == link:
            return f"{page} {hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()}" in _packaged(kind)
    return False


def _packaged(kind: str) -> set[str]:
    """The configuration files of the proxy's packages, each with its packaged digest (dpkg-query(1))."""
    with contextlib.suppress(HostError):  # no dpkg here
        shown = (runner.run(["dpkg-query", "-W", "-f=${Conffiles}\\n", name]).out for name in _PACKAGES[kind])
        return {" ".join(line.split()[:2]) for text in shown for line in text.splitlines()}
    return set()


def ensure_started(kind: str) -> list[str]:
    """Start the proxy, now and at boot. Raises HostError with its last log lines."""
    unit = f"{kind}.service"
    if systemd.show(unit).active == "active":
        return []
    done = systemd.systemctl("enable", "--now", unit)
    if not done.ok:
        raise HostError(
            f"{kind} does not start",
            logs=journald.own_lines(unit, 10),
            next=do("if another server has the port: stop it, or set listen under [proxy] in deploy.toml"),
        )
    return [f"{kind} started"]

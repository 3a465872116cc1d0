"""Two steps of ``fab setup``: the app's site goes into the proxy, and its certificate is there and served."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from deployer.host.assets import links
from deployer.host.errors import HostError
from deployer.host.proxy import caddy, caddyfile, certbot, certificate, install, nginx
from deployer.host.proxy.server import SiteFile, site_file
from deployer.host.state.app import Emit
from deployer.host.state.paths import AppPaths
from deployer.host.system import files, journald, runner
from deployer.wire.advice import Next, do, run
from deployer.wire.site import ProxySite

_PATIENCE = 90.0
"""Seconds that Caddy has to get its certificates."""
_AGAIN = run("fab setup -H root@HOST", "again: it tries again, and goes on where it stopped")


def place(kind: str, site: ProxySite, paths: AppPaths, emit: Emit, *, groups: Sequence[str]) -> list[str]:
    """Write the site, have the proxy check and load it, and start the proxy. Raises HostError: all is as before.

    ``groups`` are those that the proxy needs to open the app's socket.
    """
    if site.tls == "files":
        _check_files(kind, site, emit)
    if kind == "caddy":
        links.refuse_links(Path(os.path.realpath(str(paths.current / "code"))), site)  # of what serves
    wanted = site_file(kind, site, paths)
    changed = _directories(kind, wanted)
    if kind == "caddy":
        changed += _place_in_caddy(wanted, groups, emit)
    else:
        changed += certbot.prepare(site) if site.tls == "auto" else []
        unlink = install.conflicting_site(wanted.path, site)
        changed += install.install("nginx", {wanted.path: wanted.text}, emit, unlink=unlink)
    return changed + _retire("nginx" if kind == "caddy" else "caddy", paths.app) + install.ensure_started(kind)


def _directories(kind: str, wanted: SiteFile) -> list[str]:
    """The admin's own directory, and what it lies in."""
    directories = [wanted.path.parent] if kind == "caddy" else []
    directories += [wanted.snippets.parent, wanted.snippets]
    return [str(path) for path in directories if files.own_directory(path, 0o755, 0, 0)]


def _place_in_caddy(wanted: SiteFile, groups: Sequence[str], emit: Emit) -> list[str]:
    path = caddyfile.CADDYFILE
    before = files.read_text(path) if path.exists() else ""
    after = caddyfile.wanted(before, is_stock=install.is_packaged("caddy", path))
    admin = caddyfile.admin_of(after)
    if caddyfile.is_open(admin):
        emit("warn", text=f"Caddy's admin API listens on {admin}: every user of this host, so every app, can replace "
             f"its sites; set in {path}: {caddyfile.ADMIN}")  # fmt: skip
    texts = {path: after, caddyfile.DROP_IN: caddyfile.UNIT, wanted.path: wanted.text}
    drop_in = files.read_text(caddyfile.DROP_IN) if caddyfile.DROP_IN.exists() else ""
    moved = caddyfile.admin_of(before) != admin or drop_in != caddyfile.UNIT
    restart = moved or caddyfile.must_restart(groups)
    files.make_directory(caddyfile.DROP_IN.parent, 0o755)
    return install.install("caddy", texts, emit, restart=restart)


def _retire(kind: str, app: str) -> list[str]:
    """Remove the site that an earlier set-up wrote for the other proxy."""
    path = nginx.site_path(app) if kind == "nginx" else caddy.site_path(app)
    if not path.exists():
        return []
    path.unlink()
    install.reload(kind)
    return [f"{path} removed"]


def _check_files(kind: str, site: ProxySite, emit: Emit) -> None:
    """Raises HostError for a certificate of the admin's own that the proxy could not serve; warns of one that browsers
    would not accept."""
    chain, key = Path(site.certificate), Path(site.key)
    found = certificate.read(chain)
    problem = certificate.pair_problem(chain, key)
    if not problem and kind == "caddy":
        closed = [path for path in (chain, key) if not runner.run(["test", "-r", str(path)], user=caddy.USER).ok]
        problem = f"{closed[0]} cannot be read by {caddy.USER}" if closed else ""
    if problem:
        repair = f"chown root:caddy {key}; chmod 640 {key}" if kind == "caddy" else "put the right files there"
        raise HostError(problem, next=do(f"as root on the host: {repair}") + _AGAIN)
    for name in site.domains:
        if wrong := certificate.judge(name.replace("*", "www"), found, time.time()):
            emit("warn", text=wrong)


def certify(kind: str, site: ProxySite, paths: AppPaths, emit: Emit) -> list[str]:
    """Get the site's certificate where there is none that is good, and see that it is served. Raises HostError."""
    if site.tls != "auto":
        return []
    changed = []
    if kind == "nginx" and not certbot.is_good(site, paths.app, time.time()):
        try:
            certbot.obtain(site, paths.app)
        except HostError as error:
            raise _uncertified(site, error.message, error.logs, "the site answers as it did before") from None
        changed.append(f"certificate for {', '.join(site.domains)}")
    if kind == "nginx":
        wanted = site_file("nginx", site, paths)
        changed += install.install("nginx", {wanted.path: wanted.text}, emit)
    waited = _await(site)
    if waited:
        logs = journald.own_lines(f"{kind}.service", 10) if kind == "caddy" else []
        state = "Caddy goes on trying by itself; until then no browser can reach the site"
        told = f"no certificate is served for {', '.join(waited)}"
        raise _uncertified(site, told, logs, state if kind == "caddy" else "the site has one, and does not serve it")
    return changed


def _await(site: ProxySite) -> list[str]:
    """The domains for which no certificate of theirs is served within the time."""
    deadline, left = time.monotonic() + _PATIENCE, list(site.domains)
    while left:
        left = [name for name in left if not _is_served(site, name)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(1.0)
    return left


def _is_served(site: ProxySite, name: str) -> bool:
    found = certificate.find(site.https, name)
    return found is not None and found.covers(name) and not found.is_over(time.time())


def _uncertified(site: ProxySite, message: str, logs: object, state: str) -> HostError:
    return HostError(
        message,
        state=f"everything else of the set-up is done, and deploys work; {state}",
        next=Next(
            do(f"do all of these names lead to this host, and does the internet reach its port 80: "
               f"{', '.join(site.domains)}")
            + _AGAIN
        ),
        logs=[str(line) for line in logs] if isinstance(logs, (list, tuple)) else [],
    )  # fmt: skip

"""A step of ``fab setup``: the app's site goes into the proxy of the host."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from deployer.host.assets import symlinks
from deployer.host.errors import HostError
from deployer.host.proxy import caddy, caddyfile, certbot, certificate, install, nginx
from deployer.host.proxy.server import SiteFile, site_file
from deployer.host.state.app import Emit
from deployer.host.state.paths import AppPaths
from deployer.host.system import files, runner
from deployer.wire.advice import do, run
from deployer.wire.site import ProxySite

LEFT_OVER = (
    "{path} is of an earlier set-up, and is still served: deploy.toml asks for no site now; remove the file and reload "
    "the proxy, or ask for the site again"
)
_AGAIN = run("fab setup -H root@HOST", "again: it tries again, and goes on where it stopped")


def place(kind: str, site: ProxySite, paths: AppPaths, emit: Emit, *, groups: Sequence[str]) -> list[str]:
    """Write the site, have the proxy check and load it, and start the proxy. Raises HostError: all is as before.

    ``groups`` are those that the proxy needs to open the app's socket.
    """
    if site.tls == "files":
        _check_files(kind, site, emit)
    if kind == "caddy":
        symlinks.refuse(Path(os.path.realpath(str(paths.current / "code"))), site)  # of what serves
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


def left_over(app: str) -> list[Path]:
    """The sites that earlier set-ups wrote for the app."""
    return [path for path in (nginx.site_path(app), caddy.site_path(app)) if path.exists()]


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

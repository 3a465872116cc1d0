"""Putting the site in front of the app: nginx decides whether it can be read, and goes on serving whatever happens."""

from __future__ import annotations

from pathlib import Path

from deployer.host import files, systemd
from deployer.host.context import Emit
from deployer.host.errors import HostError


def install_site(path: Path, text: str, emit: Emit) -> list[str]:
    """Write the site, have nginx check all it reads, then reload it; what was there before comes back if it objects."""
    before = path.read_bytes() if path.exists() else None
    if before == text.encode():
        return []
    files.write_file(path, text.encode(), 0o644)
    done = systemd.run(["nginx", "-t"])
    if not done.ok:
        if before is None:
            path.unlink()
        else:
            files.write_file(path, before, 0o644)
        raise HostError(
            "nginx refuses the site; the one before is back and nginx was not reloaded",
            logs=done.tail(),
            next="mend [proxy] in deploy.toml, or what else the lines above name",
        )
    for line in done.err.splitlines():
        if "[warn]" in line:
            emit("warn", text=line)
    if systemd.show("nginx.service").active == "active":
        systemd.require("reload", "nginx.service")
    return [str(path)]


def ensure_started() -> list[str]:
    """nginx runs, now and after a boot. Raises HostError with its last words."""
    if systemd.show("nginx.service").active == "active":
        return []
    done = systemd.systemctl("enable", "--now", "nginx.service")
    if not done.ok:
        raise HostError(
            "nginx does not start",
            logs=systemd.own_lines("nginx.service", 10),
            next="if another server has the port: stop it, or set listen under [proxy] in deploy.toml",
        )
    return ["nginx started"]

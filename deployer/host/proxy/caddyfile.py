"""What setup needs of Caddy beside an app's own site: the line that imports it, and an admin API that apps cannot use.

By default that API listens on a port of the host, where every user, so every app, may replace all sites.
"""

from __future__ import annotations

import grp
from collections.abc import Sequence
from pathlib import Path

from deployer.host.proxy.caddy import BUFFERING
from deployer.host.system import files, systemd
from deployer.wire.lazyre import pattern

CADDYFILE = Path("/etc/caddy/Caddyfile")
DROP_IN = Path("/etc/systemd/system/caddy.service.d/deployer.conf")
IMPORT = "import /etc/caddy/conf.d/*.caddy"
ADMIN = "admin unix//run/caddy/admin.sock"
FRESH = f"""\
# Written by deployer. Sites of your own go here, or into files beside deployer's in conf.d; setup keeps them.
{{
	{ADMIN}
}}

{IMPORT}
"""
"""What replaces the welcome page of Caddy's package."""
_BUFFER = 1 << 20
"""Bytes of a request that are read before a worker of the app is kept busy with it."""
UNIT = f"""\
# Written by deployer: the place of Caddy's admin socket, and the words by which this version of Caddy buffers requests.
[Service]
RuntimeDirectory=caddy
ExecStartPre=/bin/sh -c 'if caddy version | grep -Eq "^v?2[.][0-6][.]"; then \
echo buffer_requests; echo max_buffer_size {_BUFFER}; else echo request_buffers {_BUFFER}; fi >{BUFFERING}'
"""
_IMPORT = pattern(r"\s*import\s+(?:/etc/caddy/)?conf\.d/\*(?:\.caddy)?\s*(?:#.*)?")
_ADMIN = pattern(r"\s*admin(?:\s.*)?")


def wanted(before: str, *, is_stock: bool) -> str:
    """The Caddyfile as setup needs it: as it was, with the import and, unless it has one, an admin line. Pure."""
    if is_stock or not before.strip():
        return FRESH
    lines = before.splitlines()
    start, end = _options(lines)
    if start < 0:
        lines = ["{", f"\t{ADMIN}", "}", "", *lines]
    elif not any(_ADMIN.fullmatch(line) for line in lines[start + 1 : end]):
        lines.insert(start + 1, f"\t{ADMIN}")
    if not any(_IMPORT.fullmatch(line) for line in lines):
        lines += ["", "# The sites that deployer writes.", IMPORT]
    return "\n".join(lines) + "\n"


def admin_of(text: str) -> str:
    """Where the admin API of a Caddyfile listens; empty where it does not say. Pure."""
    lines = text.splitlines()
    start, end = _options(lines)
    found = [line.split(None, 1)[1:] for line in lines[start + 1 : end] if start >= 0 and _ADMIN.fullmatch(line)]
    return found[0][0].partition(" {")[0].strip() if found and found[0] else ""


def is_open(admin: str) -> bool:
    """Whether every user of the host may use an admin API at that address."""
    return admin != "off" and not admin.startswith("unix/")


def _options(lines: list[str]) -> tuple[int, int]:
    """The first and the last line of the block of global options; -1 and 0 where there is none."""
    said = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    if not said or lines[said[0]].split("#")[0].strip() != "{":
        return -1, 0
    depth = 0
    for number in range(said[0], len(lines)):
        line = lines[number].split(" #")[0]
        depth += line.count("{") - line.count("}")
        if depth <= 0:
            return said[0], number
    return said[0], len(lines)


def must_restart(groups: Sequence[str]) -> bool:
    """Whether Caddy runs without one of these groups: a process keeps those that it had at its start."""
    state = systemd.show("caddy.service")
    if state.active != "active" or not state.main_pid:
        return False
    status = files.read_text(Path(f"/proc/{state.main_pid}/status"))
    has = next((line.split()[1:] for line in status.splitlines() if line.startswith("Groups:")), [])
    return not {str(grp.getgrnam(name).gr_gid) for name in groups} <= set(has)

"""The nginx site of an app, as text, and where this host's nginx wants it; :mod:`provision` installs it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host import files
from deployer.host.paths import AppPaths
from deployer.host.reader import Reader

_NAME = re.compile(r"(?:[A-Za-z0-9_*.-]{1,253})\Z")
_LISTEN = re.compile(r"(?:[A-Za-z0-9.-]+:|\[[0-9a-fA-F:.]+\]:)?[0-9]{1,5}\Z")
_SIZE = re.compile(r"[0-9]{1,9}[kmg]?\Z")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*\Z")
_DIRECTORY = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?\Z")
_ETC = Path("/etc/nginx")


@dataclass(frozen=True)
class Site:
    """What a site answers to. ``static`` maps URL prefixes (``/static/``) to directories in the code tree."""

    server_name: tuple[str, ...]
    listen: tuple[str, ...]
    client_max_body_size: str
    static: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, value: Any) -> Site:
        """Raises ValueError: everything here goes into a file that root's nginx reads."""
        read = Reader(value, "site")
        static = read.raw("static")
        site = cls(
            server_name=read.texts("server_name", _NAME),
            listen=read.texts("listen", _LISTEN),
            client_max_body_size=read.text("client_max_body_size", _SIZE),
            static=_static(static),
        )
        read.done()
        if not site.listen:
            raise ValueError("site.listen: must name a port")
        return site


def _static(value: Any) -> tuple[tuple[str, str], ...]:
    read = Reader(value, "site.static")
    found = tuple((prefix, read.text(prefix, _DIRECTORY).rstrip("/")) for prefix in sorted(value))
    for prefix, _ in found:
        if not _PREFIX.fullmatch(prefix) or prefix == "/":
            raise ValueError(f"site.static: not a URL prefix like /static/: {prefix[:60]!r}")
    return found


def site_path(app: str, etc: Path = _ETC) -> Path:
    """Where the site goes: as Debian has it, else as nginx's own packages have it."""
    directory = etc / "sites-enabled"
    return (directory if directory.is_dir() else etc / "conf.d") / f"deployer-{app}.conf"


def worker_user(etc: Path = _ETC) -> str:
    """The user that nginx's workers run as; ``www-data`` where nothing says otherwise."""
    text = ""
    with contextlib.suppress(OSError):
        text = files.read_text(etc / "nginx.conf")
    found = re.search(r"^\s*user\s+([A-Za-z_][A-Za-z0-9_-]*)", text, re.MULTILINE)
    return found.group(1) if found else "www-data"


def render(site: Site, paths: AppPaths) -> str:
    """The site's file. Upstream keep-alive stays off: a pooled connection would go on reaching the old release.

    No link in the code is followed: nginx may read every app of the host, who ships one of them may not.
    """
    variable = f"$deployer_{paths.app.replace('-', '_')}_connection"
    lines = [
        f"# Written by deployer for {paths.app}; fab setup writes it again.",
        f"map $http_upgrade {variable} {{ default upgrade; '' close; }}",
        "server {",
        *(f"    listen {address};" for address in site.listen),
        f"    server_name {' '.join(site.server_name) or '_'};",
        f"    client_max_body_size {site.client_max_body_size};",
    ]
    for prefix, directory in site.static:
        lines += [
            f"    location {prefix} {{",
            f"        alias {paths.current}/code/{directory}/;",
            f"        disable_symlinks on from={paths.current}/code;",
            "    }",
        ]
    lines += [
        "    location / {",
        f"        proxy_pass http://unix:{paths.current}/run/web.sock;",
        "        proxy_http_version 1.1;",
        "        proxy_set_header Upgrade $http_upgrade;",
        f"        proxy_set_header Connection {variable};",
        "        proxy_set_header Host $http_host;",
        "        proxy_set_header X-Real-IP $remote_addr;",
        "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "        proxy_set_header X-Forwarded-Proto $scheme;",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"

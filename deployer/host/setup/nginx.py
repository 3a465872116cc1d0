"""The nginx site of an app, as text, and what this host's nginx reads, as it dumps it (``nginx -T``)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deployer.host.state.paths import AppPaths
from deployer.host.system import files, runner
from deployer.wire.site import ProxySite

_ETC = Path("/etc/nginx")
PROOF = "/.well-known/deployer/"
"""Below this path a site leads to :data:`PROOF_SOCKET`, beside the app's socket (:mod:`deployer.host.setup.proof`)."""
PROOF_SOCKET = "probe.sock"
NO_PROOF = "deployer: nobody looks"
"""The site's answer there when it cannot reach that socket, with status 404."""
_FILE = re.compile(r"# configuration file (.+):")
_PART = re.compile(
    r"""\s+|\#[^\n]*|[{};]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:[^\s{};"'\\$]|\\.|\$\{[^}]*\}|\$)+""", re.DOTALL
)
_ANY = "0.0.0.0"  # noqa: S104  (compared with, not bound)
_POOLS = (1, 29, 7)
"""From this version on nginx keeps connections to a named upstream by default."""


def site_path(app: str, etc: Path = _ETC) -> Path:
    """The path of the site: Debian's layout, else that of nginx's own packages."""
    directory = etc / "sites-enabled"
    return (directory if directory.is_dir() else etc / "conf.d") / f"deployer-{app}.conf"


def worker_user(etc: Path = _ETC) -> str:
    """The user that nginx's workers run as; ``www-data`` by default."""
    text = ""
    with contextlib.suppress(OSError):
        text = files.read_text(etc / "nginx.conf")
    found = re.search(r"^\s*user\s+([A-Za-z_][A-Za-z0-9_-]*)", text, re.MULTILINE)
    return found.group(1) if found else "www-data"


def has_ipv6() -> bool:
    """Whether this host's kernel has IPv6: without it nginx does not start with an IPv6 address."""
    return Path("/proc/net/if_inet6").exists()


def render(site: ProxySite, paths: AppPaths, *, ipv6: bool) -> str:
    """The site's file.

    Upstream keep-alive stays off: a pooled connection would go on reaching the old release. Symbolic links in the code
    are not followed: nginx may read every app of the host, an app's author may not. Headers by which servers and
    frameworks learn about the client are overwritten or removed: a client could forge them. A site without a name is
    the default server; nginx refuses two of these at one address.
    """
    default = "" if site.names else " default_server"
    lines = [
        f"# Written by deployer for {paths.app}; fab setup writes it again.",
        *_maps(site, paths.app),
        "server {",
        *(f"    listen {address}{default};" for address in site.addresses(ipv6)),
        f"    server_name {' '.join(site.names) or '_'};",
        f"    client_max_body_size {site.client_max_body_size};",
        *_trust(site),
        *_headers(site, paths.app),
    ]
    for prefix, directory in site.static:
        lines += [
            f"    location {prefix} {{",
            f"        alias {paths.current}/code/{directory}/;",
            f"        disable_symlinks on from={paths.current}/code;",
            "    }",
        ]
    lines += [
        f"    location ^~ {PROOF} {{",
        f"        proxy_pass http://unix:{paths.current}/run/{PROOF_SOCKET};",
        "        error_page 502 504 = @deployer_no_proof;",
        "    }",
        "    location @deployer_no_proof {",
        f'        return 404 "{NO_PROOF}";',
        "    }",
        "    location / {",
        f"        proxy_pass http://unix:{paths.current}/run/web.sock;",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _variable(app: str, name: str) -> str:
    return f"$deployer_{app.replace('-', '_')}_{name}"


def _maps(site: ProxySite, app: str) -> list[str]:
    """Variables that depend on the request. Forwarded headers count only when a trusted proxy sent them."""
    upgrade = f"map $http_upgrade {_variable(app, 'connection')} {{ default upgrade; '' close; }}"
    if not site.trusted:
        return [upgrade]
    front = _variable(app, "front")
    return [
        upgrade,
        f"geo $realip_remote_addr {front} {{",
        "    default 0;",
        *(f"    {network} 1;" for network in dict.fromkeys(site.trusted)),
        "}",
        f'map "{front}:$http_x_forwarded_proto" {_variable(app, "proto")} '
        '{ default $scheme; "1:https" https; "1:http" http; }',
        f"map {front} {_variable(app, 'host')} {{ default ''; 1 $http_x_forwarded_host; }}",
        f"map {front} {_variable(app, 'port')} {{ default ''; 1 $http_x_forwarded_port; }}",
    ]


def _trust(site: ProxySite) -> list[str]:
    """Take the client's address from the header of a trusted proxy: the last address that is not a proxy's."""
    if not site.trusted:
        return []
    return [
        *(f"    set_real_ip_from {network};" for network in dict.fromkeys(site.trusted)),
        "    real_ip_header X-Forwarded-For;",
        "    real_ip_recursive on;",
    ]


def _headers(site: ProxySite, app: str) -> list[str]:
    """The headers that the app gets about a request. nginx does not send an empty one."""
    empty = "''"
    values = {
        "Upgrade": "$http_upgrade",
        "Connection": _variable(app, "connection"),
        "Host": "$http_host",
        "X-Real-IP": "$remote_addr",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": _variable(app, "proto") if site.trusted else "$scheme",
        "X-Forwarded-Host": _variable(app, "host") if site.trusted else empty,
        "X-Forwarded-Port": _variable(app, "port") if site.trusted else empty,
        **dict.fromkeys(("X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Prefix", "Forwarded"), empty),
    }
    return ["    proxy_http_version 1.1;", *(f"    proxy_set_header {name} {value};" for name, value in values.items())]


@dataclass(frozen=True)
class Directive:
    """One directive: its words, the blocks around it (outermost first), and where it stands."""

    words: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


def read_directives() -> list[Directive]:
    """All directives that nginx reads; none when its configuration is not valid."""
    done = runner.run(["nginx", "-T", "-q"])
    return list(parse_dump(done.out)) if done.ok else []


def parse_dump(dump: str) -> Iterator[Directive]:
    """The directives of a dump, including those that open a block. Never raises: odd text is skipped."""
    for file, text in _files(dump):
        blocks: list[tuple[str, ...]] = []
        words: list[str] = []
        line, began = 1, 1
        for match in _PART.finditer(text):
            part = match.group()
            if part in (";", "{"):
                if words:
                    yield Directive(tuple(words), tuple(blocks), file, began)
                if part == "{":
                    blocks.append(tuple(words))
                words = []
            elif part == "}":
                del blocks[-1:]
                words = []
            elif not part.isspace() and not part.startswith("#"):
                began = began if words else line
                words.append(part[1:-1] if part[0] in "\"'" else part)
            line += part.count("\n")


def _files(dump: str) -> Iterator[tuple[str, str]]:
    """Each file of a dump with its text. A file is dumped once, even when it is included several times."""
    name: str = ""
    lines: list[str] = []
    for line in dump.splitlines():
        match = _FILE.fullmatch(line)
        if match:
            yield name, "\n".join(lines)
            name, lines = match[1], []
        else:
            lines.append(line)
    yield name, "\n".join(lines)


def default_sites(found: Iterable[Directive], addresses: Iterable[str]) -> list[Directive]:
    """The ``listen`` lines that make a site the default server at one of these addresses."""
    wanted = {_address(one) for one in addresses}
    return [
        one
        for one in found
        if one.words[0] == "listen"
        and {"default_server", "default"} & set(one.words[2:])
        and _address(one.words[1]) in wanted
    ]


def _address(text: str) -> str:
    """An address as nginx compares it: ``80``, ``*:80`` and ``0.0.0.0:80`` are the same."""
    if text.isdigit():
        return f"{_ANY}:{text}"
    host, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "80")
    return f"{_ANY if host in ('*', '') else host}:{port}"


def pooling_upstreams(found: Iterable[Directive], app: str, version: tuple[int, ...]) -> list[Directive]:
    """The upstreams to the app that keep their connections: after a switch these reach the old release."""
    found = list(found)
    ours = f"unix:/srv/{app}/"
    servers = [
        one for one in found if one.words[0] == "server" and len(one.words) > 1 and one.words[1].startswith(ours)
    ]
    kept = []
    for server in servers:
        same = [one for one in found if one.file == server.file and one.blocks == server.blocks]
        says = [one for one in same if one.words[0] == "keepalive"]
        if any(one.words[1:] != ("0",) for one in says) or (not says and version >= _POOLS and not _closes(found)):
            kept.append(says[0] if says else server)
    return kept


def _closes(found: Iterable[Directive]) -> bool:
    """Whether any site tells its upstream to close the connection."""
    return any(one.words[:2] == ("proxy_set_header", "Connection") and one.words[2:] == ("close",) for one in found)


def version() -> tuple[int, ...]:
    """The version of nginx, for example ``(1, 22, 1)``; empty when it does not say."""
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", runner.run(["nginx", "-v"]).err)
    return tuple(int(part) for part in match.groups()) if match else ()

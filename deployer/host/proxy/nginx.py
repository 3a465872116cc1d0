"""The nginx site of an app, as text; and what nginx is like on this host."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from deployer.host.proxy.site import (
    CHALLENGES,
    IMMUTABLE,
    REVALIDATED,
    Certificate,
    CodeFiles,
    Location,
    MediaFiles,
    Proof,
    Site,
)
from deployer.host.system import files, runner
from deployer.wire.site import NO_PROOF

_ETC = Path("/etc/nginx")
_HTTP2 = (1, 25, 1)
"""From this version on HTTP/2 is a directive of its own; before it was a word of ``listen``."""
_TYPES = (
    "text/plain text/css text/csv text/xml text/javascript application/javascript application/json "
    "application/manifest+json application/xml application/rss+xml application/atom+xml image/svg+xml "
    "application/wasm font/ttf font/otf"
)
"""What is compressed besides HTML. Not text/event-stream, which must not wait."""
_CIPHERS = ":".join(
    f"{exchange}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for exchange in ("ECDHE-ECDSA", "ECDHE-RSA")
)
"""Of TLS 1.2; those of 1.3 are all good."""


def site_path(app: str, etc: Path = _ETC) -> Path:
    """The path of the site: Debian's layout, else that of nginx's own packages."""
    directory = etc / "sites-enabled"
    return (directory if directory.is_dir() else etc / "conf.d") / f"deployer-{app}.conf"


def snippets_path(app: str, etc: Path = _ETC) -> Path:
    """The directory of the admin's own files, which the site reads."""
    return etc / "deployer" / app


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


def version() -> tuple[int, ...]:
    """The version of nginx, for example ``(1, 22, 1)``; empty when it does not say."""
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", runner.run(["nginx", "-v"]).err)
    return tuple(int(part) for part in match.groups()) if match else ()


def has_gzip_static() -> bool:
    """Whether it was built with what sends files that are compressed already."""
    return "http_gzip_static_module" in runner.run(["nginx", "-V"]).err


def render(site: Site, *, ipv6: bool, version: tuple[int, ...] = ()) -> str:
    """The site's file, for nginx of that ``version``.

    Upstream keep-alive stays off: a pooled connection would go on reaching the old release. Symbolic links in the code
    are not followed: nginx may read every app of the host, an app's author may not. Headers by which servers and
    frameworks learn about the client are overwritten or removed: a client could forge them. A site without a name is
    the default server; nginx refuses two of these at one address.
    """
    lines = [f"# Written by deployer for {site.app}; fab setup writes it again.", *_maps(site)]
    for server in _servers(site, ipv6, version):
        lines += ["server {", *(f"    {line}" for line in server), "}"]
    return "\n".join(lines) + "\n"


def _servers(site: Site, ipv6: bool, version: tuple[int, ...]) -> list[list[str]]:
    """The lines of each server block: plain HTTP, HTTPS, and for each the domains that only lead to another one."""
    wire = site.wire
    plain = [f"listen {one}{_default(site)};" for one in wire.addresses(ipv6)]
    to = wire.domains[0] if wire.redirected else "$host"
    leads = [_name(wire.redirected), *_lead(site, to)]
    if site.certificate is None:
        led = [[*plain, *leads, *_challenges(site)]] if wire.redirected else []
        return [[*plain, _name(wire.names), *_challenges(site), *_app(site)], *led]
    tls = [*_tls_listen(site, ipv6, version), *_tls(site.certificate)]
    lead = [*_trust(site), *_headers(site), *_proof(site.proof), *_lead(site, to)]
    first = [*plain, _name(wire.domains), *_challenges(site), *lead]
    led = [[*tls, *leads, *_hsts(site)]] if wire.redirected else []
    return [first, [*tls, _name(wire.names), *_app(site)], *led]


def _default(site: Site) -> str:
    return "" if site.wire.domains else " default_server"


def _name(names: tuple[str, ...]) -> str:
    return f"server_name {' '.join(names) or '_'};"


def _tls_listen(site: Site, ipv6: bool, version: tuple[int, ...]) -> list[str]:
    """Where it speaks HTTPS, with HTTP/2 as this version of nginx writes it."""
    new = version >= _HTTP2
    word = "" if new else " http2"
    lines = [f"listen {one} ssl{word}{_default(site)};" for one in site.wire.tls_addresses(ipv6)]
    return [*lines, "http2 on;"] if new else lines


def _tls(certificate: Certificate) -> list[str]:
    return [
        f"ssl_certificate {certificate.chain};",
        f"ssl_certificate_key {certificate.key};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        f"ssl_ciphers {_CIPHERS};",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_cache shared:deployer:10m;",
        "ssl_session_timeout 1d;",
        "ssl_session_tickets off;",
    ]


def _challenges(site: Site) -> list[str]:
    """What an authority asks for over plain HTTP before it makes a certificate."""
    if site.wire.tls != "auto":
        return []
    return [
        "location ^~ /.well-known/acme-challenge/ {",
        f"    root {CHALLENGES};",
        "    default_type text/plain;",
        "}",
    ]


def _lead(site: Site, name: str) -> list[str]:
    """Lead each request to the same path of ``name``, by HTTPS where there is HTTPS. 308 keeps a POST a POST."""
    scheme, port = _scheme(site), ""
    if site.certificate is not None:
        first = site.wire.https[0].port
        scheme, port = "https", "" if first == 443 else f":{first}"
    return ["location / {", f"    return 308 {scheme}://{name}{port}$request_uri;", "}"]


def _scheme(site: Site) -> str:
    """How the client sent its request."""
    return f"${site.variable('proto')}" if site.wire.trusted else "$scheme"


def _app(site: Site) -> list[str]:
    """What serves the app."""
    lines = [
        f"client_max_body_size {site.wire.client_max_body_size};",
        f"proxy_read_timeout {site.wire.timeout:g}s;",
        f"proxy_send_timeout {site.wire.timeout:g}s;",
        "gzip on;",
        "gzip_vary on;",
        "gzip_proxied any;",
        f"gzip_types {_TYPES};",
        *_trust(site),
        *_headers(site),
        *_hsts(site),
    ]
    for number, location in enumerate(site.locations):
        lines += _location(site, location, number)
    if site.snippets:
        lines.append(f"include {site.snippets}/*.conf;")
    return [*lines, "location / {", f"    proxy_pass http://unix:{site.socket};", "}"]


def _location(site: Site, location: Location, number: int) -> list[str]:
    if isinstance(location, CodeFiles):
        return _code_files(site, location, f"@deployer_static_{number}")
    if isinstance(location, MediaFiles):
        return [
            f"location ^~ {location.prefix} {{",
            f"    alias {location.directory}/;",
            f"    disable_symlinks on from={location.directory};",
            "    add_header X-Content-Type-Options nosniff always;",
            *(f"    {line}" for line in _hsts(site)),
            "}",
        ]
    return _proof(location)


def _code_files(site: Site, location: CodeFiles, others: str) -> list[str]:
    """``others`` is the name of the location of what has no hash in its name."""
    return [
        f"location ^~ {location.prefix} {{",
        f"    root {location.assets};",
        f"    disable_symlinks on from={location.assets};",
        *(["    gzip_static on;"] if site.gzip_static else []),
        "    log_not_found off;",
        f'    add_header Cache-Control "{IMMUTABLE}";',
        *(f"    {line}" for line in _hsts(site)),
        f"    error_page 404 = {others};",
        "}",
        f"location {others} {{",
        f"    rewrite ^{re.escape(location.prefix)}(.*)$ /$1 break;",
        f"    root {site.current}/code/{location.directory};",
        f"    disable_symlinks on from={site.current}/code;",
        f'    add_header Cache-Control "{REVALIDATED}";',
        *(f"    {line}" for line in _hsts(site)),
        "}",
    ]


def _proof(proof: Proof) -> list[str]:
    return [
        f"location ^~ {proof.prefix} {{",
        f"    proxy_pass http://unix:{proof.socket};",
        "    error_page 502 504 = @deployer_no_proof;",
        "}",
        "location @deployer_no_proof {",
        f'    return 404 "{NO_PROOF}";',
        "}",
    ]


def _maps(site: Site) -> list[str]:
    """Variables that depend on the request. Forwarded headers count only when a trusted proxy sent them."""
    lines = [f"map $http_upgrade ${site.variable('connection')} {{ default upgrade; '' close; }}"]
    if site.wire.trusted:
        front = f"${site.variable('front')}"
        lines += [
            f"geo $realip_remote_addr {front} {{",
            "    default 0;",
            *(f"    {network} 1;" for network in dict.fromkeys(site.wire.trusted)),
            "}",
            f'map "{front}:$http_x_forwarded_proto" ${site.variable("proto")} '
            '{ default $scheme; "1:https" https; "1:http" http; }',
            f"map {front} ${site.variable('host')} {{ default ''; 1 $http_x_forwarded_host; }}",
            f"map {front} ${site.variable('port')} {{ default ''; 1 $http_x_forwarded_port; }}",
        ]
    if site.wire.hsts:  # by HTTPS only, and only where the app says nothing itself
        asked = f'"{_scheme(site)}:$upstream_http_strict_transport_security"'
        lines.append(f'map {asked} ${site.variable("hsts")} {{ default \'\'; "https:" "{site.wire.hsts}"; }}')
    return lines


def _hsts(site: Site) -> list[str]:
    """nginx sends no empty header. A location with an ``add_header`` of its own must repeat this one."""
    return [f"add_header Strict-Transport-Security ${site.variable('hsts')} always;"] if site.wire.hsts else []


def _trust(site: Site) -> list[str]:
    """Take the client's address from the header of a trusted proxy: the last address that is not a proxy's."""
    if not site.wire.trusted:
        return []
    return [
        *(f"set_real_ip_from {network};" for network in dict.fromkeys(site.wire.trusted)),
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
    ]


def _headers(site: Site) -> list[str]:
    """The headers that the app gets about a request. nginx does not send an empty one."""
    empty = "''"
    trusted = bool(site.wire.trusted)
    values = {
        "Upgrade": "$http_upgrade",
        "Connection": f"${site.variable('connection')}",
        "Host": "$http_host",
        "X-Real-IP": "$remote_addr",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": _scheme(site),
        "X-Forwarded-Host": f"${site.variable('host')}" if trusted else empty,
        "X-Forwarded-Port": f"${site.variable('port')}" if trusted else empty,
        **dict.fromkeys(("X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Prefix", "Forwarded"), empty),
    }
    return ["proxy_http_version 1.1;", *(f"proxy_set_header {name} {value};" for name, value in values.items())]

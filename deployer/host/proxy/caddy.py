"""The Caddy site of an app, as text; and what Caddy is like on this host."""

from __future__ import annotations

from pathlib import Path

from deployer.host.proxy.site import IMMUTABLE, REVALIDATED, CodeFiles, Location, MediaFiles, Proof, Site
from deployer.wire.site import NO_PROOF, Address

USER = "caddy"
"""Who Caddy runs as (its packages' unit)."""
_ETC = Path("/etc/caddy")
BUFFERING = Path("/run/caddy/deployer-buffering.caddy")
"""The lines that have requests buffered, which Caddy's unit writes at each start (:mod:`caddyfile`): 2.6 and newer
ones refuse each other's words for it, and an upgrade must not keep Caddy from starting."""
_BUFFERED = f"import {BUFFERING}*"
"""A slow upload must not keep a worker of the app busy. The star lets the file be missing, as it is before a start."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_FORGED = ("X-Forwarded-Port", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Prefix", "Forwarded")
"""Headers that no proxy here sends, and that servers and frameworks may believe."""
_LAST = r"^(?:.*,)?\s*([^,\s]+)\s*,\s*[^,\s]+$"
"""In what a trusted front has told, Caddy's addition at the end: the address before the front's own."""

Block = list[str]


def site_path(app: str, etc: Path = _ETC) -> Path:
    """The path of the site, which the Caddyfile imports."""
    return etc / "conf.d" / f"deployer-{app}.caddy"


def snippets_path(app: str, etc: Path = _ETC) -> Path:
    """The directory of the admin's own files, which the site reads."""
    return etc / "deployer" / app


def render(site: Site) -> str:
    """The site's file, which Caddy 2.6.2 and newer ones read.

    Connections to the app are not kept: a pooled one would go on reaching the old release. Caddy overwrites what a
    client claims in ``X-Forwarded-For``, ``-Proto`` and ``-Host``; the rest is removed here. It answers authorities by
    itself.
    """
    lines = [f"# Written by deployer for {site.app}; fab setup writes it again."]
    wire = site.wire
    if wire.ends_tls:
        to = _origin(site, wire.domains[0] if wire.redirected else "{host}")
        lead = [*_proof(site, site.proof), *_block("handle", [f"redir {to}{{uri}} 308"]), *_no_proof(site)]
        lines += _block(_plain(site, wire.domains), [*_bind(site), *lead])
    addresses = _secure if wire.ends_tls else _plain
    lines += _block(addresses(site, wire.names), [*_bind(site), *_tls(site), *_app(site)])
    if wire.redirected:
        lead = [f"redir {_origin(site, wire.domains[0])}{{uri}} 308"]
        lines += _block(addresses(site, wire.redirected), [*_bind(site), *_tls(site), *lead])
    return "\n".join(lines) + "\n"


def _origin(site: Site, name: str) -> str:
    """Where a visitor finds that domain."""
    if site.wire.tls == "off":
        return f"http://{name}{_port(site.wire.http, 80)}"
    return f"https://{name}{_port(site.wire.https, 443)}"


def _block(head: str, lines: Block) -> Block:
    return [f"{head} {{", *(f"\t{line}" for line in lines), "}"]


def _port(addresses: tuple[Address, ...], usual: int) -> str:
    """The port of a URL; nothing where it is the usual one, or another proxy's."""
    return f":{addresses[0].port}" if addresses and addresses[0].port != usual else ""


def _secure(site: Site, names: tuple[str, ...]) -> str:
    """The names as Caddy reads them: without a scheme it serves HTTPS."""
    return ", ".join(f"{name}{_port(site.wire.https, 443)}" for name in names)


def _plain(site: Site, names: tuple[str, ...]) -> str:
    """The same, for plain HTTP."""
    port = f":{site.wire.http[0].port}"
    return ", ".join(f"http://{name}{port}" for name in names or ("",))


def _bind(site: Site) -> Block:
    hosts = [one.host.strip("[]") for one in site.wire.http]
    return [] if "" in hosts else [f"bind {' '.join(hosts)}"]


def _tls(site: Site) -> Block:
    if site.certificate:
        return [f"tls {site.certificate.chain} {site.certificate.key}"]
    if site.wire.tls != "auto":
        return []
    acme = site.wire.acme
    told = [*([f"ca {acme.directory}"] if acme.directory else []), *([f"ca_root {acme.ca}"] if acme.ca else [])]
    head = f"tls {acme.email}".rstrip()
    return _block(head, told) if told else [head] if acme.email else []


def _app(site: Site) -> Block:
    lines = ["encode zstd gzip"]
    if site.wire.hsts:
        lines.append(f'header ?Strict-Transport-Security "{site.wire.hsts}"')
    if site.snippets:
        lines.append(f"import {site.snippets}/*.caddy")
    for number, location in enumerate(site.locations):
        lines += _location(site, location, f"@hashed{number}")
    limit = _limit(_bytes(site.wire.client_max_body_size))
    lines += _block("handle", [*limit, *_reverse_proxy(site, site.socket, [_BUFFERED])])
    return [*lines, *_no_proof(site)]


def _no_proof(site: Site) -> Block:
    """What answers when nobody listens for a check. All other errors stay as they are."""
    nobody = [f"@proof path {site.proof.prefix}*", f'respond @proof "{NO_PROOF}" 404']
    return _block("handle_errors", nobody)


def _location(site: Site, location: Location, hashed: str) -> Block:
    if isinstance(location, CodeFiles):
        return _block(f"handle {location.prefix}*", _code_files(site, location, hashed))
    if isinstance(location, MediaFiles):
        served = [f"root * {location.directory}", "header X-Content-Type-Options nosniff", "file_server"]
        return _block(f"handle_path {location.prefix}*", served)
    return _proof(site, location)


def _code_files(site: Site, location: CodeFiles, hashed: str) -> Block:
    """``hashed`` is the name of the matcher of what lies among the hashed assets."""
    assets = [
        f"root * {location.assets}",
        f'header Cache-Control "{IMMUTABLE}"',
        *_block("file_server", ["precompressed zstd br gzip"]),
    ]
    others = [
        f"uri strip_prefix {location.prefix.rstrip('/')}",
        f"root * {site.current}/code/{location.directory}",
        f"header Cache-Control {REVALIDATED}",
        "file_server",
    ]
    matcher = _block(f"{hashed} file", [f"root {location.assets}"])
    return [*matcher, *_block(f"handle {hashed}", assets), *_block("handle", others)]


def _proof(site: Site, proof: Proof) -> Block:
    return _block(f"handle {proof.prefix}*", _reverse_proxy(site, proof.socket, []))


def _reverse_proxy(site: Site, socket: str, more: Block) -> Block:
    wait = f"response_header_timeout {site.wire.timeout:g}s"
    return _block(
        f"reverse_proxy unix/{socket}",
        [*_headers(site), *more, *_block("transport http", ["keepalive off", wait])],
    )


def _headers(site: Site) -> Block:
    """What the app gets to know of a request. Behind a trusted front the client is the last that the front has seen."""
    removed = [f"header_up -{name}" for name in _FORGED]
    if not site.wire.trusted:
        return ["header_up X-Real-IP {remote_host}", "header_up -X-Forwarded-Host", *removed]
    networks = " ".join(dict.fromkeys(site.wire.trusted))
    last = f'header_up X-Forwarded-For "{_LAST}" "$1"'
    return [f"trusted_proxies {networks}", last, "header_up -X-Real-IP", *removed]


def _limit(size: int) -> Block:
    """Refuse what says that it is larger (413), and end what turns out to be (by itself Caddy makes that a 502)."""
    if not size:
        return []
    length = "{http.request.header.Content-Length}"
    large = f'@large expression `{length} != "" && int({length}) > {size}`'
    return [large, "error @large 413", *_block("request_body", [f"max_size {size}"])]


def _bytes(size: str) -> int:
    """A size as nginx writes it, in bytes. 0: no limit."""
    unit = size[-1] if size[-1] in _UNITS else ""
    return int(size.rstrip("kmg")) * _UNITS[unit]

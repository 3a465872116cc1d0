"""Check that a visitor who asks for the app's name reaches this app through the proxy at this host's addresses.

The site that ``fab setup`` writes has one location that leads to a socket beside the app's own, where this program
listens during the check (:mod:`deployer.host.proxy.proof.listener`). What stands in front of the host, and DNS, are not
asked.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.host.proxy.nginx import has_ipv6
from deployer.host.proxy.proof import causes
from deployer.host.proxy.proof.listener import TURN, Arrivals, listening, read, split
from deployer.host.state.app import Context
from deployer.wire.lazydata import dataclass
from deployer.wire.site import NO_PROOF, PROOF, ProxySite

if TYPE_CHECKING:
    import ssl

_SECONDS = 5.0
"""For one visit."""
_ALL = 20.0
"""After so many seconds no other endpoint is tried."""
_SPOOFED = "192.0.2.66"
"""The address that a visit claims to come from (reserved by RFC 5737)."""
_LOCAL = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (asked, not bound)
_NAMES = 16
"""The most names to check: a site may have hundreds."""
_USUAL = {"http": 80, "https": 443}
_LEADS = (301, 302, 307, 308)
_TOLD = (9, 10, 62)
"""Why a certificate is refused, as OpenSSL numbers it, where :mod:`deployer.host.proxy.certificate` says it in more
words: not valid yet, expired, for another name."""
PRIVATE = (18, 19, 20, 21)
"""Issued by nobody whom this host knows."""


@dataclass(frozen=True)
class Endpoint:
    """Where a visitor may ask: ``name`` over ``scheme`` at an ``address`` as a proxy listens there (``[::]:80``).

    ``leads``: plain HTTP that need do no more than lead to HTTPS.
    """

    scheme: str
    name: str
    address: str
    leads: bool = False

    @property
    def peer(self) -> tuple[str, int]:
        """Where to connect from this host."""
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        return _LOCAL.get(host, host), int(port)

    @property
    def host(self) -> str:
        """The Host header: the name, with the port where it is not the usual one."""
        port = self.peer[1]
        return self.name if port == _USUAL[self.scheme] else f"{self.name}:{port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def __str__(self) -> str:
        return f"{self.url} at {self.address}"


@dataclass(frozen=True)
class Visit:
    """One request to the proxy. ``answer`` is the status of the response, ``fault`` why there was none.

    ``ours``: the app's site answered without reaching the socket. ``headers`` are what arrived there, from a process of
    ``user``; None: nothing did. ``location`` is where the response led. ``refused`` says why browsers refuse the
    certificate, ``code`` is OpenSSL's number for it.
    """

    endpoint: Endpoint
    answer: int = 0
    fault: str = ""
    ours: bool = False
    headers: Mapping[str, str] | None = None
    user: str = ""
    location: str = ""
    refused: str = ""
    code: int = 0

    @property
    def reached(self) -> bool:
        return self.headers is not None

    @property
    def led(self) -> bool:
        """Whether it was plain HTTP that leads to HTTPS, as it should."""
        return self.endpoint.leads and self.answer in _LEADS and self.location.startswith("https://")

    @property
    def believed(self) -> bool:
        """Whether the proxy passed on an address that the visitor made up."""
        headers = self.headers or {}
        return any(_SPOOFED in headers.get(name, "") for name in ("x-forwarded-for", "x-real-ip", "forwarded"))

    @property
    def pooled(self) -> bool:
        """Whether the proxy keeps its connection to the app for later requests."""
        return self.reached and (self.headers or {}).get("connection", "").lower() != "close"


def endpoints(site: ProxySite, *, ipv6: bool) -> list[Endpoint]:
    """All endpoints of a site: each name at each address. Pure."""
    found = []
    if site.ends_tls:
        found += [Endpoint("https", name, one) for one in site.tls_addresses(ipv6) for name in _examples(site.names)]
    names = _examples(site.domains if site.ends_tls else site.names)
    return [*found, *(Endpoint("http", name, one, site.ends_tls) for one in site.addresses(ipv6) for name in names)]


def _examples(names: tuple[str, ...]) -> list[str]:
    """The names, and one that fits a pattern such as ``*.example.com``; any name where the site has none."""
    return [name.replace("*", "www") for name in names[:_NAMES]] or ["localhost"]


def visit(ctx: Context, number: int, site: ProxySite, within: float = _ALL) -> list[Visit]:
    """Ask at each endpoint, at none after ``within`` seconds. ``number`` is the current release. Raises OSError."""
    deadline = time.monotonic() + within
    with listening(ctx, number, turn=min(within, TURN)) as seen:
        asked = (endpoint for endpoint in endpoints(site, ipv6=has_ipv6()) if time.monotonic() < deadline)
        return [_visit(seen, endpoint, site) for endpoint in asked]


def _visit(seen: Arrivals, endpoint: Endpoint, site: ProxySite) -> Visit:
    """Over a certificate that browsers refuse, too: both are told."""
    import ssl

    made, context = Visit(endpoint), browser(site) if endpoint.scheme == "https" else None
    nonce = secrets.token_hex(16)
    try:
        try:
            answer = ask(endpoint, nonce, context)
        except ssl.SSLCertVerificationError as error:
            if not (error.verify_code in PRIVATE and is_private(site)):
                made = replace(made, refused=error.verify_message, code=error.verify_code)
            answer = ask(endpoint, nonce, ssl._create_unverified_context())  # noqa: S323  (what is behind it is not secret)
    except OSError as error:
        return replace(made, fault=error.strerror or "it did not answer in time")
    arrived = seen.by_nonce.get(nonce)
    status, headers, body = answer
    return replace(
        made,
        answer=status,
        ours=NO_PROOF.encode() in body,
        location=headers.get("location", ""),
        headers=arrived.headers if arrived else None,
        user=arrived.user if arrived else "",
    )


def is_private(site: ProxySite) -> bool:
    """Whether a certificate of an authority that this host does not know is what the admin wants."""
    return site.tls == "files" or bool(site.acme.directory)


def browser(site: ProxySite) -> ssl.SSLContext:
    """What a visitor trusts: the authorities that this host knows, and the site's own."""
    import ssl

    context = ssl.create_default_context()
    if site.acme.ca and Path(site.acme.ca).exists():
        context.load_verify_locations(site.acme.ca)
    return context


def ask(endpoint: Endpoint, nonce: str, context: ssl.SSLContext | None) -> tuple[int, dict[str, str], bytes]:
    """The response's status (0: not HTTP), its headers and its body. Raises OSError."""
    with socket.create_connection(endpoint.peer, timeout=_SECONDS) as plain:
        connection = context.wrap_socket(plain, server_hostname=endpoint.name) if context else plain
        with connection:
            connection.sendall(request(endpoint, nonce))
            return response(read(connection, b"", _SECONDS))


def request(endpoint: Endpoint, nonce: str, *more: str) -> bytes:
    """A request for the path of the proof, with claims that no proxy may believe; ``more`` are header lines."""
    lines = (
        f"GET {PROOF}{nonce} HTTP/1.1",
        f"Host: {endpoint.host}",
        "User-Agent: deployer-doctor",
        f"X-Forwarded-For: {_SPOOFED}",
        f"X-Real-IP: {_SPOOFED}",
        f"Forwarded: for={_SPOOFED}",
        "Connection: close",
        *more,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def response(received: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status (0: not HTTP), headers and body. Pure."""
    first, headers = split(received)
    words = first.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() and len(words[1]) == 3 else 0
    return status, headers, received.partition(b"\r\n\r\n")[2]


def visits(ctx: Context, *, patience: float = 0.0, within: float = _ALL) -> list[Visit]:
    """Ask at each endpoint of the site that setup has written; none without such a site, and while nothing serves.

    Tries for ``patience`` seconds: after a reload, old processes of the proxy still answer for a moment. In one try no
    endpoint is asked after ``within`` seconds. Raises OSError.
    """
    deadline = time.monotonic() + patience
    while True:
        site, number = ctx.settings.site, ctx.catalog.current()
        if site is None or not number or not ctx.paths.socket(number).exists():
            return []
        made = visit(ctx, number, site, within)
        if not any(judge(one, ctx.settings.proxy) for one in made) or time.monotonic() >= deadline:
            return made
        time.sleep(0.2)


def problems(ctx: Context, made: Iterable[Visit], *, certificates: bool = True) -> list[tuple[str, str]]:
    """What these visits show to be wrong, each with its repair. Without ``certificates`` not what
    :mod:`deployer.host.proxy.certificate` says in more words."""
    kept = (one if certificates or one.code not in _TOLD else replace(one, refused="") for one in made)
    return list(dict.fromkeys(found for one in kept for found in judge(one, ctx.settings.proxy)))


def proven(made: Iterable[Visit]) -> list[str]:
    """The URLs by which a visitor reaches the app, each with the user of the proxy that led there."""
    good = [one for one in made if one.reached and not one.refused and not one.endpoint.leads]
    return list(dict.fromkeys(f"{one.endpoint.url}, through the proxy of {one.user}" for one in good))


def judge(one: Visit, kind: str) -> list[tuple[str, str]]:
    """The problems that a visit shows, each with its repair. Pure."""
    found = []
    endpoint = one.endpoint
    if one.refused:
        found.append(causes.REFUSED.finding(name=endpoint.name, host=endpoint.host, why=one.refused))
    if one.fault:
        found.append(causes.SILENT.finding(endpoint=endpoint, why=one.fault, proxy=kind))
    elif one.led:
        pass
    elif not one.reached and (one.ours or one.answer in (502, 504)):
        cut_off = causes.NGINX_CUT_OFF if kind == "nginx" else causes.CADDY_CUT_OFF
        found.append(cut_off.finding(endpoint=endpoint))
    elif not one.reached:
        shown = "nginx -T" if kind == "nginx" else "cat /etc/caddy/Caddyfile /etc/caddy/conf.d/*"
        found.append(causes.OTHER_SITE.finding(endpoint=endpoint, answer=one.answer or "no HTTP", shown=shown))
    elif one.believed:
        found.append(causes.CREDULOUS.finding(endpoint=endpoint))
    elif one.pooled:
        found.append(causes.POOLS.finding(endpoint=endpoint))
    return found

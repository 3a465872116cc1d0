"""The proxy's site of an app. Everything here goes into a file that root's nginx or Caddy reads."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.reader import Reader

KINDS = ("", "auto", "nginx", "caddy")
"""Empty: deployer writes no site. ``auto``: the proxy that the host has, else Caddy."""
TLS = ("auto", "files", "front", "off")
"""Certificates by ACME; files of the host's; a proxy in front ends TLS; plain HTTP."""
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DOMAIN = pattern(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\Z")
BODY_SIZE = pattern(r"[0-9]{1,9}[kmg]?\Z")
"""Bytes, as nginx reads them."""
URL_PREFIX = pattern(r"(?!.*/\.\.?/)/(?:[A-Za-z0-9._~-]+/)+\Z")
DIRECTORY = pattern(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?\Z")
DIRECTORY_LENGTH = 4096
HSTS = pattern(r"max-age=[0-9]{1,10}(?:; ?includeSubDomains)?(?:; ?preload)?\Z")
HOST_FILE = pattern(r"(?!.*/\.\.?(?:/|$))(?:/[A-Za-z0-9._~@+-]+)+\Z")
"""The path of a file on the host, of at most PATH_LENGTH characters."""
PATH_LENGTH = 1024
ACME_DIRECTORY = pattern(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?\Z")
EMAIL = pattern(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")
PROOF = "/.well-known/deployer/"
"""Below this path a site leads to whoever checks it, who answers with the rest of the path."""
NO_PROOF = "deployer: nobody looks"
"""The site's answer there while nobody does, with status 404."""
TIMEOUT = (1.0, 86400.0)
MOST_DOMAINS = 100
"""Let's Encrypt puts no more names into one certificate."""
_LISTEN = pattern(r"(?:[A-Za-z0-9.-]+:|\[[0-9a-fA-F:.]+\]:)?(?P<port>[0-9]{1,5})\Z")
_NETWORK = pattern(r"[0-9a-fA-F:.]{2,45}(?:/[0-9]{1,3})?\Z")


class Address(NamedTuple):
    """Where a proxy listens. ``host`` is empty for all addresses of the host; IPv6 ones have brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.host else str(self.port)


@dataclass(frozen=True)
class Acme:
    """Where certificates come from: empty values are the proxy's own defaults (Let's Encrypt, no address).

    ``ca`` is a file on the host: the root certificate by which a private directory is trusted.
    """

    directory: str = ""
    ca: str = ""
    email: str = ""

    @classmethod
    def parse(cls, value: Any) -> Acme:
        """Raises ValueError."""
        read = Reader(value, "site.acme")
        acme = cls(
            directory=read.text("directory", _or_empty(ACME_DIRECTORY), PATH_LENGTH),
            ca=read.text("ca", _or_empty(HOST_FILE), PATH_LENGTH),
            email=read.text("email", _or_empty(EMAIL)),
        )
        read.done()
        return acme

    def as_json(self) -> dict[str, Any]:
        return {"directory": self.directory, "ca": self.ca, "email": self.email}


@dataclass(frozen=True)
class ProxySite:
    """What a site answers to. ``static`` maps URL prefixes (``/static/``) to directories in the code tree, ``media`` to
    directories below the app's state directory.

    Without ``domains`` it answers to every name. With ``redirect`` only the first serves; the others lead to it.
    ``tls`` is one of :data:`TLS`; ``certificate`` and ``key`` are the files of ``files``. ``listen`` is where it speaks
    plain HTTP, ``listen_tls`` where it speaks HTTPS (empty: port 443 at the same addresses). ``trusted`` are the
    addresses of proxies in front of this one, whose ``X-Forwarded-*`` headers are kept. ``timeout`` is how many seconds
    the app may say nothing before a request is given up.
    """

    domains: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("80",)
    client_max_body_size: str = "10m"
    static: tuple[tuple[str, str], ...] = ()
    media: tuple[tuple[str, str], ...] = ()
    trusted: tuple[str, ...] = ()
    redirect: bool = False
    tls: str = "off"
    listen_tls: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    acme: Acme = Acme()
    hsts: str = ""
    timeout: float = 60.0

    @classmethod
    def parse(cls, value: Any) -> ProxySite:
        """Raises ValueError: everything here goes into a file that root's proxy reads."""
        read = Reader(value, "site")
        static, media = read.raw("static"), read.raw("media")
        site = cls(
            domains=read.texts("domains", DOMAIN, MOST_DOMAINS),
            listen=read.texts("listen"),
            client_max_body_size=read.text("client_max_body_size", BODY_SIZE),
            static=_directories(static, "site.static"),
            media=_directories(media, "site.media"),
            trusted=read.texts("trusted"),
            redirect=read.boolean("redirect"),
            tls=read.choice("tls", TLS),
            listen_tls=read.texts("listen_tls"),
            certificate=read.text("certificate", _or_empty(HOST_FILE), PATH_LENGTH),
            key=read.text("key", _or_empty(HOST_FILE), PATH_LENGTH),
            acme=Acme.parse(read.raw("acme")),
            hsts=read.text("hsts", _or_empty(HSTS)),
            timeout=read.seconds("timeout", *TIMEOUT),
        )
        read.done()
        if not site.listen or not all(map(listens, (*site.listen, *site.listen_tls))):
            raise ValueError("site.listen: must be ports, or addresses with a port")
        if not all(map(trustworthy, site.trusted)):
            raise ValueError("site.trusted: must be addresses or networks, not all there are")
        if problem := site.problem():
            raise ValueError(f"site.{problem[0]}: {problem[1]}")
        return site

    def as_json(self) -> dict[str, Any]:
        return {
            "domains": list(self.domains),
            "listen": list(self.listen),
            "client_max_body_size": self.client_max_body_size,
            "static": dict(self.static),
            "media": dict(self.media),
            "trusted": list(self.trusted),
            "redirect": self.redirect,
            "tls": self.tls,
            "listen_tls": list(self.listen_tls),
            "certificate": self.certificate,
            "key": self.key,
            "acme": self.acme.as_json(),
            "hsts": self.hsts,
            "timeout": self.timeout,
        }

    def problem(self) -> tuple[str, str] | None:
        """The key that does not go with the others, and why; None when all do."""
        both = sorted(dict(self.static).keys() & dict(self.media).keys())
        inside = next((one for _, one in self.media for _, other in self.media if one.startswith(f"{other}/")), "")
        for key, is_wrong, why in (
            ("tls", self.tls == "auto" and not self.domains, "needs domains: a certificate is for names"),
            ("domains", bool(repeated(self.domains)), f"has {repeated(self.domains)} twice"),
            ("domains", self.tls == "auto" and any("*" in one for one in self.domains),
             'has a "*", for which no certificate can be got by itself: name each domain, or use one of your own'),
            ("listen", self.tls == "auto" and not any(one.port == 80 for one in self.http),
             "must have port 80: there the authority that makes the certificate asks"),
            ("tls", self.tls == "files" and not (self.certificate and self.key), "needs both certificate and key"),
            ("tls", self.tls == "front" and not self.trusted,
             "needs trusted: the addresses of the front, which alone may say that a request came by HTTPS"),
            ("redirect", self.redirect and len(self.domains) < 2, "needs a second domain"),
            ("redirect", self.redirect and "*" in self.domains[0], "leads to the first domain, which must have no *"),
            ("media", bool(both), f"has {', '.join(both)}, which static has, too"),
            ("media", bool(inside), f"has {inside}: one of its directories lies in another one"),
            ("hsts", bool(self.hsts) and self.tls == "off", "needs TLS: browsers ignore it over plain HTTP"),
            ("listen_tls", bool(self.listen_tls) and not self.ends_tls, "has no meaning without TLS at this proxy"),
            ("listen_tls", bool(set(self.https) & set(self.http)), "must not have what listen has"),
        ):  # fmt: skip
            if is_wrong:
                return key, why
        return None

    @property
    def ends_tls(self) -> bool:
        """Whether this proxy itself speaks HTTPS."""
        return self.tls in ("auto", "files")

    @property
    def names(self) -> tuple[str, ...]:
        """The domains that serve the app; none when it answers to any."""
        return self.domains[:1] if self.redirect else self.domains

    @property
    def redirected(self) -> tuple[str, ...]:
        """The domains that only lead to the first one."""
        return self.domains[1:] if self.redirect else ()

    @property
    def http(self) -> tuple[Address, ...]:
        """Where it speaks plain HTTP."""
        return tuple(dict.fromkeys(map(address, self.listen)))

    @property
    def https(self) -> tuple[Address, ...]:
        """Where it speaks HTTPS; nowhere when it does not."""
        if not self.ends_tls:
            return ()
        told = tuple(map(address, self.listen_tls))
        return tuple(dict.fromkeys(told or (Address(one.host, 443) for one in self.http)))

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which it listens."""
        return tuple(dict.fromkeys(one.port for one in (*self.http, *self.https)))

    def addresses(self, ipv6: bool) -> tuple[str, ...]:
        """Where it speaks plain HTTP, as nginx has it. A port alone is IPv4 and, where the host has it, IPv6."""
        return _both_families(self.http, ipv6)

    def tls_addresses(self, ipv6: bool) -> tuple[str, ...]:
        """The same, where it speaks HTTPS."""
        return _both_families(self.https, ipv6)


def _both_families(addresses: Iterable[Address], ipv6: bool) -> tuple[str, ...]:
    found: list[str] = []
    for one in addresses:
        found += [str(one), f"[::]:{one}"] if ipv6 and not one.host else [str(one)]
    return tuple(dict.fromkeys(found))


def caddy_problem(site: ProxySite) -> tuple[str, str] | None:
    """Why Caddy cannot have this site, as :meth:`ProxySite.problem`."""
    for key, addresses in (("listen", site.http), ("listen_tls", site.https)):
        if len({one.port for one in addresses}) > 1:
            return key, "must have one port for all addresses: Caddy binds each port to each address"
    if site.ends_tls and site.http[0].port != 80:
        return "listen", "must have port 80: from there Caddy leads to HTTPS"
    if site.ends_tls and len({one.host for one in site.http} ^ {one.host for one in site.https}):
        return "listen_tls", "must have the addresses of listen: Caddy binds each port to each address"
    if site.ends_tls and not site.domains:
        return "domains", "is needed: Caddy serves HTTPS for names only"
    return None


def address(text: str) -> Address:
    """``80``, ``10.0.0.1:80`` or ``[::1]:80``, which :func:`listens` accepts."""
    host, _, port = text.rpartition(":")
    return Address(host, int(port))


def listens(text: str) -> bool:
    """Whether this is a port (``80``), or an address and a port (``[::]:80``)."""
    match = _LISTEN.fullmatch(text)
    return match is not None and 0 < int(match["port"]) < 65536


def is_network(text: str) -> bool:
    """Whether this is an address or a network (``10.0.0.0/8``), as nginx reads it."""
    try:
        return _NETWORK.fullmatch(text) is not None and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def trustworthy(text: str) -> bool:
    """Whether this is a network other than all addresses: with those, every client could choose its address."""
    return is_network(text) and ipaddress.ip_network(text).prefixlen > 0


def repeated(names: Iterable[str]) -> str:
    """A name that stands there twice; empty when none does."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            return name
        seen.add(name.lower())
    return ""


def _or_empty(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(rf"\Z|{pattern.pattern}")


def _directories(value: Any, key: str) -> tuple[tuple[str, str], ...]:
    read = Reader(value, key)
    found = tuple((prefix, read.text(prefix, DIRECTORY, DIRECTORY_LENGTH).rstrip("/")) for prefix in sorted(value))
    for prefix, _ in found:
        if not URL_PREFIX.fullmatch(prefix):
            raise ValueError(f"{key}: not a URL prefix like /static/: {prefix[:60]!r}")
    return found

"""The proxy's site of an app. Everything here goes into a file that root's nginx reads."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from deployer.wire.reader import Reader

SERVER_NAME = re.compile(r"[A-Za-z0-9_*.-]{1,253}\Z")
BODY_SIZE = re.compile(r"[0-9]{1,9}[kmg]?\Z")
"""Bytes, as nginx reads them."""
URL_PREFIX = re.compile(r"(?!.*/\.\.?/)/(?:[A-Za-z0-9._~-]+/)+\Z")
DIRECTORY = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?\Z")
DIRECTORY_LENGTH = 4096
_LISTEN = re.compile(r"(?:[A-Za-z0-9.-]+:|\[[0-9a-fA-F:.]+\]:)?(?P<port>[0-9]{1,5})\Z")
_NETWORK = re.compile(r"[0-9a-fA-F:.]{2,45}(?:/[0-9]{1,3})?\Z")


@dataclass(frozen=True)
class ProxySite:
    """What a site answers to. ``static`` maps URL prefixes (``/static/``) to directories in the code tree.

    ``trusted`` are the addresses of proxies in front of this one, whose ``X-Forwarded-*`` headers are kept.
    """

    server_name: tuple[str, ...]
    listen: tuple[str, ...]
    client_max_body_size: str
    static: tuple[tuple[str, str], ...]
    trusted: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> ProxySite:
        """Raises ValueError: everything here goes into a file that root's nginx reads."""
        read = Reader(value, "site")
        static = read.raw("static")
        site = cls(
            server_name=read.texts("server_name", SERVER_NAME),
            listen=read.texts("listen"),
            client_max_body_size=read.text("client_max_body_size", BODY_SIZE),
            static=_static(static),
            trusted=read.texts("trusted"),
        )
        read.done()
        if not site.listen or not all(map(listens, site.listen)):
            raise ValueError("site.listen: must be ports, or addresses with a port")
        if not all(map(trustworthy, site.trusted)):
            raise ValueError("site.trusted: must be addresses or networks, not all there are")
        return site

    def as_json(self) -> dict[str, Any]:
        return {
            "server_name": list(self.server_name),
            "listen": list(self.listen),
            "client_max_body_size": self.client_max_body_size,
            "static": dict(self.static),
            "trusted": list(self.trusted),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it answers to; none when it answers to any."""
        return tuple(name for name in self.server_name if name != "_")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which it listens."""
        return tuple(dict.fromkeys(int(match["port"]) for match in map(_LISTEN.fullmatch, self.listen) if match))

    def addresses(self, ipv6: bool) -> tuple[str, ...]:
        """Where it listens, as nginx has it. A port alone stands for IPv4 and, where the host has it, IPv6."""
        found: list[str] = []
        for address in self.listen:
            found += [address, f"[::]:{address}"] if ipv6 and address.isdigit() else [address]
        return tuple(dict.fromkeys(found))


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


def _static(value: Any) -> tuple[tuple[str, str], ...]:
    read = Reader(value, "site.static")
    found = tuple((prefix, read.text(prefix, DIRECTORY, DIRECTORY_LENGTH).rstrip("/")) for prefix in sorted(value))
    for prefix, _ in found:
        if not URL_PREFIX.fullmatch(prefix):
            raise ValueError(f"site.static: not a URL prefix like /static/: {prefix[:60]!r}")
    return found

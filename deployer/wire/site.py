"""What the proxy's site of an app answers to: everything here goes into a file that root's nginx reads."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from deployer.wire.reader import Reader

_NAME = re.compile(r"(?:[A-Za-z0-9_*.-]{1,253})\Z")
_LISTEN = re.compile(r"(?:[A-Za-z0-9.-]+:|\[[0-9a-fA-F:.]+\]:)?[0-9]{1,5}\Z")
_SIZE = re.compile(r"[0-9]{1,9}[kmg]?\Z")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*\Z")
_DIRECTORY = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?\Z")
_NETWORK = re.compile(r"[0-9a-fA-F:.]{2,45}(?:/[0-9]{1,3})?\Z")


@dataclass(frozen=True)
class Site:
    """What a site answers to. ``static`` maps URL prefixes (``/static/``) to directories in the code tree.

    ``trusted`` are the addresses of proxies in front of this one, whose word on a client is believed.
    """

    server_name: tuple[str, ...]
    listen: tuple[str, ...]
    client_max_body_size: str
    static: tuple[tuple[str, str], ...]
    trusted: tuple[str, ...] = ()

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
            trusted=read.texts("trusted", _NETWORK),
        )
        read.done()
        if not site.listen:
            raise ValueError("site.listen: must name a port")
        for network in site.trusted:
            _check_network(network)
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

    def addresses(self, ipv6: bool) -> tuple[str, ...]:
        """Where it listens, as nginx has it. A port alone stands for IPv4 and, where the host has it, IPv6."""
        found: list[str] = []
        for address in self.listen:
            found += [address, f"[::]:{address}"] if ipv6 and address.isdigit() else [address]
        return tuple(dict.fromkeys(found))


def _check_network(text: str) -> None:
    """Raises ValueError for what is no network, and for all addresses there are: then anybody would be believed."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"site.trusted: {error}") from None
    if network.prefixlen == 0:
        raise ValueError(f"site.trusted: {text} is everybody")


def _static(value: Any) -> tuple[tuple[str, str], ...]:
    read = Reader(value, "site.static")
    found = tuple((prefix, read.text(prefix, _DIRECTORY).rstrip("/")) for prefix in sorted(value))
    for prefix, _ in found:
        if not _PREFIX.fullmatch(prefix) or prefix == "/":
            raise ValueError(f"site.static: not a URL prefix like /static/: {prefix[:60]!r}")
    return found

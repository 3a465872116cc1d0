"""What ``fab maintenance on`` asks of a host: the page, who sees the app all the same, when to come again."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.reader import Reader
from deployer.wire.site import is_network

MOST_PAGE = 200 * 1024
"""Bytes of a page: with its images in it, it is one file."""
MOST_ALLOWED = 64
RETRY = (1, 7 * 24 * 3600)
"""Seconds after which visitors may be told to come again."""
USUAL_RETRY = 600

PAGE = pattern(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*\Z")
"""Text, with tabs and line ends, and no other control characters."""


@dataclass(frozen=True)
class MaintenanceRequest:
    """``page`` is HTML (empty: deployer's own). Requests from the addresses and networks in ``allow`` reach the app.

    ``retry_after`` is in seconds. With ``stop_workers`` processes and timers stop, too, until maintenance is off.
    """

    page: str = ""
    allow: tuple[str, ...] = ()
    retry_after: int = USUAL_RETRY
    stop_workers: bool = False

    @classmethod
    def read(cls, read: Reader) -> MaintenanceRequest:
        """Takes its keys. Raises ValueError."""
        request = cls(
            page=read.text("page", PAGE, MOST_PAGE),
            allow=read.texts("allow", count=MOST_ALLOWED),
            retry_after=read.integer("retry_after", *RETRY),
            stop_workers=read.boolean("stop_workers"),
        )
        if len(request.page.encode()) > MOST_PAGE:
            raise ValueError(f"maintenance.page: more than {MOST_PAGE} bytes")
        if not all(map(is_network, request.allow)):
            raise ValueError("maintenance.allow: must be addresses or networks")
        return request

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "allow": list(self.allow)}

    def allows(self, address: str) -> bool:
        """Whether a client at ``address`` sees the app. What is no address sees the page."""
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        return any(client in ipaddress.ip_network(one) for one in self.allow)

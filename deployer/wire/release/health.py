"""What a healthy answer of the web process is."""

from __future__ import annotations

from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.reader import Reader

HEALTHY = (0.1, 3600.0)
"""Seconds in which a candidate must answer its health check."""
SETTLE = (0.0, 600.0)
URL_LENGTH = 2048
HOST_LENGTH = 253
MOST_RANGES = 20
"""Ranges of statuses that count as healthy."""
HOST_HEADER = pattern(r"(?:[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)\Z")
_HOST = pattern(rf"(?:{HOST_HEADER.pattern})?\Z")
URL_PATH = pattern(r"/[!-~]*\Z")


@dataclass(frozen=True)
class Health:
    """What a healthy answer is. ``status`` holds inclusive ranges; times are seconds.

    ``timeout`` bounds the wait for the first healthy answer, ``settle`` is how long the candidate must stay healthy
    before it gets traffic.
    """

    path: str
    host: str
    status: tuple[tuple[int, int], ...]
    timeout: float
    settle: float

    def accepts(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.status)

    @classmethod
    def parse(cls, value: Any) -> Health:
        read = Reader(value, "health")
        health = cls(
            path=read.text("path", URL_PATH, URL_LENGTH),
            host=read.text("host", _HOST, HOST_LENGTH),
            status=_ranges(read.raw("status")),
            timeout=read.seconds("timeout", *HEALTHY),
            settle=read.seconds("settle", *SETTLE),
        )
        read.done()
        return health


def _ranges(value: Any) -> tuple[tuple[int, int], ...]:
    try:
        ranges = tuple((low, high) for low, high in value)
    except (TypeError, ValueError):
        raise ValueError("health.status: must be a list of [low, high]") from None
    if any(type(bound) is not int for bounds in ranges for bound in bounds):
        raise ValueError("health.status: must hold whole numbers")
    if not ranges or len(ranges) > MOST_RANGES or any(not 100 <= low <= high <= 599 for low, high in ranges):
        raise ValueError("health.status: each range must lie within 100 to 599")
    return ranges

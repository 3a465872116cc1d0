"""The deploy lock that a person sets with ``fab lock``: who, why, since when, until when. Both sides tell of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_BY, MOST_MOMENT
from deployer.wire.reader import Reader

MOST_WHY = 500
"""Characters of a reason."""


@dataclass(frozen=True)
class DeployLock:
    """Times are in seconds since 1970; ``until`` is 0 when only ``fab unlock`` ends it."""

    by: str
    why: str
    since: float
    until: float = 0.0

    @classmethod
    def parse(cls, value: Any) -> DeployLock:
        """Raises ValueError naming the key that is wrong."""
        read = Reader(value, "lock")
        lock = cls(
            by=read.text("by", length=MOST_BY),
            why=read.text("why", length=MOST_WHY),
            since=read.seconds("since", 0.0, MOST_MOMENT),
            until=read.seconds("until", 0.0, MOST_MOMENT),
        )
        read.done()
        return lock

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_over(self, now: float) -> bool:
        """Whether it has ended by itself."""
        return 0 < self.until <= now

    def text(self, *, utc: bool = False) -> str:
        """``locked by ada@laptop since 29 Nov 12:03, until 1 Dec 09:00: the reason``; ``utc`` for a log of the host."""
        ends = f", until {_moment(self.until, utc)}" if self.until else ""
        return f"locked by {self.by or 'someone'} since {_moment(self.since, utc)}{ends}: {self.why}"


def _moment(seconds: float, utc: bool) -> str:
    at = time.gmtime(seconds) if utc else time.localtime(seconds)
    return f"{at.tm_mday} {time.strftime('%b %H:%M', at)}{' UTC' if utc else ''}"


def request_of(message: Mapping[str, Any]) -> DeployLock:
    """The lock that a request asks for, from now on: ``since`` is set by the host. Raises ValueError."""
    if "since" in message:
        raise ValueError("lock.since: is set by the host")
    return DeployLock.parse({**message, "since": 0.0})

"""Whether two hosts go the same way from here: the same disk, the same units, the same programs running."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from deployer.host.state import jobs

from .host import SimulatedHost
from .saved import entries

_MOMENT = re.compile(rb"\b1[89][0-9]{8}(?:\.[0-9]+)?\b")
"""A time of the simulation's clock, which begins in 2027. Nothing but people's eyes tells two of them apart."""


def likeness(host: SimulatedHost) -> bytes:
    """The same for two hosts that cannot be told apart by what happens to them next; empty when something is still due,
    so that nobody can say.

    What differs are the times of what has been, and what jobs that are over have told of it.
    """
    if not host.clock.idle or host.background.struck:
        return b""
    units = sorted((name, *_unit(vars(unit))) for name, unit in host.table.units.items())
    running = [sorted(one.items()) for one in (host.web.running, host.background.running, host.web.queues)]
    return _digest(units, running, host.boots, _disk(host))


def likeness_without_power(host: SimulatedHost) -> bytes:
    """The same for a host that is off: there is only its disk."""
    return _digest(_disk(host))


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def _unit(fields: dict[str, object]) -> list[object]:
    return [fields[name] for name in ("text", "transient", "active", "sub", "result", "job", "restart", "argv")]


def _disk(host: SimulatedHost) -> list[tuple[object, ...]]:
    return [(one.path, one.mode, one.owner, _content(host, one.path, one.content)) for one in entries(str(host.root))]


def _content(host: SimulatedHost, path: str, content: bytes) -> object:
    if not path.endswith("/events.jsonl"):
        return _MOMENT.sub(b"then", content)
    seen = jobs.status_of(Path(str(host.root) + path).parent)
    return bool(content), seen.phase, seen.finished, seen.waits

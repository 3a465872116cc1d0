"""What a load saw, as frozen values.

All times are seconds of `time.monotonic()`, a clock that the processes of a machine share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

EXAMPLES = 20


class Sample(NamedTuple):
    """One request: when it ended (s), how long it took (s), why it failed (or ""), the version that answered
    (or ""), whether it was sent twice because an idle connection had closed, and more about the failure."""

    ended: float
    latency: float
    failure: str
    version: str
    retried: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One failed request; `latency` in milliseconds."""

    at: float
    kind: str
    latency: float
    version: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Milliseconds, exact (nearest rank, from every request that succeeded); NaN if there was none."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A version, by its X-Version header: when its first and last answers ended, and how many there were."""

    version: str
    first: float
    last: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of the requests that ended between `start` and `end`; `sent == succeeded + failed`.

    `failures` counts by kind: refused, no-socket, queue-full, cannot-connect, reset, closed (before any
    byte of an answer), short-body, long-body, no-length, bad-response, status-500 (and so on), timeout,
    wrong-echo.
    `in_flight` requests have not ended yet and do not count in `sent`. A time plus `epoch` is Unix time.
    """

    start: float
    end: float
    epoch: float
    sent: int
    succeeded: int
    failed: int
    retried: int
    in_flight: int
    failures: dict[str, int]
    examples: tuple[Example, ...]
    latencies: Latencies
    versions: tuple[Served, ...]
    marks: tuple[tuple[float, str], ...]
    samples: tuple[Sample, ...] = field(repr=False)

    def between(self, start: float, end: float) -> Report:
        """The same of those requests alone that ended within `start <= t < end`, both monotonic seconds."""
        return summarise(
            (sample for sample in self.samples if start <= sample.ended < end),
            start=start,
            end=end,
            epoch=self.epoch,
            marks=(mark for mark in self.marks if start <= mark[0] < end),
        )

    def time_of(self, label: str) -> float:
        """When `mark(label)` was last called; KeyError if never."""
        return {name: at for at, name in self.marks}[label]


def summarise(
    samples: Iterable[Sample],
    *,
    start: float,
    end: float,
    epoch: float,
    marks: Iterable[tuple[float, str]] = (),
    in_flight: int = 0,
) -> Report:
    """The report of these samples."""
    ordered = tuple(sorted(samples))
    failed = [sample for sample in ordered if sample.failure]
    return Report(
        start=start,
        end=end,
        epoch=epoch,
        sent=len(ordered),
        succeeded=len(ordered) - len(failed),
        failed=len(failed),
        retried=sum(sample.retried for sample in ordered),
        in_flight=in_flight,
        failures=dict(Counter(sample.failure for sample in failed).most_common()),
        examples=tuple(_example(sample) for sample in failed[:EXAMPLES]),
        latencies=_latencies([sample.latency for sample in ordered if not sample.failure]),
        versions=_versions(ordered),
        marks=tuple(marks),
        samples=ordered,
    )


def _example(sample: Sample) -> Example:
    return Example(
        at=sample.ended,
        kind=sample.failure,
        latency=sample.latency * 1000,
        version=sample.version,
        detail=sample.detail,
    )


def _latencies(seconds: list[float]) -> Latencies:
    if not seconds:
        return Latencies(p50=math.nan, p99=math.nan, max=math.nan)
    ordered = sorted(seconds)

    def rank(percent: int) -> float:
        return ordered[-(-len(ordered) * percent // 100) - 1] * 1000

    return Latencies(p50=rank(50), p99=rank(99), max=rank(100))


def _versions(ordered: tuple[Sample, ...]) -> tuple[Served, ...]:
    seen: dict[str, list[float]] = {}
    for sample in ordered:
        if sample.version:
            seen.setdefault(sample.version, []).append(sample.ended)
    return tuple(
        Served(version=version, first=times[0], last=times[-1], count=len(times)) for version, times in seen.items()
    )

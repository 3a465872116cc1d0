"""Which release answered which request: what clients saw, held against the moments at which the host switched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer.sandbox.load import Report, Sample
from tests.support.site import Ended

SLACK = 0.25  # seconds between the rename and the event that tells of it, on a busy machine


@dataclass(frozen=True, slots=True)
class Change:
    """A switch of traffic to ``version``; ``at`` is Unix time, taken on the host right after the rename."""

    at: float
    version: str


def change(ended: Ended, version: str) -> Change:
    """The switch that a command brought about."""
    return Change(ended.event("switched")["at"], version)


def strays(report: Report, first: str, changes: Sequence[Change]) -> list[Sample]:
    """Answers by a version that was current at no moment of the request: too old, or too new.

    ``first`` is the version that served when the load began.
    """
    return [
        sample for sample in report.samples if sample.version not in _current_during(sample, report, first, changes)
    ]


def _current_during(sample: Sample, report: Report, first: str, changes: Sequence[Change]) -> set[str]:
    ended = sample.ended + report.epoch
    started = ended - sample.latency
    before = [first, *(one.version for one in changes if one.at <= started)]
    meanwhile = [one.version for one in changes if started < one.at and one.at - SLACK <= ended]
    return {before[-1], *meanwhile}


def across(report: Report, at: float) -> list[Sample]:
    """The requests that had well begun when the switch ``at`` came, and ended after it."""
    moment = at - report.epoch
    return [one for one in report.samples if one.ended - one.latency < moment - SLACK and one.ended > moment]


def note(report: Report, what: str) -> None:
    """Figures for people: pytest -rP shows them."""
    lost = f"{report.failed} failed {report.failures or ''}".strip()
    print(f"{what}: {report.sent} sent, {lost}, {report.retried} retried, {report.latencies}")

"""Which releases a rollback can go to, and which may be removed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployer.host.state.releases import DEAD, Release

KEPT_FAILURES = 20
"""How many records of failed releases are kept (without content), to be read."""


def rollback_targets(releases: Sequence[Release], current: int) -> list[Release]:
    """The good releases older than, and different from, what serves; the newest first.

    A rollback to v40 makes v44; the next rollback goes to v39, not back to what was rolled back from.
    """
    by_number = {release.number: release for release in releases}
    serving = by_number.get(current)
    if serving is None:
        return []
    origin = origin_of(serving, by_number)
    older = [one for one in releases if one.usable and one.number < origin and origin_of(one, by_number) != origin]
    return older[::-1]


def origin_of(release: Release, by_number: Mapping[int, Release]) -> int:
    """The number of the release whose parts this one carries; its own if they are new. It may be gone by now."""
    while release.copies and release.copies in by_number:
        release = by_number[release.copies]
    return release.copies or release.number


def to_prune(releases: Sequence[Release], protected: set[int], keep: int) -> list[int]:
    """Good releases beyond the newest ``keep``, and dead ones beyond the newest KEPT_FAILURES records.

    Never the ``protected`` (current, standby), the last good one, or one in progress. Neither failed releases nor
    copies use up the count: however many reloads, ``keep`` different releases stay.
    """
    keep = max(keep, 1)
    by_number = {release.number: release for release in releases}
    good = [release.number for release in releases if release.usable]
    dead = [release.number for release in releases if release.result in DEAD]
    newest = {origin_of(by_number[number], by_number): number for number in good}
    kept = {*good[-keep:], *sorted(newest.values())[-keep:], *dead[-KEPT_FAILURES:], *protected}
    return sorted({*good, *dead} - kept)


def used_keys(releases: Iterable[Release], what: str) -> set[str]:
    """The keys of the trees or virtual environments that releases with content refer to; ``what`` is the field."""
    return {getattr(release, what) for release in releases if release.result not in DEAD} - {""}


def migrations_since(target: Sequence[str], current: Sequence[str]) -> list[str]:
    """Migration files that the current code has and the target's lacks. Both are lists of ``path digest``."""
    pattern = re.compile(r"(?:^|/)(?:migrations|versions)/[^/]+\.py ")
    missing = set(current) - set(target)
    return sorted(line.split(" ")[0] for line in missing if pattern.search(line) and "__init__.py" not in line)

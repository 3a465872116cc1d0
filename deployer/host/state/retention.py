"""Which releases a rollback can go to, and which may be removed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployer.host.state.releases import DEAD, Release

KEPT_FAILURES = 20
"""Records (not content) of failed releases that are kept to be read."""


def rollback_targets(releases: Sequence[Release], current: int) -> list[Release]:
    """The good releases whose parts differ from what serves and are older than those, the newest first.

    A rollback to v40 makes v44; a rollback after that goes to v39, not back to what was rolled back from.
    """
    by_number = {release.number: release for release in releases}
    serving = by_number.get(current)
    if serving is None:
        return []
    origin = origin_of(serving, by_number)
    older = [one for one in releases if one.usable and one.number < origin and origin_of(one, by_number) != origin]
    return older[::-1]


def origin_of(release: Release, by_number: Mapping[int, Release]) -> int:
    """The number of the release whose parts this one carries; its own when they are new. That one may be gone."""
    while release.copies and release.copies in by_number:
        release = by_number[release.copies]
    return release.copies or release.number


def to_prune(releases: Sequence[Release], protected: set[int], keep: int) -> list[int]:
    """Good releases beyond the newest ``keep``, and dead ones beyond the newest KEPT_FAILURES records.

    ``protected`` (current, standby) is never among them, nor is the last known good one, nor one under way. Failed
    releases never use up the count, and neither do copies: ever so many reloads leave ``keep`` different releases.
    """
    keep = max(keep, 1)
    by_number = {release.number: release for release in releases}
    good = [release.number for release in releases if release.usable]
    dead = [release.number for release in releases if release.result in DEAD]
    newest = {origin_of(by_number[number], by_number): number for number in good}
    kept = {*good[-keep:], *sorted(newest.values())[-keep:], *dead[-KEPT_FAILURES:], *protected}
    return sorted({*good, *dead} - kept)


def used_keys(releases: Iterable[Release], what: str) -> set[str]:
    """The keys of trees or virtual environments that releases with content name."""
    return {getattr(release, what) for release in releases if release.result not in DEAD} - {""}


def migrations_since(target: Sequence[str], current: Sequence[str]) -> list[str]:
    """Migration files that the current code has and the target's lacks. Both are lists of ``path digest``."""
    pattern = re.compile(r"(?:^|/)(?:migrations|versions)/[^/]+\.py ")
    missing = set(current) - set(target)
    return sorted(line.split(" ")[0] for line in missing if pattern.search(line) and "__init__.py" not in line)

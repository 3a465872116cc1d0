"""What must be true of a fleet after a command, whatever befell it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from tests.support.fleet.bed import FleetBed
from tests.support.fleet.command import FleetEnded

NEVER_SWITCHED = ("discarded", "untouched")


def all_done(bed: FleetBed, ended: FleetEnded) -> str:
    """It ended well everywhere, with one release under one number, and left nothing over; the release."""
    assert ended.exit == 0, f"exit {ended.exit}\n{ended.text}"
    assert set(ended.results.values()) == {"done"}, ended.results
    assert list(ended.hosts) == bed.names
    release = str(ended.fleet["release"])
    assert {one["serving"] for one in ended.hosts.values()} == {release}
    assert set(bed.serving.values()) == {release}
    assert set(bed.versions.values()) == {bed.version}
    bed.comes_to_rest()
    return release


def none_switched(bed: FleetBed, ended: FleetEnded, before: Mapping[str, str], guilty: str, *, result: str) -> None:
    """The old release serves everywhere, no host has switched, and the one that is the reason is named as such."""
    assert ended.exit == 5, f"exit {ended.exit}\n{ended.text}"
    assert ended.named("switched") == []
    assert bed.serving == before
    told(bed, ended, before, guilty, result=result, others=NEVER_SWITCHED)


def all_back(
    bed: FleetBed,
    ended: FleetEnded,
    before: Mapping[str, str],
    guilty: str,
    *,
    switched: Sequence[str],
) -> None:
    """The old release serves everywhere again, on the hosts that had switched and on those that had not."""
    assert ended.exit == 6, f"exit {ended.exit}\n{ended.text}"
    assert sorted(ended.named("switched")) == sorted(switched)
    assert bed.serving == before
    others = NEVER_SWITCHED if len(switched) < len(bed.names) else ()
    told(bed, ended, before, guilty, result="failed", others=("rolled back", *others))
    wanted = [name for name in switched if name != guilty]
    assert all(ended.results[name] == "rolled back" for name in wanted), ended.results


def one_after_the_other(ended: FleetEnded, found: Sequence[Sequence[str]]) -> None:
    """No wave has switched before all hosts of the one before it stood at the end of their watch."""
    for before, after in itertools.pairwise(found):
        good = max(ended.at("ready", name, phase="keep") for name in before)
        assert good < min(ended.at("switched", name) for name in after)


def told(
    bed: FleetBed, ended: FleetEnded, before: Mapping[str, str], guilty: str, *, result: str, others: Sequence[str]
) -> None:
    """Every host is told of, in the order in which they were named, with what it serves; the reason is in the words."""
    assert list(ended.hosts) == bed.names
    assert ended.results.pop(guilty) == result, ended.results
    innocent = {name: found for name, found in ended.results.items() if name != guilty}
    assert set(innocent.values()) <= set(others), ended.results
    assert {name: ended.hosts[name]["serving"] for name in innocent} == {name: before[name] for name in innocent}
    assert guilty in ended.fleet["summary"] + ended.fleet["state"], ended.fleet
    assert ended.fleet["next"], ended.fleet
    assert "Traceback" not in ended.text

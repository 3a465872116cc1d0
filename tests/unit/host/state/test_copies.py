"""Releases that copy another one: what a rollback makes of them, and pruning."""

from __future__ import annotations

from deployer.host.state.releases import GOOD, Release
from deployer.host.state.retention import origin_of, rollback_targets, to_prune
from deployer.wire.release.health import Health
from deployer.wire.release.processes import Web
from deployer.wire.release.source import LockSpec, SourceSpec
from deployer.wire.release.spec import Spec

SPEC = Spec(
    source=SourceSpec(digest="0" * 64, commit="", ref="main", dirty=False),
    lock=LockSpec(kind="none", path="", files=()),
    python="",
    build=(),
    migrate="",
    web=Web(server="command", target="", workers=1, args=("x",), memory=0, unit=()),
    health=Health(path="/", host="localhost", status=((200, 399),), timeout=30, settle=3),
    watch=10,
    drain=30,
    keep=5,
    overlap=True,
)


def release(number: int, kind: str = "deploy", of: int = 0, *, same: bool = False) -> Release:
    return Release(number=number, kind=kind, of=of, by="ada", at=0.0, spec=SPEC, result=GOOD, same=same)


def reloads(of: int, first: int, last: int) -> list[Release]:
    """A chain of reloads that changed nothing."""
    return [
        release(number, "reload", of if number == first else number - 1, same=True) for number in range(first, last + 1)
    ]


def test_a_rollback_goes_past_reloads_that_changed_nothing() -> None:
    """Their parts are those of the release that is to be left."""
    found, *_ = rollback_targets([release(1), release(2), *reloads(2, 3, 6)], 6)
    assert found is not None
    assert found.number == 1


def test_an_origin_counts_although_it_is_gone() -> None:
    """v7 has v2's parts: going back from there never leads to v6, even when v2 itself has been pruned."""
    releases = [release(1), release(6), release(7, "rollback", of=2)]
    assert origin_of(releases[-1], {one.number: one for one in releases}) == 2
    found, *_ = rollback_targets(releases, 7)
    assert found is not None
    assert found.number == 1


def test_reloads_do_not_push_out_older_code() -> None:
    """However many there are, as many different releases stay as are to be kept, and no more copies than that."""
    releases = [*map(release, range(1, 6)), *reloads(5, 6, 40)]
    gone = to_prune(releases, {40, 39}, keep=3)
    assert [one.number for one in releases if one.number not in gone] == [3, 4, 38, 39, 40]

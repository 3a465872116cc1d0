"""Which release a rollback goes to, what may be pruned, which migrations lie between: pure decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.errors import HostError
from deployer.host.state.catalog import Catalog
from deployer.host.state.paths import AppPaths
from deployer.host.state.releases import FAILED, GOOD, ROLLED_BACK, Release
from deployer.host.state.retention import migrations_since, rollback_targets, to_prune, used_keys
from deployer.host.system.files import make_directory, point
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


def release(number: int, kind: str = "deploy", of: int = 0, result: str = GOOD) -> Release:
    return Release(number=number, kind=kind, of=of, by="ada", at=0.0, spec=SPEC, tree=f"t{of or number}", result=result)


def catalog(tmp_path: Path) -> Catalog:
    paths = AppPaths("shop", tmp_path)
    for path in (paths.releases, paths.private):
        make_directory(path, 0o755)
    return Catalog(paths)


def target(releases: list[Release], current: int) -> int:
    found = (rollback_targets(releases, current) or [None])[0]
    return found.number if found else 0


def test_a_rollback_goes_to_the_good_release_before() -> None:
    """Failed ones in between do not count."""
    releases = [release(1), release(2), release(3, result=FAILED), release(4, result=ROLLED_BACK), release(5)]
    assert target(releases, 5) == 2


def test_a_second_rollback_goes_further_back() -> None:
    """It does not return to what was just rolled back from."""
    releases = [release(1), release(2), release(3), release(4, "rollback", of=2)]
    assert target(releases, 4) == 1
    assert target([*releases, release(5, "rollback", of=1)], 5) == 0


def test_a_rollback_of_a_rollback_is_followed_to_its_origin() -> None:
    """v5 with v4's parts, which are v2's, counts as v2."""
    releases = [release(1), release(2), release(3), release(4, "rollback", of=2), release(5, "rollback", of=4)]
    assert target(releases, 5) == 1


def test_a_reload_can_be_taken_back() -> None:
    """A reload has another environment than the release whose code it carries."""
    assert target([release(1), release(2), release(3, "reload", of=2)], 3) == 2


def test_pruning_spares_what_serves_and_what_served_before() -> None:
    """However old they are."""
    releases = [release(number) for number in range(1, 11)]
    assert to_prune(releases, {2, 3}, keep=3) == [1, 4, 5, 6, 7]


@given(
    results=st.lists(st.sampled_from([GOOD, FAILED, ROLLED_BACK]), max_size=60),
    keep=st.integers(2, 6),
    protected=st.sets(st.integers(1, 60), max_size=2),
)
def test_failures_never_push_out_a_good_release(results: list[str], keep: int, protected: set[int]) -> None:
    """The newest ``keep`` good releases and the protected ones survive any number of failed attempts."""
    releases = [release(number, result=result) for number, result in enumerate(results, 1)]
    gone = set(to_prune(releases, protected, keep))
    good = [one.number for one in releases if one.usable]
    assert not gone & set(good[-keep:])
    assert not gone & protected


def test_content_is_kept_as_long_as_a_release_that_may_serve_names_it() -> None:
    """Shared trees go with the last good release that has them; dead releases hold nothing."""
    shared = replace(release(3, "rollback", of=1), tree="t1")
    assert used_keys([release(2), shared, release(4, result=FAILED)], "tree") == {"t2", "t1"}


def test_migrations_in_between_are_the_files_the_older_code_lacks() -> None:
    """New and changed migration files count; other files, and the package marker, do not."""
    old = ["shop/migrations/0001_a.py aa", "shop/views.py aa"]
    new = [*old, "shop/migrations/0002_b.py bb", "shop/migrations/__init__.py cc", "shop/views.py bb"]
    assert migrations_since(old, new) == ["shop/migrations/0002_b.py"]
    assert migrations_since(new, old) == []


def test_numbers_never_go_back(tmp_path: Path) -> None:
    """Not even when the newest release was pruned."""
    releases = catalog(tmp_path)
    first = releases.create("deploy", 0, "ada", 0.0, SPEC)
    second = releases.create("deploy", 0, "ada", 0.0, SPEC)
    import shutil

    shutil.rmtree(releases.paths.release(second.number))
    third = releases.create("deploy", 0, "ada", 0.0, SPEC)
    assert (first.number, second.number, third.number) == (1, 2, 3)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """All fields of a release survive its file."""
    releases = catalog(tmp_path)
    made = releases.create("deploy", 0, "ada", 1.5, SPEC)
    made = releases.update(made, tree="t", venv="v", result=GOOD, phases={"build": 1.0}, previous=3, reason="é")
    assert releases.get(made.number) == made


def test_records_are_compact_and_older_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each; indented ones of earlier versions read the same. Only changed ones are parsed again."""
    there = catalog(tmp_path)
    made = there.create("deploy", 0, "ada", 5.5, SPEC)
    path = there.paths.release(made.number) / "release.json"
    assert path.read_text().count("\n") == 1
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True))
    assert there.find(made.number) == made
    parses: list[object] = []
    parse = Spec.parse
    monkeypatch.setattr(Spec, "parse", lambda value: parses.append(value) or parse(value))
    assert [there.find(made.number) for _ in range(3)] == [made] * 3
    assert not parses
    changed = there.update(made, result=GOOD)
    assert [there.find(made.number) for _ in range(3)] == [changed] * 3
    assert len(parses) == 1


def test_current_is_what_the_link_says(tmp_path: Path) -> None:
    """Nothing, a release, or something deployer did not write: the last is refused, not guessed at."""
    releases = catalog(tmp_path)
    assert releases.current() == 0
    point(releases.paths.current, "releases/v7")
    assert releases.current() == 7
    point(releases.paths.current, "/etc")
    with pytest.raises(HostError):
        releases.current()

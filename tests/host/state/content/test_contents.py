"""A listing is taken again only where something has changed, and is then what a new one of all would be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.state.content.records import ByPath, Record
from deployer.host.state.content.store import Store


def fill(top: Path) -> None:
    for name in ("a.txt", "pkg/one.py", "pkg/two.py", "pkg/deep/x.txt", "pkg-of-mine/y.txt", "pkg.txt"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{name}\n")


def write(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{name}, changed\n")


def a_link_is_in_the_place_of_a_directory(top: Path) -> None:
    """What was written to it before is behind the link then, which may lead anywhere."""
    write(top, "pkg/new.py", "pkg/deep/new.txt")
    (top / "pkg").rename(top.parent / "elsewhere")
    (top / "pkg").symlink_to(top.parent / "elsewhere")


CHANGES: list[tuple[Callable[[Path], object], list[str]]] = [
    (lambda top: None, []),
    (lambda top: write(top, "a.txt", "pkg/three.py"), ["a.txt", "pkg/three.py"]),
    (lambda top: (top / "pkg/one.py").unlink(), ["pkg/one.py", "never/there.txt", "a.txt/below"]),
    (lambda top: shutil.rmtree(top / "pkg"), ["pkg"]),
    (lambda top: (shutil.rmtree(top / "pkg"), write(top, "pkg")), ["pkg"]),
    (lambda top: ((top / "a.txt").unlink(), write(top, "a.txt/now/deep")), ["a.txt", "a.txt/now/deep"]),
    (a_link_is_in_the_place_of_a_directory, ["pkg", "pkg/new.py", "pkg/deep/new.txt", "pkg/__pycache__/new.pyc"]),
]


@pytest.mark.parametrize(("change", "paths"), CHANGES)
def test_it_is_what_a_new_one_would_be(change: Callable[[Path], object], paths: list[str], tmp_path: Path) -> None:
    """And no link is followed."""
    store, top = Store(tmp_path), tmp_path / "tree"
    fill(top)
    before = store.examine("tree")
    change(top)
    found, touched = store.examine_again("tree", before.prepared(), paths)
    fresh = store.examine("tree")
    assert (found.seen.text, found.digests.text, found.size) == (fresh.seen.text, fresh.digests.text, fresh.size)
    assert (found.seen.by_path, found.digests.by_path) == (fresh.seen.by_path, fresh.digests.by_path)
    old, new = before.seen.by_path, fresh.seen.by_path
    assert {path for path in {*old, *new} if old.get(path) != new.get(path)} <= set(touched)


def test_a_file_with_two_names_is_counted_once(tmp_path: Path) -> None:
    """However often the sizes are only added and taken away."""
    store, top = Store(tmp_path), tmp_path / "tree"
    fill(top)
    (top / "again.txt").hardlink_to(top / "a.txt")
    found = store.examine("tree")
    for change in (
        (top / "a.txt").unlink,
        lambda: (top / "a.txt").hardlink_to(top / "again.txt"),
        lambda: ((top / "again.txt").unlink(), write(top, "again.txt")),
        (top / "again.txt").unlink,
    ):
        change()
        found, _ = store.examine_again("tree", found, ["a.txt", "again.txt"])
        assert (
            found.size
            == store.examine("tree").size
            == sum(
                one.stat().st_size
                for one in {one.stat().st_ino: one for one in top.rglob("*") if one.is_file()}.values()
            )
        )


KNOWN = st.dictionaries(st.binary(min_size=1, max_size=3).filter(lambda path: b"\0" not in path),
                        st.sampled_from([b"1 2 3 100644", b"2 2 3 100644", b"3 0 3 120777"]), max_size=12)  # fmt: skip


@given(KNOWN, KNOWN, st.data())
def test_a_record_that_changes_is_as_if_written_anew(before: ByPath, new: ByPath, data: st.DataObject) -> None:
    """Whatever is gone, new, or says something else; and what is parsed is what was written."""
    gone = data.draw(st.lists(st.sampled_from([*before, b"never there"]), max_size=5)) if before else []
    after = {path: one for path, one in before.items() if path not in gone} | new
    found = Record.parse(Record(before).text).changed(gone, new)
    assert found.by_path == after and found.paths == sorted(after)
    assert (
        found.text == Record(after).text == b"".join(sorted(b"%s  %s\0" % (one, path) for path, one in after.items()))
    )

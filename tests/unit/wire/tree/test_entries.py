"""The files of a tree as lines: found, dropped and added as in a set of entries that is sorted anew each time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.wire.tree.entries import Entries, difference
from deployer.wire.tree.entry import Entry, check_paths, directories_of

DIGESTS = st.sampled_from(["a" * 64, "b" * 64])
PATHS = st.lists(st.sampled_from(["a", "a.py", "a-b", "b", "ü", "0", "a b", "\x1f"]), min_size=1, max_size=3).map(
    "/".join
)


def entry(path: str, digest: str = "a" * 64, kind: str = "f") -> Entry:
    return Entry(path, kind, 1, digest)


def is_tree(entries: list[Entry]) -> bool:
    try:
        check_paths(entries)
    except ValueError:
        return False
    return True


def fitting(added: list[Entry], there: Sequence[Entry] = ()) -> list[Entry]:
    """Those that make a tree with what is there, each with the ones before it."""
    found: list[Entry] = []
    for one in added:
        if is_tree([*there, *found, one]):
            found.append(one)
    return found


LISTS = st.lists(st.builds(entry, PATHS, DIGESTS, st.sampled_from(["f", "x", "l"])), max_size=12)
TREES = LISTS.map(fitting)


@given(TREES, PATHS)
def test_what_is_found(files: list[Entry], path: str) -> None:
    """An entry by its path, those in a directory, and what stands for all of them."""
    entries = Entries.of(files)
    assert list(entries) == sorted(files) == entries[:] and len(entries) == len(files)
    assert entries.find(path) == next((one for one in files if one.path == path), None)
    assert entries.below(path) == sorted(one for one in files if one.path.startswith(f"{path}/"))
    assert entries.below("") == sorted(files)
    assert entries.has_directory(path) == (path in directories_of(one.path for one in files))
    assert list(entries.paths) == sorted(one.path for one in files)
    assert entries.digest == hashlib.sha256(entries.text).hexdigest()
    assert entries.those([path, path, "never"]) == [one for one in files if one.path == path]
    again, ids = Entries.parse(entries.text), [one.id for one in sorted(files)]
    assert (again, again.digest, list(again.ids), hash(again)) == (entries, entries.digest, ids, hash(entries))
    assert list(Entries.parse(entries.text, b"".join([*ids, b"12345"])).ids) == ids  # those of something else
    other = Entries.of([*files, entry("never")])
    assert again not in (other, list(again)) and other != entries
    assert (
        Entries.parse(entries.text + b"never\0f 1").digest == hashlib.sha256(entries.text + b"never\0f 1").hexdigest()
    )


@given(TREES, LISTS, st.data(), st.booleans(), st.booleans())
def test_what_changes(before: list[Entry], added: list[Entry], data: st.DataObject, ids: bool, fits: bool) -> None:
    """The same as of all entries anew, with their ids; or refused, when it is no tree."""
    dropped = data.draw(st.lists(st.sampled_from(before), unique=True)) if before else []
    added = fitting(added, [one for one in before if one not in dropped]) if fits else added
    entries = Entries.of(before)
    if ids:
        assert len(entries.ids) == len(before)
    kept = entries.but(entries.places(one.path for one in dropped))
    assert list(kept) == sorted(set(before) - set(dropped))
    wanted = [*kept, *added]
    if is_tree(wanted):
        made = kept.plus(added)
        assert made == Entries.of(wanted) and made.digest == Entries.of(wanted).digest
        assert list(made.ids) == [one.id for one in sorted(wanted)]
        gone, new = difference(entries.ids, made)
        assert set(new) == set(wanted) - set(before)
        assert set(gone) == {one.id for one in before} - {one.id for one in wanted}
    else:
        with pytest.raises(ValueError):
            kept.plus(added)


@given(TREES, LISTS, st.data())
def test_ids_that_are_known_are_not_made_again(before: list[Entry], added: list[Entry], data: st.DataObject) -> None:
    """Of a large tree that takes longer than all else: only those of new files are made."""
    known = {one: b"%05d" % number for number, one in enumerate(sorted(before))}
    dropped = data.draw(st.lists(st.sampled_from(before), unique=True)) if before else []
    entries = Entries.parse(Entries.of(before).text, b"".join(known.values()))
    assert list(entries.ids) == list(known.values())
    kept = entries.but(entries.places(one.path for one in dropped))
    new = fitting(added, kept)
    found = kept.plus(new)
    assert list(found.ids) == [known[one] if one in kept else one.id for one in found]


@pytest.mark.parametrize(
    ("there", "added", "why"),
    [
        ("a", "a", "twice in one release: 'a'"),
        ("a", "a/b/c", "'a/b/c' is below 'a', which is a file or a link"),
        ("a/b/c", "a", "'a/b/c' is below 'a', which is a file or a link"),
        ("a/b/c", "a/b", "'a/b/c' is below 'a/b', which is a file or a link"),
        ("b", "../a", "not a path a release may have: '../a'"),
        ("b", "a\nb", "not a path a release may have"),
    ],
)
def test_what_is_no_tree_is_named(there: str, added: str, why: str) -> None:
    """By the path that is in the way."""
    with pytest.raises(ValueError, match=why):
        Entries.of([entry(there)]).plus([entry(added)])


@pytest.mark.parametrize("text", [b"\xff\0f 1 a\n", b"a\n", b"a\0f 1\n", b"a\0f x aa\n"])
def test_what_is_no_record_is_refused(text: bytes) -> None:
    """Once it is looked at."""
    with pytest.raises(ValueError):
        list(Entries.parse(text))

"""Which sets of paths a release may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.wire.tree.entry import EXECUTABLE, FILE, LINK, MAX_PATH, Entry, check_paths

GOOD = ["a", "a.b", "...", ".x", "x.", "a b", "d/e", "d/.e/..f", "ü/ß", "x" * MAX_PATH]
BAD = [
    "",
    ".",
    "..",
    "/",
    "/a",
    "a/",
    "a//b",
    "./a",
    "a/.",
    "a/..",
    "../a",
    "a/./b",
    "a/../b",
    "\0",
    "a\nb",
    "x" * (MAX_PATH + 1),
]


def entries(*paths: str, kind: str = FILE) -> list[Entry]:
    return [Entry(path, kind, 0, "0" * 64) for path in paths]


def test_paths_that_a_release_may_have() -> None:
    check_paths([])
    for kind in (FILE, EXECUTABLE, LINK):
        check_paths(entries(*GOOD, kind=kind))


@pytest.mark.parametrize("path", BAD)
def test_a_path_that_leads_elsewhere_is_named(path: str) -> None:
    """Wherever it stands among others."""
    for place in range(len(GOOD) + 1):
        with pytest.raises(ValueError, match="not a path a release may have") as caught:
            check_paths(entries(*GOOD[:place], path, *GOOD[place:]))
        assert repr(path) in str(caught.value)


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(ValueError, match="'d/e'"):
        check_paths([*entries("a"), *entries("d/e", kind="d")])


PATHS = st.lists(st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a", "a-b", "..", "a/"]), max_size=5)


@given(PATHS)
def test_no_two_exclude_each_other(paths: list[str]) -> None:
    """The same path twice, or one below a file: refused, whatever their order; and nothing else is."""
    bad = {"..", "a/"}.intersection(paths) or len(set(paths)) < len(paths)
    below = any(one.startswith(f"{other}/") for one in paths for other in paths)
    if bad or below:
        with pytest.raises(ValueError, match=r"not a path|twice|is below"):
            check_paths(entries(*paths))
    else:
        check_paths(entries(*paths))

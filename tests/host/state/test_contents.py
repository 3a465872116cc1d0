"""A listing is taken again only where something has changed, and is then what a new one of all would be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.host.state import contents


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
    top = tmp_path / "tree"
    fill(top)
    before = contents.listing(os.fsencode(top))
    change(top)
    found, new, gone = contents.listing_again(top, before, paths)
    assert found == contents.listing(os.fsencode(top))
    assert {path for path, one in found.items() if before.get(path) != one} <= new.keys()
    assert before.keys() - found.keys() <= gone

"""Whatever changes in a sealed directory is found, and named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.host.state.store import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sealing gives files to root")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    tree = store.begin("a")
    (tree / "pkg").mkdir()
    (tree / "pkg/mod.py").write_text("x = 1\n")
    (tree / "two  blanks.txt").write_text("y")
    (tree / "link").symlink_to("pkg/mod.py")
    store.seal("a", os.getuid(), {})
    return store


def test_what_is_as_it_was_sealed(store: Store) -> None:
    """No damage; and bytecode that root's own use has added is none."""
    assert store.damage("a") == ""
    (store.path("a") / "pkg/__pycache__").mkdir()
    (store.path("a") / "pkg/__pycache__/mod.cpython-311.pyc").write_bytes(b"...")
    assert store.damage("a") == ""


def flip(tree: Path) -> None:
    (tree / "pkg/mod.py").write_text("x = 2\n")


def relink(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (flip, "pkg/mod.py"),
        (relink, "link"),
        (lambda tree: (tree / "two  blanks.txt").unlink(), "two  blanks.txt"),
        (lambda tree: (tree / "pkg/new.py").write_text(""), "pkg/new.py"),
        (lambda tree: (tree / "pkg/mod.py").chmod(0o755), "pkg/mod.py"),
    ],
    ids=["a byte", "a link", "a file that is gone", "a file that came", "a mode"],
)
def test_a_change_is_named(store: Store, change: Callable[[Path], object], named: str) -> None:
    """By the path of the file, below the directory."""
    change(store.path("a"))
    assert store.damage("a") == f"below {store.path('a')}: {named}"


def test_the_list_of_digests_itself(store: Store) -> None:
    """Changed together with a file, it still does not pass."""
    flip(store.path("a"))
    store.sums_path("a").write_bytes(b"")
    assert store.damage("a") == str(store.sums_path("a"))


def test_a_seal_that_cannot_be_read(store: Store) -> None:
    """Then the directory does not count: it is built anew."""
    store.seal_path("a").write_text("{")
    assert store.record("a") is None
    assert "gone" in store.damage("a")

"""Compiled modules are carried from tree to tree, and never along a link that a build or a shipment has laid."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from deployer.host.build.bytecode import carry
from deployer.wire.tree import Entry

COMPILED = "mod.cpython-311.pyc"


def entry(path: str, kind: str = "f") -> Entry:
    return Entry(path, kind, 6, hashlib.sha256(b"x = 1\n").hexdigest())


def tree(path: Path, *, compiled: bytes | None = None) -> Path:
    """A tree with one module in a package."""
    (path / "pkg").mkdir(parents=True)
    (path / "pkg/mod.py").write_text("x = 1\n")
    if compiled is not None:
        (path / "pkg/__pycache__").mkdir()
        (path / "pkg/__pycache__" / COMPILED).write_bytes(compiled)
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


MODULE = [entry("pkg/mod.py")]


def test_an_unchanged_module_keeps_its_bytecode_and_its_time(tmp_path: Path) -> None:
    """The compiled file comes along, and the source has the time that the compiled file names."""
    base, new = tree(tmp_path / "base", compiled=b"code"), tree(tmp_path / "new")
    os.utime(base / "pkg/mod.py", ns=(5_000_000_000, 5_000_000_000))
    carry(base, new, MODULE, MODULE)
    assert (new / "pkg/__pycache__" / COMPILED).read_bytes() == b"code"
    assert (new / "pkg/mod.py").stat().st_mtime_ns == 5_000_000_000


def test_a_changed_module_is_left_to_be_compiled(tmp_path: Path) -> None:
    """A module that is not in the tree before, or differs, gets no bytecode."""
    base, new = tree(tmp_path / "base", compiled=b"code"), tree(tmp_path / "new")
    carry(base, new, [Entry("pkg/mod.py", "f", 6, "0" * 64)], MODULE)
    assert not (new / "pkg/__pycache__").exists()


@pytest.mark.parametrize("inside", [True, False])
def test_a_shipped_link_does_not_lead_root_elsewhere(tmp_path: Path, inside: bool) -> None:
    """``__pycache__`` shipped as a link to a directory of the deploy user's: root writes nothing there."""
    base, new, evil = tree(tmp_path / "base", compiled=b"* * * * * root id"), tree(tmp_path / "new"), tmp_path / "evil"
    evil.mkdir()
    target = tmp_path / "crontab"
    if inside:
        (evil / COMPILED).symlink_to(target)
    (new / "pkg/__pycache__").symlink_to(evil)
    carry(base, new, MODULE, [*MODULE, entry("pkg/__pycache__", "l")])
    assert not target.exists()
    assert names(evil) == ([COMPILED] if inside else [])


@pytest.mark.parametrize("swapped", ["pkg", "pkg/__pycache__", f"pkg/__pycache__/{COMPILED}"])
def test_nothing_is_read_along_a_link_in_the_base(tmp_path: Path, swapped: str) -> None:
    """A build that put a link into its tree, at any depth, cannot have root copy what it points at."""
    base, new, other = tree(tmp_path / "base", compiled=b"ours"), tree(tmp_path / "new"), tmp_path / "other"
    tree(other, compiled=b"a secret of another app")
    (base / swapped).rename(tmp_path / "moved")
    (base / swapped).symlink_to(other / swapped)
    carry(base, new, MODULE, MODULE)
    assert not (new / "pkg/__pycache__" / COMPILED).exists()


def test_a_base_that_is_a_link_is_no_base(tmp_path: Path) -> None:
    """Nor is it where modules stand beside each other in the tree itself."""
    other, new = tree(tmp_path / "other", compiled=b"ours") / "pkg", tree(tmp_path / "new") / "pkg"
    (tmp_path / "base").symlink_to(other)
    carry(tmp_path / "base", new, [entry("mod.py")], [entry("mod.py")])
    assert not (new / "__pycache__").exists()
    carry(other, new, [entry("mod.py")], [entry("mod.py")])
    assert names(new / "__pycache__") == [COMPILED]


def test_pipes_and_giants_are_left(tmp_path: Path) -> None:
    """A pipe does not block root, and a file too large for bytecode is not read into memory."""
    base, new = tree(tmp_path / "base", compiled=b""), tree(tmp_path / "new")
    os.truncate(base / "pkg/__pycache__" / COMPILED, 1 << 40)
    os.mkfifo(base / "pkg/__pycache__/mod.cpython-312.pyc")
    carry(base, new, MODULE, MODULE)
    assert names(new / "pkg/__pycache__") == []


def test_only_bytecode_of_shipped_modules_comes_along(tmp_path: Path) -> None:
    """Other files that a build left in ``__pycache__`` stay behind."""
    base, new = tree(tmp_path / "base", compiled=b"code"), tree(tmp_path / "new")
    (base / "pkg/__pycache__/other.cpython-311.pyc").write_bytes(b"other")
    (base / "pkg/__pycache__/mod.txt").write_bytes(b"text")
    carry(base, new, MODULE, MODULE)
    assert names(new / "pkg/__pycache__") == [COMPILED]

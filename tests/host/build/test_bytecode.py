"""Compiled modules come from the tree before, or from the deploy user: never along a link that anybody has laid."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.host.build import bytecode, hardlinks
from deployer.wire.tree.entry import Entry

COMPILED = "mod.cpython-311.pyc"


def entry(path: str, kind: str = "f") -> Entry:
    return Entry(path, kind, 6, hashlib.sha256(b"x = 1\n").hexdigest())


MODULE = [entry("pkg/mod.py")]


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


def share(base: Path, new: Path, *, shipped: tuple[str, ...] = ("pkg/mod.py",), kept: list[Entry] = MODULE) -> Path:
    new.mkdir(exist_ok=True)
    hardlinks.share(str(base), str(new), kept, shipped, modules=True)
    return new


def test_an_unchanged_module_keeps_its_bytecode(tmp_path: Path) -> None:
    """Both are links: nothing of them is written, and the source has the time that the compiled file names."""
    base = tree(tmp_path / "base", compiled=b"code")
    new = share(base, tmp_path / "new")
    for name in ("pkg/mod.py", f"pkg/__pycache__/{COMPILED}"):
        assert (new / name).samefile(base / name)


def test_only_bytecode_of_kept_modules_comes_along(tmp_path: Path) -> None:
    """Other files that a build left in ``__pycache__`` stay behind, and the tree itself may ship some."""
    base = tree(tmp_path / "base", compiled=b"code")
    for name in ("other.cpython-311.pyc", "mod.txt", "mod.cpython-312.pyc"):
        (base / "pkg/__pycache__" / name).write_bytes(b"other")
    new = share(base, tmp_path / "new", shipped=("pkg/mod.py", "pkg/__pycache__/mod.cpython-312.pyc"))
    assert names(new / "pkg/__pycache__") == [COMPILED]


def test_a_shipped_link_in_the_place_of_bytecode(tmp_path: Path) -> None:
    """``__pycache__`` shipped as a link: nothing is put in its place."""
    base = tree(tmp_path / "base", compiled=b"code")
    new = share(base, tmp_path / "new", shipped=("pkg/mod.py", "pkg/__pycache__"))
    assert names(new / "pkg") == ["mod.py"]


@pytest.mark.parametrize("swapped", ["pkg/__pycache__", "pkg"])
def test_nothing_is_taken_along_a_link_in_the_base(tmp_path: Path, swapped: str) -> None:
    """Whatever put it there."""
    base, other = tree(tmp_path / "base", compiled=b"ours"), tree(tmp_path / "other", compiled=b"a secret")
    (base / swapped).rename(tmp_path / "moved")
    (base / swapped).symlink_to(other / swapped)
    if swapped == "pkg":
        with pytest.raises(hardlinks.Missing) as caught:
            share(base, tmp_path / "new")
        assert caught.value.paths == ("pkg/mod.py",)
    else:
        assert names(share(base, tmp_path / "new") / "pkg") == ["mod.py"]


def made(tmp_path: Path, new: Path) -> Path:
    """Where the deploy user has compiled the modules of a tree."""
    place = tmp_path / f"draft/made{new}/pkg"
    place.mkdir(parents=True)
    return place


def add(tmp_path: Path, new: Path) -> None:
    bytecode._add(tmp_path / "draft", f"made{new}/pkg", new, "pkg", ["mod.py"])


def test_what_was_compiled_is_copied(tmp_path: Path) -> None:
    """Only of modules that were asked for, and readable for all."""
    new = tree(tmp_path / "new")
    for name in (COMPILED, "other.cpython-311.pyc", "mod.txt"):
        (made(tmp_path, new) if not (tmp_path / "draft").exists() else tmp_path / f"draft/made{new}/pkg").joinpath(
            name
        ).write_bytes(b"code")
    add(tmp_path, new)
    assert names(new / "pkg/__pycache__") == [COMPILED]
    assert (new / "pkg/__pycache__" / COMPILED).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("how", ["a link", "a pipe", "a giant", "nothing", "a link to a directory"])
def test_what_is_no_bytecode_is_not_copied(tmp_path: Path, how: str) -> None:
    """The deploy user may have put anything there: root reads nothing along a link, and waits for no pipe."""
    new, place = tree(tmp_path / "new"), made(tmp_path, tmp_path / "new")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / COMPILED).write_bytes(b"a secret of another app")
    if how == "a link":
        (place / COMPILED).symlink_to(tmp_path / "secret" / COMPILED)
    elif how == "a pipe":
        os.mkfifo(place / COMPILED)
    elif how == "a giant":
        (place / COMPILED).touch()
        os.truncate(place / COMPILED, 1 << 40)
    elif how == "a link to a directory":
        place.rmdir()
        place.symlink_to(tmp_path / "secret")
    add(tmp_path, new)
    assert not (new / "pkg/__pycache__" / COMPILED).exists()


def test_nothing_is_written_along_a_shipped_link(tmp_path: Path) -> None:
    """A tree whose ``__pycache__`` leads elsewhere gets no bytecode."""
    new, evil = tree(tmp_path / "new"), tmp_path / "evil"
    (made(tmp_path, new) / COMPILED).write_bytes(b"* * * * * root id")
    evil.mkdir()
    (new / "pkg/__pycache__").symlink_to(evil)
    add(tmp_path, new)
    assert names(evil) == []


def test_bytecode_of_what_a_command_wrote_is_dropped(tmp_path: Path) -> None:
    """But not that which the command wrote as well, and no other's."""
    new = tree(tmp_path / "new", compiled=b"stale")
    (new / "top.py").touch()
    (new / "__pycache__").mkdir()
    for name in ("top.cpython-311.pyc", "other.cpython-311.pyc"):
        (new / "__pycache__" / name).touch()
    bytecode.drop(new, ["pkg/mod.py", "top.py", "__pycache__/top.cpython-311.pyc", "a.txt"])
    assert names(new / "pkg/__pycache__") == []
    assert names(new / "__pycache__") == ["other.cpython-311.pyc", "top.cpython-311.pyc"]


def test_equal_files_become_one_and_nothing_is_written_along_a_link(tmp_path: Path) -> None:
    """An installer may have laid a link in the place of bytecode: what it leads to stays as it is."""
    base, new, evil = tree(tmp_path / "base", compiled=b"ours"), tree(tmp_path / "new"), tmp_path / "evil"
    other = tree(tmp_path / "other")
    evil.mkdir()
    (new / "pkg/__pycache__").symlink_to(evil)
    for place in (new, other):
        hardlinks.share_equal(base, place, ["pkg/mod.py"], [f"pkg/__pycache__/{COMPILED}"])
        assert (place / "pkg/mod.py").samefile(base / "pkg/mod.py")
    assert names(evil) == []
    assert (other / "pkg/__pycache__" / COMPILED).samefile(base / "pkg/__pycache__" / COMPILED)


def test_what_no_program_can_import_is_not_compiled(tmp_path: Path) -> None:
    """Nor looked for each time."""
    assert bytecode._by_directory(["pkg/mod.py", "pkg/0001.old.py", "top.py", "a.txt", ".py.py"]) == {
        "pkg": {"mod.py"},
        "": {"top.py"},
    }


@pytest.mark.parametrize("optimize", ["", "1"])
@pytest.mark.parametrize("listed", [True, False], ids=["a list", "a tree"])
def test_modules_are_compiled_elsewhere(tmp_path: Path, listed: bool, optimize: str) -> None:
    """As the app's Python would compile them; those that cannot be compiled keep no other from it. A list costs nothing
    but what it names: no module of the library is compiled along."""
    new = tree(tmp_path / "new\N{LATIN SMALL LETTER E WITH ACUTE}")
    (new / "pkg/broken.py").write_text("x = (\n")
    (new / "pkg/last.py").write_text("x = 2\n")
    places = tmp_path / "list"
    places.write_text("".join(f"{new}/pkg/{name}.py\n" for name in ("broken", "gone", "mod", "last")), "utf-8")
    argv = [sys.executable, "-S", "-c", bytecode.COMPILE, str(tmp_path / "made"), str(places if listed else new)]
    own = {"PYTHONOPTIMIZE": optimize, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"}
    done = subprocess.run(argv, cwd=tmp_path, env=own, stdout=subprocess.PIPE, text=True, check=True)
    assert "broken.py" in done.stdout
    optimized = f".opt-{optimize}" if optimize else ""
    of_ours = Path(f"{tmp_path}/made{new}/pkg")
    assert names(of_ours) == [f"{name}.{sys.implementation.cache_tag}{optimized}.pyc" for name in ("last", "mod")]
    assert names(new / "pkg") == ["broken.py", "last.py", "mod.py"]
    if listed:
        assert set((tmp_path / "made").rglob("*.pyc")) == set(of_ours.iterdir())

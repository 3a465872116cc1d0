"""The directory that an app runs in is one of its code, whatever a request names and a tree holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.host.build.code.tree import refuse_no_directory
from deployer.host.build.environment import venv
from deployer.host.errors import HostError
from deployer.host.units.programs import Place, refuse_missing
from deployer.wire.release.source import LockSpec
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

BASE = Spec.parse(SPEC)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Code with a directory, a file, and links that lead out of it."""
    (tmp_path / "tree/backend/bin").mkdir(parents=True)
    (tmp_path / "tree/file").touch()
    (tmp_path / "outside/inner").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    return tmp_path / "tree"


@pytest.mark.parametrize("directory", ["", "backend", "backend/bin"])
def test_a_directory_of_the_code(tree: Path, directory: str) -> None:
    """At any depth; none at all is the code's root."""
    refuse_no_directory(replace(BASE, directory=directory), tree)


@pytest.mark.parametrize("directory", ["missing", "file", "file/x", "link", "link/inner"])
def test_what_is_no_directory_of_the_code_is_refused(tree: Path, directory: str) -> None:
    """Missing, a file, a link, behind a link: before a build command runs there."""
    with pytest.raises(HostError, match=f"{directory}, the directory that deploy.toml names"):
        refuse_no_directory(replace(BASE, directory=directory), tree)


@pytest.mark.parametrize("value", ["../x", "/etc", "a/../b", "a b", "a%n", ".", "a/", "a" * 1025, 1, "a\n"])
def test_a_path_that_no_laptop_sends(value: object) -> None:
    """It would go into unit files and commands of root's."""
    with pytest.raises(ValueError, match="directory"):
        Spec.parse({**SPEC, "directory": value})
    with pytest.raises(ValueError, match="directory"):
        Spec.parse({**SPEC, "lock": {**SPEC["lock"], "directory": value}})


@pytest.mark.parametrize("names", [["--index-url=x"], ["a b"], ["a;b"], ["-"], ["a" * 129], ["a"] * 65, "a", [1]])
@pytest.mark.parametrize("key", ["groups", "extras"])
def test_names_that_no_lock_has(key: str, names: object) -> None:
    """They would be options of the installer's."""
    with pytest.raises(ValueError, match=key):
        Spec.parse({**SPEC, "lock": {**SPEC["lock"], key: names}})


def test_records_from_before_have_none_of_it() -> None:
    """A release that was made then can be rolled back to."""
    assert (BASE.directory, BASE.lock.directory, BASE.lock.groups, BASE.lock.extras) == ("", "", (), ())


def test_a_program_of_the_code_is_seen_from_there(tree: Path) -> None:
    """One that lies in the directory is found, and one at the root is not."""
    (tree / "backend/bin/work").write_text("#!/bin/sh\n")
    (tree / "backend/bin/work").chmod(0o755)
    process = replace(BASE.processes[0], command=("bin/work",)) if BASE.processes else None
    web = replace(BASE.web, server="command", target="", args=("bin/work",)) if BASE.web else None
    spec = replace(BASE, web=web, processes=(process,) if process else (), timers=())
    refuse_missing(replace(spec, directory="backend"), Place("shop", None, tree))
    with pytest.raises(HostError, match="bin/work is not a program in the code"):
        refuse_missing(spec, Place("shop", None, tree))


def test_the_installer_is_told_what_was_chosen() -> None:
    """Groups and extras of a lock, and its path from where the installer runs."""
    lock = LockSpec(
        kind="pylock", path="a/b/pylock.toml", files=("a/b/pylock.toml",), directory="a", groups=("g",), extras=("e",)
    )
    _, install = venv.commands(replace(BASE, lock=lock), "/venv", "python3")
    assert install[1:8] == ["pip", "sync", "b/pylock.toml", "--group", "g", "--extra", "e"]

"""The names of built things: whatever shapes one is in its name, and nothing else is."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.build.keys import host_key, tree_key, venv_key
from deployer.host.build.pythons import Interpreter
from deployer.host.errors import HostError
from deployer.wire.release.source import LockSpec
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import Entry
from tests.host.asking import SPEC

LOCK = LockSpec(kind="uv", path="uv.lock", files=("uv.lock", "pyproject.toml"), directories=("libs/own",), requires="")
BASE = replace(Spec.parse(SPEC), lock=LOCK, build=("make",))
PYTHON = Interpreter(path="/usr/bin/python3", identity="CPython 3.11.2 x86_64")
OTHER_PYTHON = Interpreter(path="/usr/bin/python3", identity="CPython 3.12.0 x86_64")
FILES = [
    Entry("app.py", "f", 1, "a" * 64),
    Entry("libs/own/lib.py", "f", 1, "b" * 64),
    Entry("pyproject.toml", "f", 1, "c" * 64),
    Entry("uv.lock", "f", 1, "d" * 64),
]


def name_of(spec: Spec, files: Iterable[Entry] = FILES, interpreter: Interpreter = PYTHON) -> str:
    return venv_key(spec, Entries.of(files), interpreter)


def digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def test_the_name_of_an_environment_is_of_all_that_an_installer_reads() -> None:
    """Another one for another lock, kind of lock, source beside it, interpreter; the same for another app."""
    name = name_of(BASE)
    covered = [list(entry) for entry in FILES[1:]]
    assert name == digest(["venv", 2, "uv", covered, PYTHON.identity])
    assert name_of(BASE, reversed(FILES)) == name
    assert name_of(replace(BASE, build=(), watch=99.0), [FILES[0]._replace(digest="e" * 64), *FILES[1:]]) == name
    others = {
        name_of(BASE, FILES, OTHER_PYTHON),
        name_of(replace(BASE, lock=replace(LOCK, kind="pylock"))),
        name_of(replace(BASE, lock=replace(LOCK, directories=()))),
        *(
            name_of(BASE, [*FILES[:place], FILES[place]._replace(digest="e" * 64), *FILES[place + 1 :]])
            for place in (1, 2, 3)
        ),
    }
    assert len({name, *others}) == 7


def test_what_is_chosen_of_a_lock_names_the_environment() -> None:
    """Another one for each group, extra and directory of the installer; records without any keep their names."""
    chosen = ({"groups": ("prod",)}, {"extras": ("prod",)}, {"directory": "backend"}, {})
    names = {name_of(replace(BASE, lock=replace(LOCK, **one))) for one in chosen}  # type: ignore[arg-type]
    assert len(names) == 4


def test_the_directory_of_build_commands_names_the_tree() -> None:
    """They would build something else in another one; without commands the tree is the same."""
    assert tree() != tree(spec=replace(BASE, directory="backend"))
    assert tree(spec=replace(BASE, build=())) == tree(spec=replace(BASE, build=(), directory="backend"))


def test_without_a_lock_there_is_no_environment() -> None:
    """Whatever else ships."""
    assert name_of(replace(BASE, lock=LockSpec(kind="none", path="", files=()))) == ""


def test_a_lock_that_did_not_ship_is_told() -> None:
    """By name, with what to do; before anything is built of half of it."""
    with pytest.raises(HostError, match=r"^pyproject\.toml is not among the files of this release$") as caught:
        name_of(BASE, [*FILES[:2], FILES[3]])
    assert str(caught.value.next) == "commit it, or list it under include"


def tree(**changes: Any) -> str:
    given: dict[str, Any] = {
        "spec": BASE, "digest": "f" * 64, "venv": "v", "interpreter": PYTHON, "environment": {"B": "2", "A": "1"},
        "secret": b"key",
    }  # fmt: skip
    return tree_key(**{**given, **changes})


def test_the_name_of_a_tree_is_of_all_that_shaped_it() -> None:
    """Files, build commands, dependencies, interpreter, and the variables those commands saw, in whatever order."""
    seen = hmac.new(b"key", json.dumps([["A", "1"], ["B", "2"]]).encode(), hashlib.sha256).hexdigest()
    assert tree() == digest(["tree", 2, "f" * 64, ["make"], "v", PYTHON.identity, seen])
    assert tree(environment={"A": "1", "B": "2"}) == tree()
    others = [
        tree(digest="e" * 64), tree(spec=replace(BASE, build=("make", "all"))), tree(venv="w"),
        tree(interpreter=OTHER_PYTHON), tree(environment={"A": "1"}), tree(environment={"A": "1", "B": "3"}),
        tree(secret=b"another host's"),
    ]  # fmt: skip
    assert len({tree(), *others}) == 8


def test_what_nothing_was_built_with_does_not_count() -> None:
    """Without build commands a changed variable makes no other tree."""
    plain = replace(BASE, build=())
    assert tree(spec=plain) == tree(spec=plain, environment={}, secret=b"x")
    assert tree(spec=plain) == digest(["tree", 2, "f" * 64, [], "v", PYTHON.identity, ""])


def test_a_host_has_one_key_of_its_own(tmp_path: Path) -> None:
    """Made at first use, random, root's alone, and the same ever after."""
    first, second = tmp_path / "one", tmp_path / "two"
    key = host_key(first)
    assert len(key) == 32
    assert host_key(first) == key == first.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert host_key(second) != key

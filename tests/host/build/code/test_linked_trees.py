"""A tree without build commands shares its unchanged files with the tree before: nothing of them is read or written."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.host.build.code import altered
from deployer.host.state.content import contents
from deployer.host.state.content.damage import damage_of, mark_damaged
from deployer.host.state.content.store import Store
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are root's")
KEPT = "requirements.txt"


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    """A host on which v1 serves, which was not built by any command."""
    assert deploy(host, "one").exit == 0
    return host


def deploy(host: SimulatedHost, text: str, **settings: object):  # type: ignore[no-untyped-def]
    return host.deploy(text=text, **{"build": [], **settings})


def code(host: SimulatedHost, number: int) -> Path:
    return (host.paths.releases / f"v{number}/code").resolve()


def is_shared(host: SimulatedHost, first: int, second: int, name: str = KEPT) -> bool:
    return (code(host, first) / name).samefile(code(host, second) / name)


def trees(host: SimulatedHost) -> Store:
    return Store(host.paths.trees)


def test_what_stays_is_shared_and_what_changes_is_not(host: SimulatedHost) -> None:
    """All of it is root's, and nobody else can write to it."""
    assert deploy(host, "two").exit == 0
    assert is_shared(host, 1, 2)
    assert not is_shared(host, 1, 2, "app.py")
    for path in code(host, 2).rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_mode & 0o777) == (0, 0o755 if path.is_dir() else 0o644), path
    assert list((code(host, 2) / "__pycache__").iterdir())


def test_nothing_of_what_is_shared_changes(host: SimulatedHost, tmp_path: Path) -> None:
    """Neither a later deploy, nor one with build commands, nor the removal of a tree that has it."""
    os.link(code(host, 1) / KEPT, tmp_path / "seen")
    before = (tmp_path / "seen").stat()
    for number in range(2, 8):
        assert deploy(host, f"text {number}", build=["collect"] if number % 2 else [], keep=2).exit == 0
    host.recover()
    after = (tmp_path / "seen").stat()
    names = ("st_uid", "st_gid", "st_mode", "st_mtime_ns", "st_size")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: None,
    "a link": lambda path: path.symlink_to("app.py"),
    "a pipe": os.mkfifo,
    "a directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("build", [[], ["collect"]], ids=["no command", "a command"])
@pytest.mark.parametrize("how", ["changed", "gone", "a link", "a pipe", "a directory", "its mode"])
def test_a_file_that_was_changed_on_the_host_is_not_taken_over(host: SimulatedHost, how: str, build: list[str]) -> None:
    """The deploy is refused and names it; what serves goes on, and the next one brings the file itself."""
    path = code(host, 1) / KEPT
    text = path.read_text()
    if how == "changed":
        path.write_text(text.upper())
    elif how == "its mode":
        path.chmod(0o755)
    else:
        path.unlink()
        IN_ITS_PLACE[how](path)
    refused = deploy(host, "two", build=build)
    assert refused.exit == 5, refused
    assert KEPT in str(refused.events[-1])
    assert host.web.current() == 1
    first = trees(host).record(code(host, 1).name) or {}
    assert "damaged" not in first and first["altered"] == [KEPT]
    assert deploy(host, "two", build=build).exit == 0
    number = host.web.current()
    assert number is not None and (code(host, number) / KEPT).read_text() == text


def test_all_of_a_tree_is_looked_at_once(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the proof: of the rest the records tell. Where they are lost, it is looked at before it is sealed, too."""
    seen: list[str] = []
    listing = contents.listing
    monkeypatch.setattr(contents, "listing", lambda place: (seen.append(os.fsdecode(place)), listing(place))[1])
    assert deploy(host, "two").exit == 0
    assert seen.count(str(code(host, 2))) == 1
    trees(host).beside(code(host, 2).name, "files").unlink()
    assert deploy(host, "three").exit == 0
    assert seen.count(str(code(host, 3))) == 2


def test_no_migration_is_run_by_code_that_was_changed_on_the_host(host: SimulatedHost) -> None:
    """It is found before, and the candidate is gone."""
    (code(host, 1) / KEPT).write_text("changed\n")
    refused = deploy(host, "two", migrate="migrate")
    failed = [event["phase"] for event in refused.events if event["event"] == "phase.failed"]
    assert (refused.exit, failed) == (5, ["start"])
    assert host.web.current() == 1 and host.broken == []


@pytest.mark.parametrize("how", ["gone", "changed", "another mode", "a link"])
def test_bytecode_that_is_not_what_was_sealed_is_left_out(host: SimulatedHost, how: str) -> None:
    """It costs time and nothing else; what is taken over is whole."""
    files = {"lib.py": "x = 1\n"}
    assert deploy(host, "two", files=files).exit == 0
    (path,) = (code(host, 2) / "__pycache__").glob("lib.*")
    if how == "changed":
        path.write_bytes(b"not what was compiled")
    elif how == "another mode":
        path.chmod(0o600)
    else:
        path.unlink()
        path.symlink_to("/etc/passwd") if how == "a link" else None
    assert deploy(host, "three", files=files).exit == 0
    new = code(host, 3)
    assert not list((new / "__pycache__").glob("lib.*")) and list((new / "__pycache__").glob("app.*"))
    assert (new / "lib.py").samefile(code(host, 2) / "lib.py")
    assert damage_of(trees(host), new.name) == ""
    assert host.reload().exit == 0
    assert deploy(host, "four", files=files).exit == 0
    assert host.rollback().exit == 0


def test_what_cannot_be_read_is_not_put_right(host: SimulatedHost) -> None:
    """It is not known what differs: the tree is not sealed again as it is."""
    key = code(host, 1).name
    before = trees(host).seal_path(key).read_bytes()
    assert not altered.settle(host.context(lambda *_, **__: None), key, f"{code(host, 1)} cannot be read", [])
    assert trees(host).seal_path(key).read_bytes() == before


@pytest.mark.parametrize("error", [errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_what_cannot_be_linked_is_copied(host: SimulatedHost, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its mode, and its time, which its bytecode names."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", refuse)
    assert deploy(host, "two").exit == 0
    assert not is_shared(host, 1, 2)
    first, second = ((code(host, number) / KEPT).stat() for number in (1, 2))
    assert (first.st_mode, first.st_mtime_ns) == (second.st_mode, second.st_mtime_ns)


def test_a_tree_of_an_earlier_version_is_copied_once(host: SimulatedHost) -> None:
    """Its entries are in its seal, and nothing is recorded of its files."""
    (key,) = trees(host).all_keys()
    lines = trees(host).beside(key, "entries").read_text().split("\n")[:-1]
    pairs = [line.split("\0") for line in lines]
    entries = [[path, kind, int(size), digest] for path, rest in pairs for kind, size, digest in [rest.split(" ")]]
    record = trees(host).record(key) or {}
    old = {name: record[name] for name in ("source", "altered", "size", "sums")}
    trees(host).seal_path(key).write_text(json.dumps({**old, "entries": entries}))
    for end in ("entries", "ids", "files"):
        trees(host).beside(key, end).unlink()
    assert deploy(host, "two").exit == 0
    assert not is_shared(host, 1, 2)
    assert deploy(host, "three").exit == 0
    assert is_shared(host, 2, 3)
    assert host.rollback().exit == 0


@pytest.mark.parametrize("end", ["entries", "ids", "files", "sums"])
@pytest.mark.parametrize("how", [b"", b"\0\n", None], ids=["empty", "spoilt", "gone"])
def test_a_lost_record_costs_time_and_nothing_else(host: SimulatedHost, end: str, how: bytes | None) -> None:
    """What is not known is sent or read again."""
    (key,) = trees(host).all_keys()
    path = trees(host).beside(key, end)
    path.write_bytes(how) if how is not None else path.unlink()
    assert deploy(host, "two").exit == 0
    assert host.reload().exit == 0
    assert host.web.current() == 3


def test_damaged_code_shares_nothing(host: SimulatedHost) -> None:
    """The next upload brings every file afresh."""
    (key,) = trees(host).all_keys()
    mark_damaged(trees(host), key, "found by fab doctor")
    assert deploy(host, "two").exit == 0
    assert not is_shared(host, 1, 2)


def test_another_python_compiles_all_of_it(host: SimulatedHost) -> None:
    """Bytecode of one interpreter is of no use to another."""
    (key,) = trees(host).all_keys()
    record = trees(host).record(key) or {}
    trees(host).mark(key, record, compiled="CPython 3.9.2 x86_64")
    kept = code(host, 1) / "__pycache__"
    assert deploy(host, "one", env={"NEW": "1"}, lock="another").exit == 0
    assert [path.samefile(kept / path.name) for path in (code(host, 2) / "__pycache__").iterdir()] == [False]


def venv(host: SimulatedHost, number: int) -> Path:
    return (host.paths.releases / f"v{number}/venv").resolve()


def test_environments_share_what_they_have_in_common(host: SimulatedHost) -> None:
    """Unless what the one before has is not what was installed there."""
    name = "bin/gunicorn"
    assert deploy(host, "one", lock="second").exit == 0
    assert venv(host, 1) != venv(host, 2)
    assert (venv(host, 1) / name).samefile(venv(host, 2) / name)
    (venv(host, 2) / name).write_text("changed on the host\n")
    assert deploy(host, "one", lock="third").exit == 0
    assert not (venv(host, 2) / name).samefile(venv(host, 3) / name)
    assert (venv(host, 3) / name).read_text() != "changed on the host\n"

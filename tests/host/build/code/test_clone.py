"""Behind a release the code that serves is cloned; the next upload replaces in the clone what has changed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.host.build import hardlinks
from deployer.host.build.code import clone
from deployer.host.recovery import debris
from deployer.host.state import cleanup
from deployer.host.state.app import Context
from deployer.host.state.content.damage import mark_damaged
from deployer.host.state.content.store import Store
from deployer.host.system import files, systemd
from tests.host.simulation.host import Outcome, SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are root's")
FILES = {"pkg/a.py": "a = 1\n", "pkg/b.py": "b = 1\n", "pkg/data/one.txt": "1\n", "other/c.py": "c = 1\n"}


@pytest.fixture
def host(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> SimulatedHost:
    """A host on which v1 serves."""
    monkeypatch.setattr(clone, "WORTH", 1)
    assert deploy(host, "one").exit == 0
    host.clock.wait(1)
    return host


@pytest.fixture
def ctx(host: SimulatedHost) -> Context:
    return host.context(lambda *_, **__: None)


def deploy(host: SimulatedHost, text: str, **settings: object) -> Outcome:
    return host.deploy(text=text, **{"build": [], "files": FILES, **settings})


def code(host: SimulatedHost, number: int) -> Path:
    return (host.paths.releases / f"v{number}/code").resolve()


def clones(host: SimulatedHost) -> list[Path]:
    """Those that lie ready."""
    return [path for path in host.paths.trees.glob(".*") if path.name.endswith(".clone")]


def trees(host: SimulatedHost) -> Store:
    return Store(host.paths.trees)


@contextlib.contextmanager
def no_links(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever links files from one tree into another fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("files are linked, and a clone was there")

    with monkeypatch.context() as patch:
        patch.setattr(hardlinks, "share", refuse)
        yield


def found(tree: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of each file, and the directories; without what differs between any two releases."""
    return {
        str(path.relative_to(tree)): (path.lstat().st_mode, path.read_text() if path.suffix in (".py", ".txt") else "")
        for path in tree.rglob("*")
        if "static" not in path.parts and "app" not in path.name
    }


def test_an_upload_takes_the_clone_and_another_is_made(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tree is what it would be without one; the directory in which it lies is root's alone."""
    (ready,) = clones(host)
    status = ready.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (0, 0o700)
    changed = {**FILES, "pkg/a.py": "a = 2\n", "new/d.py": "d = 1\n"}
    del changed["other/c.py"]
    with no_links(monkeypatch):
        assert deploy(host, "two", files=changed).exit == 0
    with monkeypatch.context() as patch:
        patch.setattr(clone, "take", lambda *_: False)
        assert deploy(host, "one", keep=9).exit == 0
        assert deploy(host, "two ", files=changed, keep=9).exit == 0
    cloned, linked = found(code(host, 2)), found(code(host, 4))
    assert cloned == linked
    assert "other" not in cloned and "pkg/__pycache__/b.cpython-311.pyc" in cloned
    assert stat_of(host, 2).st_mode & 0o777 == 0o755
    host.clock.wait(1)
    assert clones(host) == [trees(host).clone(code(host, 4).name)]


def stat_of(host: SimulatedHost, number: int) -> os.stat_result:
    return code(host, number).stat()


def test_files_become_directories_and_the_reverse(host: SimulatedHost) -> None:
    """And what was a package is none any more."""
    assert deploy(host, "two", files={"pkg": "a file\n", "other/c.py/__init__.py": "", "requirements": "x\n"}).exit == 0
    assert (code(host, 2) / "pkg").read_text() == "a file\n"
    assert (code(host, 2) / "other/c.py/__init__.py").is_file()
    host.clock.wait(1)
    assert deploy(host, "three").exit == 0
    assert {name: (code(host, 3) / name).read_text() for name in FILES} == FILES


def test_bytecode_of_a_changed_module_goes(host: SimulatedHost) -> None:
    """It could pass for that of the new one: time and size may be the same."""
    old = (code(host, 1) / "pkg/__pycache__/a.cpython-311.pyc").stat()
    assert deploy(host, "two", files={**FILES, "pkg/a.py": "a = 2\n"}).exit == 0
    new = (code(host, 2) / "pkg/__pycache__/a.cpython-311.pyc").stat()
    assert new.st_ino != old.st_ino
    kept = [(code(host, number) / "pkg/__pycache__/b.cpython-311.pyc").stat().st_ino for number in (1, 2)]
    assert kept[0] == kept[1]


def test_a_small_project_gets_none(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """To link its files takes less than to start the unit."""
    monkeypatch.setattr(clone, "WORTH", 2000)
    assert deploy(host, "two").exit == 0
    host.clock.wait(1)
    assert not clones(host)


def test_after_a_rollback_another_tree_is_cloned(host: SimulatedHost) -> None:
    """The clone of what serves no more goes, and no debris is left."""
    assert deploy(host, "two").exit == 0
    host.clock.wait(1)
    assert host.rollback().exit == 0
    host.clock.wait(1)
    assert clones(host) == [trees(host).clone(code(host, 1).name)]
    assert not list(debris.find(host.context(lambda *_, **__: None), {1, 2, 3}))


def test_one_of_its_name_that_is_still_being_removed_is_no_obstacle(host: SimulatedHost, ctx: Context) -> None:
    """Then it is removed at once."""
    (ready,) = clones(host)
    going = ready.with_name(f".{ready.name}.gone")
    (going / "pkg").mkdir(parents=True)
    trees(host).put_away_clones()
    assert not ready.exists()


def test_a_reload_leaves_it(host: SimulatedHost) -> None:
    before = [path.stat().st_ino for path in clones(host)]
    assert host.reload(env={"NEW": "1"}).exit == 0
    host.clock.wait(1)
    assert [path.stat().st_ino for path in clones(host)] == before


def test_an_upload_does_not_wait_for_one_that_is_being_made(
    host: SimulatedHost, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody's debris while it is made; then its unit is stopped, and what it has made goes."""
    files.remove_tree(*clones(host))
    draft = trees(host).clone_draft(code(host, 1).name)
    (draft / "pkg").mkdir(parents=True)
    held = files.lock(draft)
    assert held is not None
    assert draft not in set(debris.find(ctx, {1}))
    stopped, real = [], systemd.systemctl

    def hear(verb: str, *names: str, **options: object) -> object:
        if verb == "stop" and clone.unit_of("shop") in names:
            stopped.append(names)
            os.close(held)
        return real(verb, *names, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(systemd, "systemctl", hear)
    assert deploy(host, "two").exit == 0
    assert stopped and not draft.exists()
    host.clock.wait(1)
    assert clones(host) == [trees(host).clone(code(host, 2).name)]
    assert not list(debris.find(ctx, {1, 2}))


def test_what_ended_early_is_debris(host: SimulatedHost, ctx: Context) -> None:
    """A power cut: the next recovery removes it."""
    draft = trees(host).clone_draft(code(host, 1).name)
    (draft / "pkg").mkdir(parents=True)
    (found,) = (path for path in debris.find(ctx, {1}) if path == draft)
    debris.remove(ctx, found)
    assert not draft.exists()


def test_one_that_is_not_whole_makes_no_release(host: SimulatedHost) -> None:
    """A file is missing, or another one is in its place: the deploy is refused and names it, and the next one goes
    well."""
    (ready,) = clones(host)
    (ready / "pkg/b.py").unlink()
    refused = deploy(host, "two")
    assert refused.exit == 5 and "pkg/b.py" in str(refused.failure["message"]), refused
    assert deploy(host, "two").exit == 0
    host.clock.wait(1)
    (ready,) = clones(host)
    (ready / "pkg/b.py").unlink()
    (ready / "pkg/b.py").write_text("b = 7\n")
    refused = deploy(host, "three")
    assert refused.exit == 5 and "pkg/b.py" in str(refused.failure["message"]), refused
    assert deploy(host, "three").exit == 0
    number = host.web.current()
    assert number is not None and (code(host, number) / "pkg/b.py").read_text() == FILES["pkg/b.py"]


@pytest.mark.parametrize("how", ["changed", "gone", "replaced"])
def test_what_is_changed_in_the_tree_that_serves(host: SimulatedHost, how: str) -> None:
    """Whatever becomes of a file there after it was cloned: no release has what was not shipped."""
    path = code(host, 1) / "pkg/b.py"
    if how == "changed":
        path.write_text("b = 7\n")
    else:
        path.unlink()
        if how == "replaced":
            path.write_text("b = 7\n")
    ended = [deploy(host, "two").exit for _ in range(2)]
    assert ended[-1] == 0
    number = host.web.current()
    assert number is not None and (code(host, number) / "pkg/b.py").read_text() == FILES["pkg/b.py"]


def test_of_damaged_code_nothing_is_taken(host: SimulatedHost) -> None:
    """Not of its clone either: an upload brings everything."""
    key = code(host, 1).name
    before = (code(host, 1) / "pkg/b.py").stat().st_ino
    mark_damaged(trees(host), key, "a file")
    assert deploy(host, "two").exit == 0
    assert (code(host, 2) / "pkg/b.py").stat().st_ino != before


def test_a_changed_interpreter_takes_none(host: SimulatedHost) -> None:
    """All modules are compiled again: nothing of the old bytecode is in the new tree."""
    key = code(host, 1).name
    trees(host).mark(key, trees(host).record(key) or {}, compiled="another one")
    old = (code(host, 1) / "pkg/__pycache__/b.cpython-311.pyc").stat()
    assert deploy(host, "two").exit == 0
    assert (code(host, 2) / "pkg/__pycache__/b.cpython-311.pyc").stat().st_ino != old.st_ino


def test_a_project_that_ships_bytecode_is_not_cloned(host: SimulatedHost) -> None:
    """What it ships and what the host compiles lie in the same places."""
    assert deploy(host, "two", files={**FILES, "pkg/__pycache__/b.cpython-311.pyc": "shipped\n"}).exit == 0
    assert (code(host, 2) / "pkg/__pycache__/b.cpython-311.pyc").read_text() == "shipped\n"
    host.clock.wait(1)
    assert not clones(host)
    assert deploy(host, "three").exit == 0
    assert (code(host, 3) / "pkg/__pycache__/b.cpython-311.pyc").read_text() != "shipped\n"


@pytest.mark.parametrize("error", [errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_what_cannot_be_linked_is_not_cloned(host: SimulatedHost, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of all would take as much room again."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", refuse)
    assert deploy(host, "two").exit == 0
    host.clock.wait(1)
    assert not list(host.paths.trees.glob(".*"))


def test_build_commands_work_in_one(host: SimulatedHost) -> None:
    """What they have made or changed in the tree before is made anew."""
    for text in ("two", "three"):
        assert deploy(host, text, build=["collect"]).exit == 0
        host.clock.wait(1)
    assert (code(host, 3) / "static/out.txt").is_file()
    assert clones(host) == [trees(host).clone(code(host, 3).name)]


def test_a_disk_that_is_nearly_full_has_none(
    host: SimulatedHost, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed where room is needed, and not made."""
    assert clones(host)
    monkeypatch.setattr(cleanup, "_ROOM", 1 << 60)
    cleanup.make_room(ctx)
    assert not clones(host)
    assert deploy(host, "two").exit == 0
    host.clock.wait(1)
    assert not clones(host)


def test_nearly_all_inodes_in_use_are_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """btrfs counts none: that is not none left."""
    real = os.statvfs(str(tmp_path))

    class Found:
        f_blocks, f_bavail, f_frsize = real.f_blocks, real.f_blocks, 1 << 30
        f_files, f_favail = 1000, 99

    monkeypatch.setattr(os, "statvfs", lambda _: Found)
    assert cleanup.is_tight(tmp_path)
    Found.f_files = Found.f_favail = 0
    assert not cleanup.is_tight(tmp_path)

"""What a user changes in an overlay is apart from what lies below, and put together it is what he sees."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.host.system import mounts, overlay

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
USER = 65534


def fill(tree: Path) -> None:
    """Code that is root's, a file of which another tree has, too."""
    for name in ("a.txt", "b.txt", "pkg/mod.py", "pkg/deep/x.txt", "dist/old.js", "dist/keep.js", "run.sh"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"{name}\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("a.txt")


class Room:
    """A tree, and a room for what is written to it."""

    def __init__(self, top: Path) -> None:
        self.tree, self.room, self.twin = top / "tree", top / "room", top / "twin"
        self.tree.mkdir()
        fill(self.tree)
        self.twin.mkdir()
        for path in ("a.txt", "pkg/mod.py"):
            os.link(self.tree / path, self.twin / path.rpartition("/")[2])
        self.room.mkdir(mode=0o700)

    def mount(self) -> None:
        overlay.mount(self.tree, self.room, USER, USER)

    def take(self) -> list[str]:
        overlay.unmount(self.tree)
        (self.room / "removed").mkdir()
        return overlay.copy(self.room / overlay.UPPER, self.tree, self.room / "removed", USER).files


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent != Path("/") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o111)
    made = Room(tmp_path)
    try:
        made.mount()
    except OSError as error:
        pytest.skip(f"no overlay here: {error}")
    try:
        yield made
    finally:
        overlay.clear(made.tree, made.room)


def as_user(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "sh", "-ec", script],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip


def shown(tree: Path) -> dict[str, tuple[int, str]]:
    """Kind and content of all that is there."""
    found = {}
    for path in sorted(tree.rglob("*")):
        kind = stat.S_IFMT(path.lstat().st_mode)
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(tree))] = kind, content
    return found


CHANGES = {
    "in place": "echo more >> a.txt; echo other > pkg/mod.py",
    "a new file": "echo x > new.txt; mkdir -p n/m; echo y > n/m/z.txt; ln -s z.txt n/m/l",
    "by renaming": "sed -i s/mod/dom/ pkg/mod.py; mv b.txt c.txt",
    "a file removed": "rm a.txt pkg/deep/x.txt",
    "a directory removed": "rm -r dist",
    "a directory made anew": "rm -r dist; mkdir dist; echo z > dist/new.js",
    "a file becomes a directory": "rm a.txt; mkdir a.txt; echo z > a.txt/z",
    "a directory becomes a file": "rm -r pkg; echo z > pkg",
    "a directory becomes a link": "rm -r pkg; ln -s dist pkg",
    "a second name": "ln a.txt second.txt; echo z >> second.txt; ln new2 new3 2>/dev/null || true",
    "a mode": "chmod 600 a.txt; chmod +x b.txt; chmod 700 pkg",
    "an empty directory": "mkdir -p empty/er",
    "a link is replaced": "rm link; echo z > link",
    "nothing": "true",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_put_together_it_is_what_the_user_saw(room: Room, tmp_path: Path, change: str) -> None:
    """As on a copy that is his; and what lay below is as it was for whoever else has it."""
    plain = tmp_path / "plain"
    shutil.copytree(room.tree, plain, symlinks=True)
    assert as_user(room.tree, change).returncode == 0
    for path in (plain, *plain.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    assert as_user(plain, change).returncode == 0
    room.take()
    assert shown(room.tree) == shown(plain)
    assert {path.name: path.read_text() for path in room.twin.iterdir()} == {
        "a.txt": "a.txt\n",
        "mod.py": "pkg/mod.py\n",
    }
    for path in room.tree.rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (0, 0)
        assert path.is_symlink() or not status.st_mode & 0o022
        assert not [mark for mark in os.listxattr(path, follow_symlinks=False) if "overlay" in mark]


def test_what_is_left_alone_goes_on_being_shared(room: Room) -> None:
    """Only what was written is told, and has a file of its own."""
    assert as_user(room.tree, "echo x > new.txt; echo more >> a.txt").returncode == 0
    assert sorted(room.take()) == ["a.txt", "new.txt"]
    assert (room.tree / "pkg/mod.py").samefile(room.twin / "mod.py")
    assert not (room.tree / "a.txt").samefile(room.twin / "a.txt")


def test_a_directory_with_another_name_is_noticed(room: Room) -> None:
    """Most of what it holds is not above."""
    assert not overlay.is_renamed(room.room / overlay.UPPER)
    done = subprocess.run(
        ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "/usr/bin/python3", "-c",
         "import os; os.rename('dist', 'public')"],
        cwd=room.tree, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert overlay.is_renamed(room.room / overlay.UPPER)
    assert sorted(path.name for path in (room.tree / "public").iterdir()) == ["keep.js", "old.js"]


def test_whoever_still_has_a_file_open_is_waited_for_and_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """He could go on writing to it."""
    monkeypatch.setattr(overlay, "_PATIENCE", 0.2)
    named = f"another process than the build's uses it.*: {os.getpid()} [(]"
    with (room.tree / "a.txt").open(), pytest.raises(PermissionError, match=named):
        overlay.unmount(room.tree)
    with subprocess.Popen(["/bin/sleep", "600"], cwd=room.tree / "pkg") as inside:
        with pytest.raises(PermissionError, match=rf": {inside.pid} [(]sleep[)]"):
            overlay.unmount(room.tree)
        inside.kill()
    overlay.unmount(room.tree)


def test_the_user_reaches_nothing_but_the_overlay(room: Room) -> None:
    """Neither what lies above, nor what stands for a removal."""
    for script in (f"ls {room.room}", f"touch {room.room}/upper/x", "mknod gone c 0 0"):
        assert as_user(room.tree, script).returncode != 0, script


def test_an_interrupted_build_is_cleared(room: Room) -> None:
    """Whoever uses it; and twice does no harm."""
    with (room.tree / "a.txt").open():
        overlay.clear(room.tree, room.room)
    overlay.clear(room.tree, room.room)
    assert not mounts.is_mount_point(room.tree)
    assert (room.tree / "a.txt").stat().st_uid == 0


def test_where_there_is_no_overlay_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mount, at no place."""
    made = Room(tmp_path)
    monkeypatch.setattr(overlay, "_OPTIONS", "no_such_option=1")
    with pytest.raises(OSError):
        made.mount()
    assert not mounts.is_mount_point(made.tree)
    assert not mounts.is_mount_point(made.room / overlay.LOWER)


def test_whoever_keeps_the_mount_changes_nothing_of_the_result(room: Room) -> None:
    """In a mount namespace of his own, which unmounting does not reach, the files above are still his."""
    script = "echo ready; read go; echo evil > a.txt; echo evil > new.txt; cat a.txt"
    as_user(room.tree, "echo good > a.txt; echo good > new.txt")
    argv = ["unshare", "--mount", "--propagation", "private"]
    drop = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "sh", "-c", script]
    with subprocess.Popen(
        [*argv, *drop], cwd=room.tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as kept:
        assert kept.stdin is not None and kept.stdout is not None
        assert kept.stdout.readline() == "ready\n"
        room.take()
        kept.stdin.write("go\n")
        kept.stdin.close()
        assert kept.stdout.read() == "evil\n", "he could still write"
    assert (room.tree / "a.txt").read_text() == (room.tree / "new.txt").read_text() == "good\n"

"""What root writes survives, and what a build had in its hands is taken from it without being led astray."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from deployer.host.state.content import contents
from deployer.host.system import files, ownership

OWNER = 61001
OTHER = 61002
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files change hands only as root")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that users without any rights can enter."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != Path("/tmp") and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    return tmp_path


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Files are made, and refused, as that user's."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def built(place: Path) -> Path:
    """A small tree as a build leaves it."""
    tree = place / "tree"
    (tree / "pkg").mkdir(parents=True)
    (tree / "pkg/mod.py").write_text("x = 1\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    ownership.give(tree, OWNER, OWNER)
    return tree


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def modes(tree: Path) -> dict[str, tuple[int, int]]:
    """Owner and mode of all that is in the tree."""
    found = {}
    for path in (tree, *tree.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(tree))] = (status.st_uid, stat.S_IMODE(status.st_mode))
    return found


def test_a_written_file_has_its_mode_and_leaves_no_trace(place: Path) -> None:
    """A secret is 0600 whatever the umask and whatever was there before, and no temporary file stays."""
    target = place / "env"
    target.write_text("old")
    target.chmod(0o666)
    before = os.umask(0)
    try:
        files.write_file(target, b"new", 0o600)
    finally:
        os.umask(before)
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", 0o600)
    assert names(place) == ["env"]


def test_a_write_goes_through_no_link(place: Path) -> None:
    """A link in the place of the file, or of its temporary name, is replaced: what it points at stays as it was."""
    victim = place / "victim"
    victim.write_text("precious")
    (place / "env").symlink_to(victim)
    (place / ".env.tmp").symlink_to(victim)
    files.write_file(place / "env", b"new", 0o600)
    assert victim.read_text() == "precious"
    assert not (place / "env").is_symlink()


def test_a_failed_write_keeps_what_was_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the old content stays whole, and the temporary file goes."""
    target = place / "settings"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_file(target, b"new")
    assert target.read_text() == "old"
    assert names(place) == ["settings"]


def test_a_file_may_be_of_another_time(place: Path) -> None:
    """It never has its name and the time of this moment: systemd would read when a timer last ran in between."""
    seen = []
    replace = os.replace

    def look(old: str, new: str) -> None:
        seen.append(Path(old).stat().st_mtime)
        replace(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", look)
        files.write_file(place / "stamp", b"", modified=1_700_000_000_000_000_000)
    assert seen == [(place / "stamp").stat().st_mtime] == [1_700_000_000]


def test_a_link_is_switched_without_a_gap(place: Path) -> None:
    """Whoever reads ``current`` all the time finds it all the time, leading to one release or the other."""
    for name in ("v1", "v2"):
        (place / name).mkdir()
    link = place / "current"
    files.point(link, "v1")
    seen: set[str] = set()
    missing: list[OSError] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(str(link.readlink()))
            except OSError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        files.point(link, "v2")
        files.point(link, "v1")
    done.set()
    reader.join()
    assert missing == []
    assert seen <= {"v1", "v2"}
    assert names(place / "v1") == []


def test_sealed_is_read_only_and_roots(place: Path) -> None:
    """After the seal all is root's, readable by all, writable by none, executable where it was."""
    tree = built(place)
    size = ownership.take(tree, OWNER)
    assert size == len("x = 1\n") + len("#!/bin/sh\n")
    assert modes(tree) == {
        ".": (0, 0o755), "pkg": (0, 0o755), "pkg/mod.py": (0, 0o644), "run.sh": (0, 0o755),
    }  # fmt: skip
    with as_user(OWNER), pytest.raises(PermissionError):
        (tree / "pkg/mod.py").write_text("x = 2\n")
    with as_user(OWNER), pytest.raises(PermissionError):
        (tree / "pkg/new.py").touch()


def test_set_id_bits_are_dropped(place: Path) -> None:
    """A build that leaves a set-uid program leaves an ordinary one."""
    tree = built(place)
    with as_user(OWNER):
        (tree / "run.sh").chmod(0o6777)
        (tree / "pkg").chmod(0o3777)
    ownership.take(tree, OWNER)
    assert modes(tree)["run.sh"] == (0, 0o755)
    assert modes(tree)["pkg"] == (0, 0o755)


def test_links_are_not_followed(place: Path) -> None:
    """Links to a file and to a directory outside are taken as links: what they point at keeps its owner and mode."""
    tree, outside = built(place), place / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/shadow").write_text("root:x")
    (outside / "deep/shadow").chmod(0o600)
    os.chown(outside / "deep/shadow", OTHER, OTHER)
    with as_user(OWNER):
        (tree / "file").symlink_to(outside / "deep/shadow")
        (tree / "directory").symlink_to(outside)
        (tree / "pkg/mod.py").unlink()
        (tree / "pkg").rmdir()
        (tree / "pkg").symlink_to(outside / "deep")
    before = modes(outside)
    ownership.take(tree, OWNER)
    assert modes(outside) == before
    assert (tree / "file").is_symlink()
    assert modes(tree)["file"][0] == 0


def test_a_tree_that_is_a_link_is_refused(place: Path) -> None:
    """The tree's own path may not lead elsewhere either."""
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / "tree").symlink_to(elsewhere)
    os.chown(elsewhere, OTHER, OTHER)
    for take in (lambda path: ownership.give(path, OWNER, OWNER), lambda path: ownership.take(path, OWNER)):
        with pytest.raises(OSError, match="tree"):
            take(place / "tree")
    assert elsewhere.stat().st_uid == OTHER


def test_a_hard_link_to_anothers_file_is_refused(place: Path) -> None:
    """A hard link to a file of somebody else, which a kernel may allow, is refused and keeps owner and mode."""
    tree, shadow = built(place), place / "shadow"
    shadow.write_text("root:x")
    shadow.chmod(0o600)
    os.link(shadow, tree / "pkg/mine.txt")
    with pytest.raises(PermissionError, match="another user"):
        ownership.take(tree, OWNER)
    assert (shadow.stat().st_uid, stat.S_IMODE(shadow.stat().st_mode)) == (0, 0o600)


def test_a_file_moved_in_from_elsewhere_is_refused(place: Path) -> None:
    """A secret of root's that lay in a directory of the owner's, and was moved in, is not made readable."""
    tree, secret = built(place), place / "secret"
    secret.write_text("token")
    secret.chmod(0o600)
    secret.rename(tree / "pkg/secret")
    with pytest.raises(PermissionError, match="another user"):
        ownership.take(tree, OWNER)
    assert stat.S_IMODE((tree / "pkg/secret").stat().st_mode) == 0o600


def test_hard_links_within_the_tree_are_fine(place: Path) -> None:
    """Two names of one file of the owner's are sealed both, and counted once."""
    tree = built(place)
    with as_user(OWNER):
        os.link(tree / "pkg/mod.py", tree / "pkg/same.py")
    assert ownership.take(tree, OWNER) == len("x = 1\n") + len("#!/bin/sh\n")
    assert modes(tree)["pkg/same.py"] == (0, 0o644)


def test_a_hard_link_outside_does_not_keep_the_file_writable(place: Path) -> None:
    """The owner's second name for a sealed file, outside of the tree, gives no way to change it."""
    tree, home = built(place), place / "home"
    home.mkdir()
    os.chown(home, OWNER, OWNER)
    with as_user(OWNER):
        os.link(tree / "pkg/mod.py", home / "mod.py")
    ownership.take(tree, OWNER)
    with as_user(OWNER), pytest.raises(PermissionError):
        (home / "mod.py").write_text("x = 2\n")


def test_sockets_and_pipes_are_removed(place: Path) -> None:
    """A pipe would stop whoever reads the tree later; it goes, and so does a socket."""
    tree = built(place)
    with as_user(OWNER):
        os.mkfifo(tree / "pkg/pipe")
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(tree)  # the path may be too long for a socket's address
            listening.bind("socket")
            os.chdir("/")
    ownership.take(tree, OWNER)
    assert sorted(modes(tree)) == [".", "pkg", "pkg/mod.py", "run.sh"]


def test_an_unreadable_directory_is_sealed_all_the_same(place: Path) -> None:
    """A directory without any permissions becomes one that all can read."""
    tree = built(place)
    with as_user(OWNER):
        (tree / "pkg").chmod(0)
    ownership.take(tree, OWNER)
    assert modes(tree)["pkg"] == (0, 0o755)


def test_what_is_swapped_while_it_is_sealed_does_no_harm(place: Path) -> None:
    """An owner who swaps files for links all the while changes nothing outside, and cannot change the sealed tree."""
    tree, outside = built(place), place / "outside"
    outside.mkdir()
    (outside / "shadow").write_text("root:x")
    (outside / "shadow").chmod(0o600)
    os.chown(outside / "shadow", OTHER, OTHER)
    for number in range(60):
        (tree / f"d{number}").mkdir()
        (tree / f"d{number}/file").write_text("x")
        os.chown(tree / f"d{number}", OWNER, OWNER)
        os.chown(tree / f"d{number}/file", OWNER, OWNER)
    swapper = os.fork()
    if swapper == 0:
        _swap_for_ever(tree, outside)
    try:
        with contextlib.suppress(OSError):  # a name that vanished at the wrong moment: the release is refused
            ownership.take(tree, OWNER)
    finally:
        os.kill(swapper, 9)
        os.waitpid(swapper, 0)
    assert (outside.stat().st_uid, outside.stat().st_mode & 0o777) == (0, 0o755)
    assert ((outside / "shadow").stat().st_uid, (outside / "shadow").stat().st_mode & 0o777) == (OTHER, 0o600)


def _swap_for_ever(tree: Path, outside: Path) -> None:
    os.setgid(OWNER)
    os.setuid(OWNER)
    while True:
        for directory in (tree / f"d{number}" for number in range(60)):
            with contextlib.suppress(OSError):
                (directory / "file").unlink()
                (directory / "file").symlink_to(outside / "shadow")
            with contextlib.suppress(OSError):
                (directory / "file").unlink()
                directory.rmdir()
                directory.symlink_to(outside)
            with contextlib.suppress(OSError):
                directory.unlink()
                directory.mkdir()
                (directory / "file").touch()


def test_what_appears_before_a_directory_is_taken_is_sealed_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are listed only once nobody can add any: one made at the last moment does not stay the owner's."""
    tree = built(place)
    take = os.fchown

    def late(descriptor: int, uid: int, gid: int) -> None:
        if (status := os.fstat(descriptor)).st_uid == OWNER and stat.S_ISDIR(status.st_mode):
            with as_user(OWNER):
                os.mkdir("late", 0o777, dir_fd=descriptor) if not (tree / "late").exists() else None
        take(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", late)
    ownership.take(tree, OWNER)
    assert modes(tree)["late"] == (0, 0o755)


def test_a_tree_without_end_is_refused(place: Path) -> None:
    """Directories nested deeper than descriptors last are refused; they can still be removed."""
    tree = built(place)
    os.chdir(tree)
    for _ in range(3000):
        Path("d").mkdir()
        os.chown("d", OWNER, OWNER)
        os.chdir("d")
    os.chdir("/")
    with pytest.raises(PermissionError, match="nested"):
        ownership.take(tree, OWNER)
    files.remove_tree(tree)
    assert not tree.exists()


def test_giving_goes_from_the_leaves_to_the_root(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While root still gives what is in a directory, its new owner cannot write there: nothing can be swapped in."""
    tree = place / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    give = os.chown
    parents: list[int] = []

    def watched(name: str, uid: int, gid: int, *, dir_fd: int, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        parents.append(os.fstat(dir_fd).st_uid)
        give(name, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "chown", watched)
    ownership.give(tree, OWNER, OWNER)
    assert parents == [0]
    assert {uid for uid, _ in modes(tree).values()} == {OWNER}


def test_a_tree_that_was_in_other_hands_is_not_given_again(place: Path) -> None:
    """A build that died half-way has left a tree of its owner's making: it is not taken for one of root's."""
    tree = built(place)
    with pytest.raises(PermissionError, match="uploaded again"):
        ownership.give(tree, OWNER, OWNER)


def test_given_links_are_given_themselves(place: Path) -> None:
    """A shipped link goes to the new owner; what it points at does not."""
    tree, outside = place / "tree", place / "outside"
    tree.mkdir()
    outside.mkdir()
    (tree / "link").symlink_to(outside)
    ownership.give(tree, OWNER, OWNER)
    assert (tree / "link").lstat().st_uid == OWNER
    assert outside.stat().st_uid == 0


def test_open_below_follows_no_link_at_any_depth(place: Path) -> None:
    """A link as the last part or on the way is refused, as are a pipe and a path that is not plain; a file opens."""
    (place / "root/a").mkdir(parents=True)
    (place / "root/a/file").write_text("here")
    (place / "secret").mkdir()
    (place / "secret/file").write_text("there")
    (place / "root/way").symlink_to(place / "secret")
    (place / "root/a/end").symlink_to(place / "secret/file")
    os.mkfifo(place / "root/a/pipe")
    descriptor = ownership.open_below(place / "root", "a/file", os.O_RDONLY)
    assert os.read(descriptor, 9) == b"here"
    os.close(descriptor)
    (place / "file").write_text("outside")
    for path in ("way/file", "a/end", "a/pipe", "../file", "a/../../file", "./a/file", "a//file", "..", ".", ""):
        with pytest.raises(OSError):
            ownership.open_below(place / "root", path, os.O_RDONLY)


def test_open_below_follows_no_link_that_takes_the_place_of_what_it_looked_at(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the directory may swap the file between the look and the opening."""
    (place / "root").mkdir()
    (place / "root/file").write_text("here")
    (place / "secret").write_text("there")
    looked = os.lstat

    def swap(path: Any, *, dir_fd: int) -> os.stat_result:
        status = looked(path, dir_fd=dir_fd)
        os.unlink(path, dir_fd=dir_fd)
        os.symlink(place / "secret", path, dir_fd=dir_fd)
        return status

    monkeypatch.setattr(files.os, "lstat", swap)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        ownership.open_below(place / "root", "file", os.O_RDONLY)


def test_read_below_reads_files_only_and_not_for_ever(place: Path) -> None:
    """A regular file is read up to the limit; a link to an endless device and a pipe are refused."""
    (place / "file").write_text("content")
    (place / "endless").symlink_to("/dev/zero")
    os.mkfifo(place / "pipe")
    assert ownership.read_below(place, "file", 4) == b"cont"
    for name in ("endless", "pipe", "absent"):
        with pytest.raises(OSError):
            ownership.read_below(place, name, 4)


def test_directories_are_mended_and_left_alone(place: Path) -> None:
    """A directory gets the owner and mode it should have, once: the second time nothing changes."""
    path = place / "state"
    assert files.own_directory(path, 0o700, OWNER, OWNER)
    before = path.stat()
    assert not files.own_directory(path, 0o700, OWNER, OWNER)
    assert path.stat().st_ctime_ns == before.st_ctime_ns
    path.chmod(0o755)
    assert files.own_directory(path, 0o700, OWNER, OWNER)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (OWNER, 0o700)


def test_removing_follows_no_link(place: Path) -> None:
    """What a link inside points at stays; a link in the place of the tree goes alone."""
    tree, outside = built(place), place / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    files.remove_tree(tree)
    (place / "tree").symlink_to(outside)
    files.remove_tree(place / "tree")
    files.remove_tree(place / "absent")
    assert (outside / "file").exists()
    assert not (place / "tree").is_symlink()


def test_an_empty_directory_takes_no_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what is left of one that was being removed; what holds anything does."""
    monkeypatch.setattr(files.subprocess, "run", Mock(side_effect=AssertionError("rm")))
    for name in ("empty", f".empty{files.GONE}"):
        (place / name).mkdir()
    files.remove_tree(place / "empty")
    assert list(place.iterdir()) == []
    with pytest.raises(AssertionError):
        files.remove_tree(built(place))


def test_removing_stops_at_another_file_system(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an admin has mounted below a release is not the release's: rm is told so, and a refusal is an error."""
    tree = place / "tree"
    (tree / "mounted").mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "none", str(tree / "mounted")], check=False, capture_output=True)
    if mount.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (tree / "mounted" / "precious").write_text("x")
        with contextlib.suppress(OSError):
            files.remove_tree(tree)
        found = list(place.rglob("precious"))
        assert [path.read_text() for path in found] == ["x"]
    finally:
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(str(place)):
                subprocess.run(["umount", line.split()[1]], check=True)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes | None]]:
    """What was fsynced, in its order: the path, and of a file what it held at that moment."""
    found: list[tuple[str, bytes | None]] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.append((path.name, path.read_bytes() if path.is_file() else None))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_all_that_is_written_is_on_the_disk_under_its_name(place: Path, synced: list[Any]) -> None:
    """The content first, then the name: of a file, of a link."""
    files.write_file(place / "file", b"content")
    assert synced == [(".file.tmp", b"content"), (place.name, None)]
    synced.clear()
    files.point(place / "link", "file")
    assert synced == [(place.name, None)]


def test_a_new_directory_is_on_the_disk_with_all_that_it_lies_in(place: Path, synced: list[Any]) -> None:
    """From the outermost inwards, each with the mode that it is to have, whatever the umask; a mended one, too."""
    before = os.umask(0o077)
    try:
        files.make_directory(place / "a/b/c", 0o710)
    finally:
        os.umask(before)
    assert synced == [(place.name, None), ("a", None), ("b", None)]
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o710]
    synced.clear()
    files.make_directory(place / "a/b/c", 0o750)  # somebody made it, and was killed
    assert synced == [("b", None)]
    assert stat.S_IMODE((place / "a/b/c").stat().st_mode) == 0o750


def test_a_line_is_on_the_disk_when_it_is_added(place: Path, synced: list[Any]) -> None:
    """Before the first line the file's name is: also when another program made the file, and was killed."""
    file = place / "ledger"
    for made_before in (False, True):
        files.append_line(file, b"one")
        assert synced == [(place.name, None), ("ledger", b"one\n")], made_before
        synced.clear()
        files.append_line(file, b"two")
        assert synced == [("ledger", b"one\ntwo\n")]
        synced.clear()
        file.write_bytes(b"")


def test_a_line_is_added_to_a_file_and_to_no_link(place: Path) -> None:
    """Nor is a link locked, or taken for something that somebody holds."""
    (place / "target").write_text("before\n")
    (place / "link").symlink_to(place / "target")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        files.append_line(place / "link", b"x")
    assert (place / "target").read_text() == "before\n"
    held = files.lock(place / "target")
    try:
        assert files.is_locked(place / "target")
        assert not files.is_locked(place / "link")
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            files.lock(place / "link")
    finally:
        os.close(held or -1)


def test_a_file_that_becomes_a_link_while_it_is_looked_at_is_not_followed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the opening the builder may swap it: what it leads to keeps its owner and its mode."""
    tree = built(place)
    (place / "target").write_text("x")
    os.chown(place / "target", OWNER, OWNER)
    (place / "target").chmod(0o640)
    looked = os.lstat

    def swap(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        status = looked(path, dir_fd=dir_fd) if dir_fd is not None else looked(path)
        if path == "run.sh":
            os.unlink(path, dir_fd=dir_fd)
            os.symlink(place / "target", path, dir_fd=dir_fd)
        return status

    monkeypatch.setattr(files.os, "lstat", swap)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        ownership.take(tree, OWNER)
    status = (place / "target").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (OWNER, 0o640)


def test_a_digest_is_never_that_of_what_a_link_leads_to(place: Path) -> None:
    """A file that has become a link meanwhile is an error, and no pipe is waited for."""
    (place / "target").write_text("x")
    (place / "link").symlink_to(place / "target")
    os.mkfifo(place / "pipe")
    top = os.open(place, os.O_RDONLY)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        contents._digest(b"link", top, True)
    with pytest.raises(OSError, match="not a regular file"):
        contents._digest(b"pipe", top, True)
    os.close(top)

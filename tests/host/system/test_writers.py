"""A tree that root takes: nobody who opened a file of it can write there any more."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployer.host.system import ownership, writers

if os.getuid() != 0:
    pytest.skip("only root can take a tree from somebody", allow_module_level=True)
OWNER = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of somebody's, with a file in a directory."""
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/inner/file").write_text("as built")
    for path in (tmp_path / "tree", tmp_path / "tree/inner", tmp_path / "tree/inner/file"):
        os.chown(path, OWNER, OWNER)
    return tmp_path / "tree"


@contextmanager
def opened(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR)
    yield
    os.close(descriptor)


@contextmanager
def appending(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    yield
    os.close(descriptor)


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Mapped, and its descriptor closed."""
    descriptor = os.open(path, os.O_RDWR)
    held = mmap.mmap(descriptor, 8, mmap.MAP_SHARED)
    os.close(descriptor)
    yield
    held.close()


@contextmanager
def on_its_way(path: Path) -> Iterator[None]:
    """In a socket, where nobody has taken it out yet."""
    one, other = socket.socketpair()
    with one, other:
        descriptor = os.open(path, os.O_RDWR)
        socket.send_fds(one, [b"x"], [descriptor])
        os.close(descriptor)
        yield


@pytest.mark.parametrize("way", [opened, appending, mapped, on_its_way])
def test_a_tree_with_a_writer_is_refused(
    way: Callable[[Path], contextmanager[None]], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it has the file: the message names it. Without the writer the tree is taken."""
    monkeypatch.setattr(writers, "_PATIENCE", 0.1)
    with way(tree / "inner/file"), pytest.raises(PermissionError, match=r"'file'.*open for writing"):
        ownership.take(tree, OWNER)
    os.chown(tree, OWNER, OWNER)
    os.chown(tree / "inner", OWNER, OWNER)
    os.chown(tree / "inner/file", OWNER, OWNER)
    assert ownership.take(tree, OWNER) == 8


def test_a_file_that_becomes_a_link_is_not_followed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening: what it leads to is neither leased nor copied into the tree."""
    looked = os.lstat

    def swap(path: str, *, dir_fd: int) -> os.stat_result:
        status = looked(path, dir_fd=dir_fd)
        if path == "file":
            os.unlink(path, dir_fd=dir_fd)
            os.symlink("/etc/shadow", path, dir_fd=dir_fd)
        return status

    monkeypatch.setattr(writers.os, "lstat", swap)
    directory = os.open(tree, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            writers.shut_out(directory)
    finally:
        os.close(directory)


def test_a_reader_is_no_writer(tree: Path) -> None:
    """Whoever only reads may go on."""
    descriptor = os.open(tree / "inner/file", os.O_RDONLY)
    assert ownership.take(tree, OWNER) == 8
    os.close(descriptor)


def test_one_that_is_about_to_end_is_waited_for(tree: Path) -> None:
    """A process that was just killed may hold it for a moment more."""
    descriptor = os.open(tree / "inner/file", os.O_RDWR)
    threading.Timer(0.3, os.close, [descriptor]).start()
    assert ownership.take(tree, OWNER) == 8


def test_where_there_are_no_leases_each_file_is_a_copy(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the old file open writes into nothing; content, mode and time are the same, and nothing else is left."""

    def refused(descriptor: int, command: int, value: int = 0) -> int:
        raise OSError(22, "Invalid argument")

    file = tree / "inner/file"
    file.chmod(0o755)
    os.utime(file, ns=(1, 1_000_000_007))
    monkeypatch.setattr(fcntl, "fcntl", refused)
    descriptor = os.open(file, os.O_RDWR)
    ownership.take(tree, OWNER)
    os.write(descriptor, b"evil")
    os.close(descriptor)
    status = file.stat()
    assert file.read_text() == "as built"
    assert (status.st_mode & 0o7777, status.st_mtime_ns, status.st_uid) == (0o755, 1_000_000_007, 0)
    assert list((tree / "inner").iterdir()) == [file]


def test_a_copy_for_which_there_is_no_room_is_not_begun(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may claim any size, and hold nothing: root does not fill the disk with its copy."""

    def no_leases(*_: object) -> int:
        raise OSError(errno.EINVAL, "no leases here")

    monkeypatch.setattr(writers.fcntl, "fcntl", no_leases)
    os.truncate(tree / "inner/file", 1 << 43)  # 8 TiB
    directory = os.open(tree, os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            writers.shut_out(directory)
    finally:
        os.close(directory)
    assert (caught.value.errno, caught.value.strerror) == (errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == "file"
    assert [path.name for path in (tree / "inner").iterdir()] == ["file"]


def test_a_copy_that_cannot_take_its_place_is_gone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours stays in the tree, and the file is the one that was built."""

    def fails(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(writers.fcntl, "fcntl", fails)
    monkeypatch.setattr(writers.os, "rename", fails)
    directory = os.open(tree, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="no"):
            writers.shut_out(directory)
    finally:
        os.close(directory)
    assert [path.name for path in (tree / "inner").iterdir()] == ["file"]
    assert (tree / "inner/file").read_text() == "as built"


@pytest.fixture
def no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EINVAL, "no leases here")

    monkeypatch.setattr(writers.fcntl, "fcntl", refused)


@contextmanager
def taken(tree: Path) -> Iterator[None]:
    directory = os.open(tree, os.O_RDONLY)
    try:
        writers.shut_out(directory)
        yield
    finally:
        os.close(directory)


def grown(tree: Path) -> list[Path]:
    """All files of a tree with many of them, among links that lead nowhere and out of it."""
    for place in (tree, tree / "inner", tree / "inner/most"):
        place.mkdir(exist_ok=True)
        for number in range(6):
            (place / f"file {number}").write_text(f"{place.name} {number}")
            (place / f"link {number}").symlink_to("/etc/passwd" if number % 2 else "nowhere")
    return [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]


def test_whichever_file_of_a_tree_has_a_writer_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any depth, among links: it is named. Where nobody writes, no file is copied."""
    monkeypatch.setattr(writers, "_PATIENCE", 0.0)
    found = grown(tree)
    before = {path: path.stat().st_ino for path in found}
    for path in found:
        with opened(path), pytest.raises(PermissionError, match=f"{path.name!r}, which was built"), taken(tree):
            pass
    with taken(tree):
        assert {path: path.stat().st_ino for path in found} == before


@pytest.mark.usefixtures("no_leases")
def test_without_leases_every_file_of_a_tree_is_a_copy(tree: Path) -> None:
    """With the same content; links stay links."""
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in grown(tree)}
    links = {path: path.readlink() for path in tree.rglob("link *")}
    with taken(tree):
        for path, (inode, content) in before.items():
            assert path.stat().st_ino != inode, path
            assert path.read_bytes() == content
    assert {path: path.readlink() for path in tree.rglob("link *")} == links
    assert {path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()} == set(before)


def test_one_who_comes_meanwhile_does_not_end_us(tree: Path) -> None:
    """The kernel tells who holds a lease by a signal; the usual one would end the program."""
    told: list[int] = []
    before = {
        sign: signal.signal(sign, lambda number, _: told.append(number)) for sign in (signal.SIGIO, signal.SIGURG)
    }
    descriptor = os.open(tree / "inner/file", os.O_RDONLY)
    try:
        assert writers._is_nobodys(descriptor, "file", 0.0)
        with pytest.raises(BlockingIOError):
            os.open(tree / "inner/file", os.O_WRONLY | os.O_NONBLOCK)
    finally:
        os.close(descriptor)
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert told == [signal.SIGURG]
    with opened(tree / "inner/file"):  # the lease has gone with its descriptor
        pass


@pytest.mark.usefixtures("no_leases")
@pytest.mark.parametrize(("blocks", "size", "room"), [(2, 4, True), (1, 8, True), (1, 7, False), (0, 512, False)])
def test_a_copy_is_begun_where_there_is_room_for_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, size: int, room: bool
) -> None:
    """Of 8 bytes, in blocks of whatever size."""
    monkeypatch.setattr(writers.os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=blocks, f_frsize=size))
    inode = (tree / "inner/file").stat().st_ino
    with contextlib.suppress(OSError), taken(tree):
        pass
    assert ((tree / "inner/file").stat().st_ino != inode) is room


@pytest.mark.usefixtures("no_leases")
def test_nobody_reads_a_copy_that_is_being_made(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is root's alone until it is whole, then it has the mode of what was built."""
    read, modes = os.read, []

    def watched(descriptor: int, size: int) -> bytes:
        modes.append(stat.S_IMODE((tree / "inner/.deployer-copy").stat().st_mode))
        return read(descriptor, size)

    (tree / "inner/file").chmod(0o755)
    monkeypatch.setattr(writers.os, "read", watched)
    before = os.umask(0)
    try:
        with taken(tree):
            pass
    finally:
        os.umask(before)
    assert modes == [0o400, 0o400]
    assert stat.S_IMODE((tree / "inner/file").stat().st_mode) == 0o755


@pytest.mark.usefixtures("no_leases")
@pytest.mark.parametrize("how", ["a link", "a file"])
def test_a_copy_is_written_through_nothing_that_is_there(tree: Path, tmp_path: Path, how: str) -> None:
    """A build that knows its name can put something in its place: that is an error, and stays as it is."""
    outside, there = tmp_path / "outside", tree / "inner/.deployer-copy"
    outside.write_text("not ours")
    there.symlink_to(outside) if how == "a link" else there.hardlink_to(outside)
    with pytest.raises(FileExistsError), taken(tree):
        pass
    assert outside.read_text() == there.read_text() == "not ours"
    assert (tree / "inner/file").read_text() == "as built"


@pytest.mark.usefixtures("no_leases")
def test_the_first_error_of_a_copy_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that takes nothing more the copy does not go away either: that is not what is wrong."""

    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "the disk")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(writers.os, "rename", refuses)
    monkeypatch.setattr(writers.os, "unlink", read_only)
    with pytest.raises(OSError, match="the disk"), taken(tree):
        pass


def test_an_open_directory_is_of_no_use(tree: Path) -> None:
    """Whoever has it open makes nothing in it when it is root's."""
    directory = os.open(tree / "inner", os.O_RDONLY | os.O_DIRECTORY)
    ownership.take(tree, OWNER)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(OWNER, OWNER, OWNER)
        os.setresuid(OWNER, OWNER, OWNER)
        try:
            os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=directory)
        except PermissionError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    os.close(directory)


def test_an_access_list_gives_no_way_in(tree: Path) -> None:
    """An entry that lets somebody write is masked by the mode that root sets."""
    acl = b"\x02\x00\x00\x00" + b"".join(
        tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, perm, who in (
            (1, 7, 2**32 - 1),
            (2, 7, OWNER),
            (4, 5, 2**32 - 1),
            (16, 7, 2**32 - 1),
            (32, 5, 2**32 - 1),
        )
    )
    for path in (tree / "inner", tree / "inner/file"):
        try:
            os.setxattr(path, "system.posix_acl_access", acl)
        except OSError:
            pytest.skip("no access lists on this file system")
    ownership.take(tree, OWNER)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(OWNER, OWNER, OWNER)
        os.setresuid(OWNER, OWNER, OWNER)
        os._exit(os.access(tree / "inner", os.W_OK) or os.access(tree / "inner/file", os.W_OK))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

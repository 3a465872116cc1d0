"""What strace writes of a thread, added up; and strace itself, on a small program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.counts import COUNTED, Counts, missing
from tests.support.counts.calls import Thread
from tests.support.counts.counting import added, by_unit, laptop


def taken(*lines: str) -> dict[str, dict[str, int]]:
    """The counts by unit of a thread that wrote these lines; what is below /srv counts."""
    thread = Thread(lambda path: path.startswith("/srv/"))
    thread.take(lines)
    return {unit: dict(counts) for unit, counts in thread.counts.items()}


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ('openat(AT_FDCWD</>, "/srv/a", O_RDONLY|O_CLOEXEC) = 3</srv/a>', {"opened": 1}),
        ('openat(5</srv/d>, "a", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</srv/d/a>', {"opened": 1, "created": 1}),
        ('openat(AT_FDCWD</srv>, "d", O_RDONLY|O_DIRECTORY) = 3</srv/d>', {"listed": 1}),
        ('openat(AT_FDCWD</srv>, "d", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = 3</srv/d>', {}),
        ('openat(AT_FDCWD</srv>, "../usr/lib/a", O_RDONLY) = 3</usr/lib/a>', {}),
        ('openat(AT_FDCWD</srv>, "a", O_RDONLY) = -1 ENOENT (No such file or directory)', {}),
        ('read(3</srv/a>, ""..., 4096)   = 17', {"bytes_read": 17}),
        ('read(3</srv/a>(deleted), ""..., 4096)   = 17', {"bytes_read": 17}),
        ('read(3</usr/lib/a>, ""..., 4096) = 17', {}),
        ('read(3<pipe:[4711]>, ""..., 4096) = 17', {"piped": 17}),
        ('write(3</srv/a>, ""..., 4096) = 4096', {"bytes_written": 4096}),
        ("sendfile(4</srv/b>, 3</srv/a>, NULL, 99) = 7", {"bytes_read": 7, "bytes_written": 7}),
        ("copy_file_range(3</srv/a>, NULL, 4</srv/b>, NULL, 99, 0) = 7", {"bytes_read": 7, "bytes_written": 7}),
        ("copy_file_range(3</srv/a>, NULL, 4</tmp/b>, NULL, 99, 0) = 7", {"bytes_read": 7}),
        ('linkat(5</srv/d>, "a", 6</srv/e>, "a", 0) = 0', {"linked": 1}),
        ('linkat(5</srv/d>, "a", 6</tmp>, "a", 0) = 0', {}),
        ('link("/tmp/a", "/srv/a") = 0', {"linked": 1}),
        ('renameat2(5</srv/d>, "a", AT_FDCWD</>, "/srv/b", RENAME_NOREPLACE) = 0', {"renamed": 1}),
        ('unlinkat(5</srv/d>, "a", 0) = 0', {"removed": 1}),
        ('rename("a.tmp", "a") = 0', {"renamed": 1}),
        ("fsync(3</srv/a>) = 0", {"synced": 1}),
        ("fsync(3</tmp/a>) = 0", {}),
        ("sync() = 0", {"synced": 1}),
        ("fchmod(3</srv/a>, 0644) = 0", {"changed": 1}),
        ('utimensat(5</srv/d>, "a", [{tv_sec=1, tv_nsec=0}, {tv_sec=1, tv_nsec=0}], 0) = 0', {"changed": 1}),
        ('newfstatat(5</srv/d>, "a", {st_mode=S_IFREG|0644, ...}, AT_SYMLINK_NOFOLLOW) = 0', {"looked_at": 1}),
        ('newfstatat(5</srv/d>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0', {}),
        ("+++ exited with 0 +++", {}),
    ],
)
def test_a_call_is_counted_by_what_it_did_to_which_file(line: str, counts: dict[str, int]) -> None:
    """Each call that succeeded on a file inside counts once, under its kind, and nothing else does."""
    assert taken(line).get("", {}) == counts
    assert set(counts) <= set(COUNTED)


def test_a_file_is_read_once_for_each_time_it_is_opened() -> None:
    """Two pieces of one file are one file read; an empty file is none; opened again, it counts again."""
    opened = 'openat(AT_FDCWD</>, "/srv/a", O_RDONLY) = 3</srv/a>'
    piece, end = 'read(3</srv/a>, ""..., 9) = 9', 'read(3</srv/a>, "", 9) = 0'
    assert taken(opened, piece, piece, end)[""] == {"opened": 1, "read": 1, "bytes_read": 18}
    assert taken(opened, end)[""].get("read", 0) == 0
    assert taken(opened, piece, opened, piece)[""]["read"] == 2


def test_threads_belong_to_the_unit_that_they_were_started_in(tmp_path: Path) -> None:
    """What systemd starts belongs to its unit, its children with it; systemd's own work and what sshd starts do not."""
    unit = "/sys/fs/cgroup/system.slice/deployer-shop.service/cgroup.procs"
    fsync = "fsync(3</srv/a>) = 0\n"
    records = {
        10: f"{fsync}clone(child_stack=NULL) = 2 /* 20 in strace's PID NS */\n",
        20: f'openat(AT_FDCWD</>, "{unit}", O_WRONLY) = 9<{unit}>\nclone3({{flags=0}}, 88) = 30\n{fsync}',
        30: fsync * 3,
        40: "vfork() = 50\n",
        50: fsync * 4,
    }
    for tid, text in records.items():
        (tmp_path / f"host.{tid}").write_text(text)
    found = by_unit(tmp_path, {10: "init.scope", 40: "ssh.service"}, lambda path: path.startswith("/srv/"))
    counts = {unit: numbers["synced"] for unit, numbers in found.items()}
    assert counts == {"init.scope": 1, "deployer-shop.service": 4, "ssh.service": 4}


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_strace_tells_what_a_program_did(tmp_path: Path) -> None:
    """A program that reads, copies, links and syncs files, in a child as well: the numbers are exact."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/a").write_bytes(b"x" * 1000)
    script = (
        "import os, subprocess\n"
        "with open('a', 'rb') as one, open('b', 'wb') as two:\n"
        "    two.write(one.read()); two.flush(); os.fsync(two.fileno())\n"
        "os.link('b', 'c'); os.replace('c', 'd')\n"
        "subprocess.run(['cat', 'a', 'd'], stdout=subprocess.DEVNULL, check=True)\n"
    )
    (tmp_path / "out").mkdir()
    counts = Counts(directory=tmp_path / "out")
    argv = counts.traced([sys.executable, "-I", "-S", "-c", script])
    subprocess.run(argv, cwd=tmp_path / "project", check=True)
    found = added(laptop(counts.directory, tmp_path / "project"))
    wanted = {"opened": 4, "read": 3, "bytes_read": 3000, "created": 1, "bytes_written": 1000, "linked": 1, "synced": 1}
    assert {name: found[name] for name in wanted} == wanted
    assert found["renamed"] == 1

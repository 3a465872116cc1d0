"""A listing by find is the listing that Python makes, and where find fails, Python makes it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.deployment.deployment import SealCheck
from deployer.host.state import seal
from deployer.host.state.app import Context
from deployer.host.state.content import contents, listing
from deployer.host.state.content.listing import Listing
from deployer.host.state.content.store import Store
from tests.host.simulation.host import SimulatedHost
from tests.host.state.proof import damage

pytestmark = pytest.mark.skipif(shutil.which("find") is None, reason="compares with GNU find")

SECOND = 10**9
FIND = str(shutil.which("find"))
NAMES = (
    b"a",
    b" blanks  two ",
    b"line\nbreak",
    b"-type",
    b"-dir/-print",
    b".hidden/.too",
    b"\xff\xfe\x80",
    "é/ü".encode(),
)
MODES = (0o644, 0o755, 0o4755, 0o2755, 0o1644, 0o7777, 0o000, 0o001)
TIMES = (
    0,
    1,
    SECOND // 2,
    SECOND,
    12 * SECOND + 5,
    10**18 - 1,
    1_700_000_000 * SECOND + 120,
    12_345_678_901 * SECOND + 70,
)
"""The last has eleven digits of seconds; a file system without such times stores another one."""


def fill(top: Path) -> Path:
    """A directory with every odd name, mode, time and size."""
    (top / "empty/directory").mkdir(parents=True)
    for name, mode, time in zip(NAMES, MODES, TIMES, strict=True):
        path = top / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name * len(name))
        path.chmod(mode)
        os.utime(path, ns=(time, time))
    (top / "empty file 0.5").touch()
    (top / "up").symlink_to("..")
    (top / "directory-link").symlink_to("empty")
    (top / "dangling\n 0.").symlink_to(b"nowhere\xff".decode("utf-8", "surrogateescape"))
    os.utime(top / "up", ns=(0, 7), follow_symlinks=False)
    os.link(top / "a", top / "empty/hardlink")
    return top


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return fill(tmp_path / "tree")


def by_find(directory: Path, monkeypatch: pytest.MonkeyPatch) -> contents.ByPath:
    """What find alone lists."""
    with monkeypatch.context() as patched:
        patched.setattr(contents, "listing", lambda place: pytest.fail("Python listed it"))
        with Listing(os.fsencode(directory), apart=True) as begun:
            return begun.result()


def by_python(directory: Path) -> contents.ByPath:
    return contents.listing(os.fsencode(directory))


def result(directory: Path) -> contents.ByPath:
    with Listing(os.fsencode(directory), apart=True) as begun:
        return begun.result()


def stand_in(script: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell script in the place of find."""
    place.mkdir()
    (place / "find").write_text(f"#!/bin/sh\n{script}\n")
    (place / "find").chmod(0o755)
    monkeypatch.setattr(listing, "_ENVIRONMENT", {**listing._ENVIRONMENT, "PATH": f"{place}:{os.defpath}"})


def test_find_lists_what_python_does(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, for every odd name, mode and time; of an empty directory nothing."""
    assert by_find(top, monkeypatch) == by_python(top)
    assert len(by_python(top)) == len(NAMES) + 5
    assert by_find(top / "empty/directory", monkeypatch) == {}


@given(
    sec=st.integers(0, 10**11),
    nanosecond=st.integers(0, SECOND - 1),
    size=st.integers(0, 1 << 60),
    mode=st.integers(0, 0o7777),
)
def test_any_time_size_and_mode_is_read_as_lstat_gives_it(sec: int, nanosecond: int, size: int, mode: int) -> None:
    """From what find prints of it."""
    time = sec * SECOND + nanosecond
    printed = b"7 %d %d.%09d0 10%04o\0a/b\0" % (size, sec, nanosecond, mode)
    assert listing.read(printed * 2) == {b"a/b": b"7 %d %d %o" % (size, time, 0o100000 | mode)}


@pytest.mark.parametrize(
    "printed",
    [
        b"garbage",
        b"1 2 3.0000000000 100644\0",
        b"1 2 3.0000000000 100644\0\0",
        b"1 2 3.0000000000 100644\0a",
        b"1 2 3.0000000001 100644\0a\0",
        b"1 2 3.000000000 100644\0a\0",
        b"1 2 03.0000000000 100644\0a\0",
        b"1 2 -3.5000000000 100644\0a\0",
        b"1 2 3.0000000000 140644\0a\0",
        b"1 2 3.0000000000 100648\0a\0",
        b"1 2 3.0000000000 100644\0a\0and more\0",
        b"1 2 3.0000000000 100644\0a\0" * 2 + b"1  3.0000000000 100644\0b\0",
    ],
)
def test_unexpected_output_is_no_listing(printed: bytes) -> None:
    """Not even a part of it."""
    assert listing.read(printed) is None


@pytest.mark.parametrize("time", [-1, -SECOND, -3 * SECOND // 2])
def test_python_lists_times_before_1970(top: Path, time: int) -> None:
    """find's versions need not agree on them."""
    os.utime(top / "a", ns=(time, time))
    assert result(top) == by_python(top)


def test_python_lists_what_is_neither_a_file_nor_a_link(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO or a socket is in the listing, as ever."""
    os.mkfifo(top / "fifo")
    assert result(top) == by_python(top)
    (top / "fifo").unlink()
    monkeypatch.chdir(top)  # a socket's path is at most 108 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    found = result(top)
    assert found == by_python(top) and b"socket" in found


@pytest.mark.parametrize(
    "script",
    [
        f'{FIND} "$@"; exit 1',
        f'{FIND} "$@" | head -c 100; exit 1',
        f'{FIND} "$@" | head -c 100',
        f'{FIND} "$@"; echo and more',
        "echo garbage",
        "printf 'unknown predicate' >&2; exit 1",
        f'{FIND} "$@"; kill -9 $$',
    ],
)
def test_python_lists_where_find_fails(script: str, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, half way after some output, or at the end; or it prints something else, or less."""
    stand_in(script, tmp_path / "bin", monkeypatch)
    assert result(top) == by_python(top)


def test_python_lists_where_find_is_missing_or_never_ends(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """find that does not end is killed."""
    before = children()
    with monkeypatch.context() as patched:
        patched.setattr(listing, "_ENVIRONMENT", {"PATH": str(tmp_path)})
        assert result(top) == by_python(top)
    monkeypatch.setattr(listing, "_LONGEST", 0.2)
    stand_in(f"echo $$ > {tmp_path}/pid; exec sleep 600", tmp_path / "bin", monkeypatch)
    assert result(top) == by_python(top)
    assert children() == before


def test_no_link_is_followed(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link at the top is an error, and so is a file or nothing; a link that comes later changes nothing."""
    (tmp_path / "link").symlink_to(top)
    for place in (tmp_path / "link", top / "a", tmp_path / "nothing"):
        with pytest.raises(OSError) as refused:
            by_python(place)
        with pytest.raises(type(refused.value)) as also, Listing(os.fsencode(place), apart=True) as begun:
            begun.result()
        assert also.value.errno == refused.value.errno
    before = by_python(top)
    with Listing(os.fsencode(top), apart=True) as begun:
        top.rename(tmp_path / "moved")
        top.symlink_to("/etc")
        assert begun.result() == before


def test_find_lists_the_directory_that_was_opened(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a link takes its place before find runs."""
    before, popen = by_python(top), subprocess.Popen

    def later(*given: Any, **named: Any) -> Any:
        top.rename(tmp_path / "moved")
        top.symlink_to("/etc")
        return popen(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", later)
    assert by_find(top, monkeypatch) == before


def test_find_runs_in_an_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's reaches it: no path, no locale, no input."""
    assert {"PATH": listing.runner.ENVIRONMENT["PATH"], "LC_ALL": "C"} == listing._ENVIRONMENT
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert by_find(fill(tmp_path / "tree"), monkeypatch) == by_python(tmp_path / "tree")


# --- In a store, and in a proof


@pytest.mark.parametrize(("size", "apart"), [(None, False), (199_999, False), (200_000, True)])
def test_many_files_are_listed_by_find(
    size: int | None, apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the size of what is recorded of them; nothing recorded, and few files, are Python's."""
    store = Store(tmp_path)
    fill(store.path("a"))
    if size is not None:
        store.files_path("a").write_bytes(b"\0" * size)
    started: list[object] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **named: (started.append(given), popen(*given, **named))[1])
    with store.begin_listing("a") as begun:
        assert begun.result() == by_python(store.path("a"))
    assert bool(started) is apart


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A host on which v1 serves, whose content find lists."""
    if os.geteuid() != 0:
        pytest.skip("sealing gives files to root")
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
        monkeypatch.setattr("deployer.host.state.content.store._LARGE", 0)
        yield host.context(lambda *_, **__: None)


def children() -> list[str]:
    """The processes that this one has started and not waited for."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.append(place.name)
    return found


def left() -> tuple[list[str], int, int]:
    """Processes, threads and descriptors."""
    return children(), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("parts", [1, 2])
def test_closing_a_proof_leaves_nothing_behind(
    parts: int, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, no thread, no descriptor, though find still runs; as soon as damage is found, too."""
    release = ctx.catalog.get(1)
    slow = f'case $PWD in */venvs/*) exec sleep 600;; esac; exec {FIND} "$@"'
    stand_in(slow, tmp_path / "bin", monkeypatch)
    before = left()
    proof = seal.compare(ctx, release, seal.Trust(release), [])
    assert [next(proof) for _ in range(parts)] == [None] * parts
    assert len(children()) > len(before[0])
    proof.close()
    assert left() == before
    (ctx.trees.path(release.tree) / "app.py").write_text("changed\n")
    assert "app.py" in damage(ctx, release)
    assert left() == before
    kept: list[Any] = []
    compare = seal.compare
    monkeypatch.setattr(seal, "compare", lambda *given: (kept.append(compare(*given)), kept[-1])[1])
    found = SealCheck(ctx, release, seal.NOTHING_TRUSTED).all()
    assert found is not None and "app.py" in found.text
    assert children() == before[0]


def test_code_and_environment_are_listed_at_the_same_time(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each find waits here until the other runs, too."""
    release, met = ctx.catalog.get(1), tmp_path / "met"
    met.mkdir()
    script = f"""
: > {met}/$$
for _ in $(seq 500); do set_of=$(ls {met} | wc -l); [ $set_of -ge 2 ] && break; sleep 0.01; done
[ $set_of -ge 2 ] && : > {shlex.quote(str(tmp_path))}/together.$$
exec {FIND} "$@"
"""
    stand_in(script, tmp_path / "bin", monkeypatch)
    assert damage(ctx, release, seal.Trust(release)) == ""
    assert len(list(tmp_path.glob("together.*"))) == 2


def test_a_proof_finds_the_same_damage_by_find(ctx: Context) -> None:
    """Also where a part cannot be listed at all."""
    release = ctx.catalog.get(1)
    assert damage(ctx, release) == ""
    for store, key, name in ((ctx.trees, release.tree, "app.py"), (ctx.venvs, release.venv, "bin/gunicorn")):
        path = store.path(key) / name
        text, mode = path.read_bytes(), path.stat().st_mode
        path.write_bytes(text + b"#")
        assert damage(ctx, release, seal.Trust(release)) == f"below {store.path(key)}: {name}"
        path.write_bytes(text)
        path.chmod(mode)
        store.path(key).rename(tmp := store.directory / ".elsewhere")
        store.path(key).symlink_to(tmp)
        assert damage(ctx, release).startswith(f"{store.path(key)} cannot be read: [Errno ")
        store.path(key).unlink()
        tmp.rename(store.path(key))
    assert damage(ctx, release) == ""


def test_a_find_that_is_left_alone_ends(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader waits for none but this process, however it was ended."""
    stand_in(f'sleep 600 & echo $! > {tmp_path}/pid; exec {FIND} "$@"', tmp_path / "bin", monkeypatch)
    try:
        assert by_find(top, monkeypatch) == by_python(top)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

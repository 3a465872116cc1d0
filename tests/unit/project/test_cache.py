"""What is kept in the user's cache directory saves time, is the user's alone, and is never trusted but whole."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deployer.project import cache as module
from deployer.project.cache import Cache, cache_directory

BODY = b"what was found out\n" * 5
MOST = len(BODY)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "caches/deployer")


def only(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "caches/deployer").iterdir()
    return found


def test_what_was_saved_is_known(cache: Cache) -> None:
    """By its name; what is longer than asked for is not."""
    assert cache.load("one", MOST) == b""
    cache.save("one", BODY)
    assert (cache.load("one", MOST), cache.load("one", MOST - 1), cache.load("other", MOST)) == (BODY, b"", b"")
    cache.save("one", b"")
    assert cache.load("one", MOST) == b""


def test_it_is_the_users_alone(cache: Cache, tmp_path: Path) -> None:
    """Directory and file have no rights for others, whatever the umask."""
    before = os.umask(0)
    try:
        cache.save("one", BODY)
    finally:
        os.umask(before)
    assert (tmp_path / "caches/deployer").stat().st_mode & 0o777 == 0o700
    assert only(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rights", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to(cache: Cache, tmp_path: Path, rights: int) -> None:
    """Nothing in it is believed, and nothing is added."""
    cache.save("one", BODY)
    (tmp_path / "caches/deployer").chmod(rights)
    assert cache.load("one", MOST) == b""
    only(tmp_path).unlink()
    cache.save("one", BODY)
    assert list((tmp_path / "caches/deployer").iterdir()) == []


@pytest.mark.parametrize("how", ["rights", "link", "directory", "pipe", "owner"])
def test_a_file_that_is_not_the_users_own(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing in it is believed, and nothing waits for it."""
    cache.save("one", BODY)
    place = only(tmp_path)
    if how == "rights":
        place.chmod(0o640)
    elif how == "owner":
        monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    else:
        place.rename(tmp_path / "moved")
        make = {"link": lambda: place.symlink_to(tmp_path / "moved"), "directory": place.mkdir}
        make.get(how, lambda: os.mkfifo(place, 0o600))()
    assert cache.load("one", MOST) == b""
    cache.save("one", BODY)  # and no failure is told


@pytest.mark.parametrize("at", ["first", "middle", "check", "cut", "more", "empty"])
def test_a_damaged_file_is_thrown_away(cache: Cache, tmp_path: Path, at: str) -> None:
    """One byte that is another, missing or too many: nothing of it is believed, and the next one replaces it."""
    cache.save("one", BODY)
    place = only(tmp_path)
    data = bytearray(place.read_bytes())
    if at in ("first", "middle", "check"):
        data[{"first": 0, "middle": 60, "check": -1}[at]] ^= 1
    place.write_bytes({"cut": bytes(data[:-1]), "more": bytes(data) + b"x", "empty": b""}.get(at, bytes(data)))
    assert cache.load("one", MOST) == b""
    cache.save("one", BODY)
    assert cache.load("one", MOST) == BODY


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file in the place of the directory, nor a full disk, nor no home at all is anybody's concern."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file/deployer"):
        Cache(place).save("one", BODY)
        assert Cache(place).load("one", MOST) == b""

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    Cache(tmp_path / "deployer").save("one", BODY)
    assert list((tmp_path / "deployer").iterdir()) == []
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError()))
    assert cache_directory() is None
    Cache(None).save("one", BODY)
    assert Cache(None).load("one", MOST) == b""


def test_root_makes_no_directory_in_the_home_of_another(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be root's, and of no use to the user ever after."""
    if os.getuid() == 0:
        os.chown(tmp_path, 12345, -1)
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    cache.save("one", BODY)
    assert list(tmp_path.iterdir()) == []


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In XDG_CACHE_HOME, or in ~/.cache where that is not set to an absolute path."""
    monkeypatch.setenv("HOME", "/home/ada")
    for value, place in (("/c", "/c/deployer"), ("c", "/home/ada/.cache/deployer"), ("", "/home/ada/.cache/deployer")):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_directory() == Path(place)


@pytest.mark.parametrize("limit", ["_FILES", "_BYTES"])
def test_the_files_of_projects_that_are_gone_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The longest unused are removed, and so are those that a process which died left unfinished; another's are not."""
    cache = Cache(tmp_path / "deployer")
    for age in range(4):
        cache.save(str(age), BODY)
        for place in (tmp_path / "deployer").iterdir():
            os.utime(place, (1000 + age, 1000 + age)) if place.stat().st_mtime > 2000 else None
    size = next((tmp_path / "deployer").iterdir()).stat().st_size
    (tmp_path / "deployer/new-old").write_text("")
    os.utime(tmp_path / "deployer/new-old", (time.time() - 10_000,) * 2)
    (tmp_path / "deployer/new-now").write_text("")
    assert cache.load("0", MOST) == BODY  # it is used, and so the youngest
    monkeypatch.setattr(module, limit, 3 if limit == "_FILES" else 3 * size)
    cache.save("3", BODY)
    assert [cache.load(str(age), MOST) == BODY for age in range(4)] == [True, False, limit == "_BYTES", True]
    left = {place.name for place in (tmp_path / "deployer").iterdir()}
    assert "new-now" in left and "new-old" not in left


@pytest.mark.parametrize("umask", [0o002, 0o000])
def test_caches_beside_each_other(tmp_path: Path, umask: int) -> None:
    """The one that is made first makes the directory of the others: under any umask they are trusted afterwards."""
    before = os.umask(umask)
    try:
        caches = [Cache(tmp_path / "new" / "deployer" / name) for name in ("commits", "")]
        for cache in caches:
            cache.save("one", BODY)
    finally:
        os.umask(before)
    assert [cache.load("one", MOST) for cache in caches] == [BODY, BODY]

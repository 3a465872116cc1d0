"""What is remembered of blobs saves time, is the user's alone, and is never trusted when it is anything but whole."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.project.commit import digests
from deployer.project.commit.blobs import Known
from deployer.project.commit.digests import Digests, cache_directory

ONE = {"a" * 40: Known(1, "b" * 64, 0), "c" * 64: Known(1 << 40, "d" * 64, 2)}


@pytest.fixture
def cache(tmp_path: Path) -> Digests:
    return Digests(tmp_path / "project", tmp_path / "caches/deployer")


def only(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "caches/deployer").iterdir()
    return found


def test_what_was_saved_is_known(cache: Digests, tmp_path: Path) -> None:
    """Of blobs of both kinds of repositories, for this project and no other."""
    assert cache.load() == {}
    cache.save(ONE, {})
    assert cache.load() == ONE
    assert Digests(tmp_path / "other", tmp_path / "caches/deployer").load() == {}


def test_it_is_the_users_alone(cache: Digests, tmp_path: Path) -> None:
    """Directory and file have no rights for others, whatever the umask."""
    before = os.umask(0)
    try:
        cache.save(ONE, {})
    finally:
        os.umask(before)
    assert (tmp_path / "caches/deployer").stat().st_mode & 0o777 == 0o700
    assert only(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rights", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to(cache: Digests, tmp_path: Path, rights: int) -> None:
    """Nothing in it is believed, and nothing is added."""
    cache.save(ONE, {})
    (tmp_path / "caches/deployer").chmod(rights)
    assert cache.load() == {}
    only(tmp_path).unlink()
    cache.save(ONE, {})
    assert list((tmp_path / "caches/deployer").iterdir()) == []


@pytest.mark.parametrize("how", ["rights", "link", "directory", "pipe", "owner"])
def test_a_file_that_is_not_the_users_own(
    cache: Digests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing in it is believed, and nothing waits for it."""
    cache.save(ONE, {})
    place = only(tmp_path)
    if how == "rights":
        place.chmod(0o640)
    elif how == "owner":
        monkeypatch.setattr(digests.os, "geteuid", lambda: os.getuid() + 1)
    else:
        place.rename(tmp_path / "moved")
        make = {"link": lambda: place.symlink_to(tmp_path / "moved"), "directory": place.mkdir}
        make.get(how, lambda: os.mkfifo(place, 0o600))()
    assert cache.load() == {}
    cache.save(ONE, {})  # and no failure is told


@pytest.mark.parametrize("at", ["magic", "record", "check", "cut", "more", "empty"])
def test_a_damaged_file_is_thrown_away(cache: Digests, tmp_path: Path, at: str) -> None:
    """One byte that is another, missing or too many: nothing of it is believed, and the next one replaces it."""
    cache.save(ONE, {})
    place = only(tmp_path)
    data = bytearray(place.read_bytes())
    if at in ("magic", "record", "check"):
        data[{"magic": 15, "record": 60, "check": -1}[at]] ^= 1
    place.write_bytes({"cut": bytes(data[:-1]), "more": bytes(data) + b"x", "empty": b""}.get(at, bytes(data)))
    assert cache.load() == {}
    cache.save(ONE, {})
    assert cache.load() == ONE


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file in the place of the directory, nor a full disk, nor no home at all is anybody's concern."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file/deployer"):
        Digests(tmp_path, place).save(ONE, {})
        assert Digests(tmp_path, place).load() == {}

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(digests.os, "replace", full)
    Digests(tmp_path, tmp_path / "deployer").save(ONE, {})
    assert list((tmp_path / "deployer").iterdir()) == []
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError()))
    assert cache_directory() is None
    Digests(tmp_path).save(ONE, {})
    assert Digests(tmp_path).load() == {}


def test_root_makes_no_directory_in_the_home_of_another(
    cache: Digests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be root's, and of no use to the user ever after."""
    if os.getuid() == 0:
        os.chown(tmp_path, 12345, -1)
    monkeypatch.setattr(digests.os, "geteuid", lambda: 0)
    cache.save(ONE, {})
    assert list(tmp_path.iterdir()) == []


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In XDG_CACHE_HOME, or in ~/.cache where that is not set to an absolute path."""
    monkeypatch.setenv("HOME", "/home/ada")
    for value, place in (("/c", "/c/deployer"), ("c", "/home/ada/.cache/deployer"), ("", "/home/ada/.cache/deployer")):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_directory() == Path(place)


def test_several_deploys_at_once(cache: Digests) -> None:
    """Whoever reads while others write finds what one of them wrote, whole."""
    kinds = [many(0, 50), many(50, 100)]
    cache.save(kinds[0], {})
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(lambda kind=kind: [cache.save(kind, {}) for _ in range(20)]) for kind in kinds]
        assert all(cache.load() in kinds for _ in range(40))
    for writer in writers:
        writer.result()


def many(start: int, end: int) -> dict[str, Known]:
    return {f"{number:040x}": Known(number, "e" * 64, 0) for number in range(start, end)}


def test_it_does_not_grow_for_ever(cache: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used stays, and of the rest as much again and some more, what was used last first."""
    monkeypatch.setattr(digests, "_SPARE", 5)
    cache.save(many(0, 10), {})
    for start in range(10, 100, 10):
        cache.save(many(start, start + 10), cache.load())
    assert cache.load() == {**many(90, 100), **many(80, 90), **many(70, 75)}
    monkeypatch.setattr(digests, "_MOST", 4)
    cache.save(many(0, 10), cache.load())
    assert cache.load() == many(0, 4)


@pytest.mark.parametrize("limit", ["_FILES", "_BYTES"])
def test_the_files_of_projects_that_are_gone_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The longest unused are removed, and so are those that a process which died left unfinished; another's are not."""
    caches = [Digests(tmp_path / str(number), tmp_path / "deployer") for number in range(4)]
    for age, one in enumerate(caches):
        one.save(ONE, {})
        for place in (tmp_path / "deployer").iterdir():
            os.utime(place, (1000 + age, 1000 + age)) if place.stat().st_mtime > 2000 else None
    size = next((tmp_path / "deployer").iterdir()).stat().st_size
    (tmp_path / "deployer/new-old").write_text("")
    os.utime(tmp_path / "deployer/new-old", (time.time() - 10_000,) * 2)
    (tmp_path / "deployer/new-now").write_text("")
    assert caches[0].load() == ONE  # it is used, and so the youngest
    monkeypatch.setattr(digests, limit, 3 if limit == "_FILES" else 3 * size)
    caches[3].save(ONE, {})
    assert [one.load() == ONE for one in caches] == [True, False, limit == "_BYTES", True]
    left = {place.name for place in (tmp_path / "deployer").iterdir()}
    assert "new-now" in left and "new-old" not in left

"""What is remembered of blobs: each project's own, and not believed when it is anything but whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.project.cache import Cache
from deployer.project.commit import digests
from deployer.project.commit.blobs import Known
from deployer.project.commit.digests import Digests

ONE = {"a" * 40: Known(1, "b" * 64, 0), "c" * 64: Known(1 << 40, "d" * 64, 2)}


@pytest.fixture
def cache(tmp_path: Path) -> Digests:
    return Digests(tmp_path / "project", tmp_path / "caches/deployer")


def test_what_was_saved_is_known(cache: Digests, tmp_path: Path) -> None:
    """Of blobs of both kinds of repositories, for this project and no other."""
    assert cache.load() == {}
    cache.save(ONE, {})
    assert cache.load() == ONE
    assert Digests(tmp_path / "other", tmp_path / "caches/deployer").load() == {}


@pytest.mark.parametrize("records", [b"deployer blobs 0\n", b"deployer blobs 1\nx", b""])
def test_what_another_version_has_written(cache: Digests, tmp_path: Path, records: bytes) -> None:
    """It is whole, and says something else: nothing of it is believed, and the next one replaces it."""
    cache.save(ONE, {})
    (place,) = (tmp_path / "caches/deployer").iterdir()
    Cache(place.parent).save(place.name, records)
    assert cache.load() == {}
    cache.save(ONE, {})
    assert cache.load() == ONE


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

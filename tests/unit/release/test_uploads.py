"""One upload for each tree that hosts have, and as few questions for what a tree holds as can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.errors import Unreachable
from deployer.project.cache import Cache
from deployer.project.source import Source, from_directory
from deployer.release import uploads
from deployer.release.delta import Upload
from deployer.release.uploads import Uploads
from deployer.remote.facts import BaseTree
from deployer.wire.tree.entry import FEW

MANY = FEW + 100
KEY = "k" * 64


def source(tmp_path: Path, files: int = MANY, **changed: str) -> Source:
    """A source of so many files; those named ``f<number>`` may have another content than their name."""
    names = [f"f{number}" for number in range(files)]
    for name in names:
        (tmp_path / name).write_text(changed.get(name, name))
    return from_directory(tmp_path, ())


class FakeHost:
    """A host with the tree of a source; ``altered`` files of it were changed there."""

    def __init__(self, held: Source, *, altered: Sequence[str] = (), few: bool = False) -> None:
        self.asked = 0
        self._ids = tuple(entry.id for entry in held.entries if entry.path not in altered)
        gone = frozenset(entry.id for entry in held.entries if entry.path in altered)
        told = self._ids if few else ()
        self.base = BaseTree(key=KEY, digest=held.digest, altered=gone, told=told, ask=self._ask)

    def _ask(self) -> Sequence[bytes]:
        self.asked += 1
        return self._ids


def added(upload: Upload) -> list[str]:
    return [entry.path for entry in upload.delta.add]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Source]:
    (tmp_path / "project").mkdir()
    return lambda **given: source(tmp_path / "project", **given)


def send(one: Uploads, host: FakeHost) -> Upload:
    return one.upload(host.base, lambda *_: None)


def test_what_was_sent_is_known_the_next_time(project: Callable[..., Source], cache: Cache) -> None:
    """A host that has what this machine last sent is not asked for what it has."""
    first = project()
    send(Uploads(first, cache), FakeHost(project(f0="older")))
    host = FakeHost(first)
    upload = send(Uploads(project(f7="new"), cache), host)
    assert (host.asked, added(upload), len(upload.delta.drop), upload.delta.base) == (0, ["f7"], 1, KEY)


def test_what_was_changed_there_is_sent_again(project: Callable[..., Source], cache: Cache) -> None:
    """A build command changes a file in place: the host names it, and it is not built on."""
    first = project()
    send(Uploads(first, cache), FakeHost(project(f0="older")))
    host = FakeHost(first, altered=["f3"])
    upload = send(Uploads(project(f7="new"), cache), host)
    assert (host.asked, added(upload), len(upload.delta.drop)) == (0, ["f3", "f7"], 1)


@pytest.mark.parametrize("altered", [(), ("f3",)])
def test_a_fleet_is_asked_once(project: Callable[..., Source], cache: Cache, altered: Sequence[str]) -> None:
    """Somebody else has deployed: one host of many is asked, and all get the same bytes."""
    hosts = [FakeHost(project(f0="older"), altered=altered) for _ in range(8)]
    one = Uploads(project(f7="new"), cache)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda host: send(one, host), hosts))
    assert sum(host.asked for host in hosts) == 1
    assert all(added(upload) == ["f0", *altered, "f7"] for upload in made)
    assert len({upload.delta.body for upload in made}) == len({id(upload.spool) for upload in made}) == 1


def test_hosts_with_different_trees_get_what_they_lack(project: Callable[..., Source], cache: Cache) -> None:
    """And one that has nothing gets all."""
    one = Uploads(project(f7="new"), cache)
    older, empty = FakeHost(project(f0="older", f7="new")), BaseTree()
    new = project(f7="new")
    assert added(send(one, older)) == ["f0"]
    assert len(added(one.upload(empty, lambda *_: None))) == len(new.entries)
    assert added(send(one, FakeHost(new))) == []


def test_few_files_are_told_at_once(project: Callable[..., Source], cache: Cache, tmp_path: Path) -> None:
    """Nothing is asked for, and nothing is kept."""
    host = FakeHost(project(files=5), few=True)
    assert added(send(Uploads(project(files=5, f1="new"), cache), host)) == ["f1"]
    assert host.asked == 0 and not (tmp_path / "cache").exists()


def test_what_a_host_says_of_a_tree_is_not_kept(project: Callable[..., Source], cache: Cache) -> None:
    """It may be wrong: then no other deploy is."""
    older, new = project(f0="older"), project(f7="new")
    for _ in range(2):
        host = FakeHost(older)
        send(Uploads(new, cache), host)
        assert host.asked == 1


def test_a_tree_without_anything_to_take_over(project: Callable[..., Source], cache: Cache) -> None:
    """It is damaged: it is not asked for, and all is sent."""
    new = project()
    send(Uploads(new, cache), FakeHost(project(f0="older")))
    base = BaseTree(key=KEY, ask=lambda: pytest.fail("it is asked"))
    assert len(added(Uploads(new, cache).upload(base, lambda *_: None))) == MANY


def test_a_host_that_does_not_answer_keeps_no_other_waiting(
    project: Callable[..., Source], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is asked itself; and what the first one fails with is its own."""
    monkeypatch.setattr(uploads, "_PATIENCE", 0.01)
    asked, over = threading.Event(), threading.Event()

    def hang() -> Sequence[bytes]:
        asked.set()
        over.wait(60)
        raise Unreachable(message="silence", host="web1")

    one, good = Uploads(project(f7="new"), cache), FakeHost(project(f0="older"))
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(one.upload, BaseTree(key=KEY, digest=good.base.digest, ask=hang), lambda *_: None)
        assert asked.wait(60)
        assert added(send(one, good)) == ["f0", "f7"]
        over.set()
        with pytest.raises(Unreachable):
            hanging.result()

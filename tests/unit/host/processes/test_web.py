"""What the deaths of worker processes, and a process's last words, tell of a release."""

from __future__ import annotations

import pytest

from deployer.host.processes.web import Workers
from deployer.host.system import proc


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The worker processes of one look after the other."""
    looks: list[set[int]] = []
    monkeypatch.setattr(proc, "workers", lambda pid: looks.pop(0))
    return looks


def gone(workers: Workers, looks: list[set[int]]) -> list[int]:
    return [workers.look(1) for _ in range(len(looks))]


def test_a_worker_that_was_there_and_is_not_has_ended(present: list[set[int]]) -> None:
    """One death counts once it was seen twice, whoever took its place."""
    present += [{2, 3}, {2, 3}, {3, 4}, {3, 4}, {4, 5}]
    assert gone(Workers(), present) == [0, 0, 1, 1, 2]


def test_a_helper_that_is_seen_once_is_forgiven(present: list[set[int]]) -> None:
    """Until it runs its own program it looks like a worker; but those that never last longer are workers that die."""
    present += [{2, 9}, {2}, {2, 8}, {2}, {2, 7}, {2}]
    assert gone(Workers(), present) == [0, 0, 0, 0, 0, 1]


def test_workers_that_all_die_young_are_hopeless(present: list[set[int]]) -> None:
    """About three times each; a few deaths among many workers are not."""
    present += [{number, number + 1} for number in range(2, 14, 2)]
    dying, replaced = Workers(), Workers()
    gone(dying, present)
    assert dying.hopeless
    present += [{2, 3, 4, 5}, {2, 3, 4, 5}, {6, 3, 4, 5}, {6, 7, 4, 5}, {6, 7, 8, 5}, {6, 7, 8, 9}, {6, 7, 8, 10}]
    gone(replaced, present)
    assert not replaced.hopeless

"""Waiting for the lock: in the order of coming, and past whoever is dead or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.host.job import lock, queue
from deployer.host.state.app import Context, Settings
from deployer.host.state.paths import AppPaths


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    paths = AppPaths("shop", tmp_path)
    paths.private.mkdir(parents=True)
    return Context(paths, Settings("deploy", "www-data"), lambda *_, **__: None, lambda: 0.0)


def stand(ctx: Context, tell: Callable[[dict[str, Any]], None]) -> None:
    """Wait for our turn, and do nothing with it."""
    with queue.ticket(ctx.paths.tickets) as own:
        queue.wait(ctx, own, tell)


def test_a_free_lock_is_ours_at_once(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for, and no ticket stays."""
    monkeypatch.setattr(lock, "running", lambda _: None)
    told: list[dict[str, Any]] = []
    stand(ctx, told.append)
    assert (told, list(ctx.paths.tickets.iterdir())) == ([], [])


def test_they_go_in_the_order_of_their_coming(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each only when the one before has taken the lock and let it go."""
    busy, went = threading.Event(), []
    busy.set()
    monkeypatch.setattr(queue, "_POLL", 0.005)
    monkeypatch.setattr(lock, "running", lambda _: {"by": "ada", "phase": "build"} if busy.is_set() else None)

    def wait(name: str, waiting: threading.Event) -> None:
        with queue.ticket(ctx.paths.tickets) as own:
            queue.wait(ctx, own, lambda told: waiting.set())
            busy.set()
        went.append(name)

    threads = []
    for name in "abc":
        waiting = threading.Event()
        threads.append(threading.Thread(target=wait, args=(name, waiting), daemon=True))
        threads[-1].start()
        assert waiting.wait(10)
    for count in range(1, 4):
        busy.clear()
        threads[count - 1].join(10)
        assert went == list("abc"[:count])


def test_the_dead_are_not_waited_for(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that nobody holds is thrown away."""
    monkeypatch.setattr(lock, "running", lambda _: None)
    ctx.paths.tickets.mkdir()
    (ctx.paths.tickets / "00000007").touch()
    stand(ctx, lambda _: None)
    assert list(ctx.paths.tickets.iterdir()) == []


def test_one_that_hangs_is_passed_by(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has some seconds to take the lock when it could; then the next goes."""
    monkeypatch.setattr(queue, "_PATIENCE", 0.05)
    monkeypatch.setattr(queue, "_POLL", 0.005)
    monkeypatch.setattr(lock, "running", lambda _: None)
    told: list[int] = []
    with queue.ticket(ctx.paths.tickets):
        stand(ctx, lambda job: told.append(job["ahead"]))
    assert told == [1]


def test_whose_turn_it_is_holds_back_the_others_until_its_job_runs(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its turn and its job lies an upload: were its ticket gone by then, all the others would come at once."""
    monkeypatch.setattr(queue, "_POLL", 0.005)
    monkeypatch.setattr(queue, "_PATIENCE", 60.0)
    monkeypatch.setattr(lock, "running", lambda _: None)
    went, waiting = threading.Event(), threading.Event()

    def wait() -> None:
        stand(ctx, lambda job: waiting.set())
        went.set()

    with queue.ticket(ctx.paths.tickets) as own:
        queue.wait(ctx, own, lambda _: None)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert waiting.wait(10)
        assert not went.wait(0.1)
    thread.join(10)
    assert went.is_set()

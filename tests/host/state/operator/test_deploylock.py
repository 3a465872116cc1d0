"""The deploy lock on a real file system: who keeps releases out, and what counts as a lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.errors import Damaged, HostError
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.operator import deploylock
from deployer.host.state.paths import AppPaths
from deployer.wire.deploylock import DeployLock
from deployer.wire.protocol import Exit

ADA = DeployLock(by="ada@laptop", why="a sale", since=0.0)
NOW = 10_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ctx(tmp_path: Path, clock: Clock) -> Context:
    paths = AppPaths("shop", tmp_path)
    paths.private.mkdir(parents=True)
    settings = AppSettings("deploy", "www-data")
    return Context(paths=paths, settings=settings, emit=lambda *_, **__: None, clock=clock)


def test_no_lock_refuses_nothing(ctx: Context) -> None:
    """There is none at first, and none when it was removed."""
    deploylock.refuse(ctx)
    deploylock.set_lock(ctx, ADA)
    assert deploylock.remove_lock(ctx) == DeployLock("ada@laptop", "a sale", NOW)
    deploylock.refuse(ctx)
    assert deploylock.remove_lock(ctx) is None


def test_a_lock_is_roots_alone_and_says_who_and_why(ctx: Context) -> None:
    """``since`` is the host's time; the refusal is exit 4, and nothing was touched."""
    deploylock.set_lock(ctx, ADA)
    assert ctx.paths.deploy_lock.stat().st_mode & 0o777 == 0o600
    with pytest.raises(HostError, match=r"locked by ada@laptop since 1 Jan 02:46 UTC: a sale") as caught:
        deploylock.refuse(ctx)
    assert (caught.value.exit, caught.value.state) == (Exit.BUSY, "nothing was touched")
    assert "fab unlock" in str(caught.value.next)


def test_a_lock_ends_at_its_time(ctx: Context, clock: Clock) -> None:
    """Until that second it holds; from then on it is as if there were none."""
    deploylock.set_lock(ctx, DeployLock("ada@laptop", "a sale", 0.0, until=NOW + 60))
    clock.now = NOW + 59.9
    with pytest.raises(HostError, match="until 1 Jan 02:47 UTC"):
        deploylock.refuse(ctx)
    clock.now = NOW + 60
    deploylock.refuse(ctx)
    assert deploylock.set_lock(ctx, DeployLock("bob", "mine", 0.0)).by == "bob"


def test_only_its_owner_changes_a_lock(ctx: Context, clock: Clock) -> None:
    """It keeps its beginning; what somebody else asks for changes nothing."""
    deploylock.set_lock(ctx, ADA)
    clock.now = NOW + 5
    assert deploylock.set_lock(ctx, DeployLock("ada@laptop", "two sales", 0.0)).since == NOW
    with pytest.raises(HostError, match="two sales") as caught:
        deploylock.set_lock(ctx, DeployLock("bob", "mine", 0.0))
    assert caught.value.exit == Exit.BUSY
    found = deploylock.current(ctx)
    assert found is not None and found.why == "two sales"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null x", '{"by": 5}', '{"by":"a","why":"b","since":0,"until":"x"}']
)
def test_what_cannot_be_read_is_a_lock(ctx: Context, content: str) -> None:
    """It may have been one; it is named, and unlock removes it."""
    ctx.paths.deploy_lock.write_text(content)
    with pytest.raises(Damaged):
        deploylock.current(ctx)
    with pytest.raises(HostError, match=r"deploy-lock\.json"):
        deploylock.refuse(ctx)
    deploylock.remove_lock(ctx)
    deploylock.refuse(ctx)

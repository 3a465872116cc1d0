"""Old content is renamed away by a deploy and removed behind it; what becomes of it when that ends early."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployer.host import service
from deployer.host.deployment import outcome
from deployer.host.recovery import debris
from deployer.host.state import cleanup
from deployer.host.state.app import Context
from deployer.host.system import runner, systemd
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    """v2 serves, and v1 did before it."""
    assert host.deploy(text="one").exit == 0
    assert host.deploy(text="two").exit == 0
    return host


@pytest.fixture
def ctx(host: SimulatedHost) -> Context:
    return host.context(lambda *_, **__: None)


def content(ctx: Context, key: str = "k" * 64) -> Path:
    """A tree that no release names."""
    made = ctx.trees.path(key)
    (made / "inner").mkdir(parents=True)
    (made / "inner/file").write_text("x")
    ctx.trees.seal_path(key).write_text("{}")
    return made


def prune(ctx: Context) -> None:
    """As a job does at its end."""
    before = set(cleanup.waiting(ctx))
    outcome.prune(ctx, 5, later=True)
    cleanup.start(ctx, before)


def gone(path: Path) -> Path:
    return path.with_name(f".{path.name}.gone")


def test_it_counts_no_more_at_once_and_goes_behind(host: SimulatedHost, ctx: Context) -> None:
    """Meanwhile it is nobody's debris; what serves stays."""
    old, kept = content(ctx), ctx.trees.all_keys()
    prune(ctx)
    assert not old.exists() and gone(old).exists()
    assert ctx.trees.all_keys() == [key for key in kept if key != old.name]
    assert gone(old) not in set(debris.find(ctx, {1, 2}))
    host.clock.wait(1)
    assert not gone(old).exists()
    assert not cleanup.is_under_way(ctx)


def test_what_comes_while_another_is_removed_is_left_to_nobody(host: SimulatedHost, ctx: Context) -> None:
    """It goes at once: when the unit ends, nothing is left that a doctor would find."""
    first = content(ctx)
    prune(ctx)
    second = content(ctx, "s" * 64)
    prune(ctx)
    assert gone(first).exists() and not second.exists() and not gone(second).exists()
    host.clock.wait(1)
    assert not set(debris.find(ctx, {1, 2})) & {gone(first), gone(second)}


def test_room_is_made_before_anybody_goes_on(ctx: Context) -> None:
    """Where it is needed, nothing is left for later, nor of what was: ``fab prune``, and a disk that is full."""
    old, earlier = content(ctx), content(ctx, "e" * 64)
    ctx.trees.put_away(earlier.name)
    outcome.prune(ctx, 5)
    assert not old.exists() and not gone(old).exists()
    assert not gone(earlier).exists()


def test_on_a_disk_that_is_nearly_full_an_upload_waits_for_it(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is free in a moment would be missing now."""
    old = content(ctx)
    prune(ctx)
    cleanup.make_room(ctx)
    assert gone(old).exists()  # there is room enough
    monkeypatch.setattr(cleanup, "_ROOM", 1 << 60)
    cleanup.make_room(ctx)
    assert not gone(old).exists()


def test_what_ends_early_is_debris(host: SimulatedHost, ctx: Context) -> None:
    """A power cut, or somebody who stops the unit: the next recovery removes it."""
    old = content(ctx)
    prune(ctx)
    systemd.systemctl("stop", cleanup.unit_of(ctx))
    host.clock.wait(1)
    assert gone(old) in set(debris.find(ctx, {1, 2}))
    for path in list(debris.find(ctx, {1, 2})):
        debris.remove(ctx, path)
    assert not gone(old).exists()


def test_a_boot_goes_on_with_it(host: SimulatedHost, ctx: Context) -> None:
    """A disk has its room again without a further deploy."""
    old = content(ctx)
    prune(ctx)
    systemd.systemctl("stop", cleanup.unit_of(ctx))
    host.clock.wait(1)
    assert gone(old).exists()
    host.reboot()
    host.clock.wait(1)
    assert not gone(old).exists()


def test_a_restart_of_the_app_does_not_wait_for_it(
    host: SimulatedHost, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being removed already is left to that; and where nothing can be removed, the app serves all the same."""
    old = content(ctx)
    prune(ctx)
    assert service.start(ctx) == 0
    assert gone(old).exists() and cleanup.is_under_way(ctx)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(cleanup, "start", broken)
    assert service.start(ctx) == 0


def test_without_a_unit_it_is_removed_at_once(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd refuses, or is away."""
    old, real = content(ctx), runner.run

    def refuse(argv: list[str], **options: object) -> runner.CommandResult:
        if argv[0] == "systemd-run":
            return runner.CommandResult(1, "", "no")
        return real(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run", refuse)
    prune(ctx)
    assert not old.exists() and not gone(old).exists()


def test_one_of_its_name_that_is_still_there_is_no_obstacle(host: SimulatedHost, ctx: Context) -> None:
    """The same tree was built again, and is not needed again, while the first is being removed."""
    old = content(ctx)
    prune(ctx)
    content(ctx)
    prune(ctx)
    assert not old.exists()
    host.clock.wait(1)
    assert not gone(old).exists()

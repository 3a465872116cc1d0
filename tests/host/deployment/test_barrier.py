"""The word of a fleet: how long a job waits for it, and what counts as a sign of the laptop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.host.deployment import barrier
from deployer.host.deployment.barrier import BarrierSignal
from deployer.wire.protocol import BARRIERS


class Endless(AssertionError):
    """A wait goes on for far longer than any here may."""


class Clock:
    """Seconds since boot, which pass when somebody sleeps; ``due`` is done once its time has come.

    Who sleeps or asks for the time again and again is waiting for ever, and is stopped.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0
        self.asked = 0
        self.due: dict[float, Callable[[], None]] = {}

    CLOCK_BOOTTIME = 7

    def read(self) -> float:
        self.asked += 1
        if self.asked > 50_000:
            raise Endless
        return self.now

    def clock_gettime(self, _: int) -> float:
        return self.read()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        if self.slept > 20_000:
            raise Endless
        for when in [when for when in self.due if when <= self.now]:
            self.due.pop(when)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("deployer.host.deployment.barrier.time", made)
    monkeypatch.setattr("deployer.host.state.lease.time", made)
    return made


def job(clock: Clock, directory: Path) -> BarrierSignal:
    return BarrierSignal(directory, 60.0, clock.read)


def test_without_a_sign_the_lease_runs_out(clock: Clock, tmp_path: Path) -> None:
    """It waits as long as the lease, and then no longer."""
    waiting = job(clock, tmp_path)
    assert not waiting.expired
    assert waiting.wait("switch") is False
    assert waiting.expired
    assert 60.0 <= clock.now - 1000.0 < 60.5
    assert waiting.silence == clock.now - 1000.0


def test_the_lease_begins_with_the_job(clock: Clock, tmp_path: Path) -> None:
    """What was heard before it began, by whatever job had the directory, makes it neither longer nor shorter."""
    (tmp_path / "heard").write_text("3.0\n")
    waiting = job(clock, tmp_path)
    assert waiting.silence == 0.0
    clock.now += 59.0
    assert not waiting.expired
    clock.now += 1.0
    assert waiting.expired


def test_each_sign_renews_it(clock: Clock, tmp_path: Path) -> None:
    """As long as the laptop is heard now and then it waits: for hours, if need be."""
    waiting = job(clock, tmp_path)
    for _ in range(100):
        clock.now += 59.0
        assert not waiting.expired
        barrier.keep_alive(tmp_path, clock.read)
        assert waiting.silence == 0.0
    clock.now += 60.0
    assert waiting.expired


def test_the_word_comes_while_it_waits(clock: Clock, tmp_path: Path) -> None:
    """It goes on at once, at that barrier and at no other."""
    waiting = job(clock, tmp_path)
    clock.due[1030.0] = lambda: barrier.allow(tmp_path, "check")
    assert waiting.wait("check") is True
    assert 1030.0 <= clock.now < 1030.1
    assert [name for name in BARRIERS if waiting.allows(name)] == ["check"]
    assert waiting.wait("switch") is False


def test_a_word_is_a_sign_as_well(clock: Clock, tmp_path: Path) -> None:
    """The lease of the next barrier begins with it, not with the job."""
    waiting = job(clock, tmp_path)
    clock.due[1050.0] = lambda: barrier.allow(tmp_path, "migrate")
    assert waiting.wait("migrate")
    assert waiting.wait("check") is False
    assert 110.0 <= clock.now - 1000.0 < 110.5


def test_a_word_that_came_early_is_not_waited_for(clock: Clock, tmp_path: Path) -> None:
    """Not even when the lease has run out since: it was said. To say it twice does nothing more."""
    barrier.allow(tmp_path, "keep")
    barrier.allow(tmp_path, "keep")
    waiting = job(clock, tmp_path)
    clock.now += 1000.0
    assert waiting.expired
    assert waiting.wait("keep") is True
    assert clock.slept == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go-keep", "heard"]
    assert (tmp_path / "go-keep").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "10", "x\n", "nan\n", "\udcff", "99999.0\n", "inf\n", "1e400\n"])
def test_a_sign_that_cannot_be_true_is_none(clock: Clock, tmp_path: Path, text: str) -> None:
    """Half a number, none at all, or a time that is still to come, as after a reboot: the lease runs out as without."""
    waiting = job(clock, tmp_path)
    (tmp_path / "heard").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert waiting.wait("switch") is False
    assert clock.now - 1000.0 < 60.5


def test_a_sign_is_whole_or_not_there(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies, or finds the disk full, while giving one leaves the sign before it."""
    barrier.keep_alive(tmp_path, clock.read)

    def dies(*_: object) -> None:
        raise OSError(28, "No space left on device")

    waiting = job(clock, tmp_path)
    clock.now += 30.0
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(OSError, match="No space"):
        barrier.keep_alive(tmp_path, clock.read)
    assert (tmp_path / "heard").read_text() == "1000.0\n"
    assert waiting.silence == 30.0


def test_a_word_for_which_there_is_hardly_room_is_heard(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk an empty file often has room where a sign has none: the job goes on all the same."""

    def dies(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(OSError, match="No space"):
        barrier.allow(tmp_path, "switch")
    assert job(clock, tmp_path).wait("switch") is True


def test_nobody_hears_of_a_job_that_is_gone(clock: Clock, tmp_path: Path) -> None:
    """Its directory may be thrown away while a laptop still talks: that is an error of the disk, and makes nothing."""
    for say in (lambda: barrier.keep_alive(tmp_path / "gone"), lambda: barrier.allow(tmp_path / "gone", "keep")):
        with pytest.raises(FileNotFoundError):
            say()
    assert list(tmp_path.iterdir()) == []

"""Leases: how long one lasts, and the timer that looks for what nobody finishes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.state import lease
from deployer.host.state.paths import AppPaths
from deployer.host.system import orders, runner, systemd
from deployer.wire.protocol import LEASE

ARMED = [
    "systemd-run", "--quiet", "--collect", "--unit=deployer-shop-lease.service", "--on-active=30",
    "--on-unit-inactive=30", "--timer-property=AccuracySec=1s",
    "--description=deployer: looks after unfinished deploys of shop", "--", "/usr/local/lib/deployer/deployer-host",
    "recover", "shop",
]  # fmt: skip

NOTHING = systemd.UnitState(active="inactive", sub="dead", result="", restarts=0, main_pid=0, memory=0, since=0.0)


class Clock:
    """Seconds since boot. Asked for any other clock it knows none."""

    CLOCK_BOOTTIME = 7

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, 0

    def clock_gettime(self, clock: int) -> float:
        return {self.CLOCK_BOOTTIME: self.now}[clock]

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds < 5
        self.slept += 1
        assert self.slept < 100, "it goes on for ever"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease, "time", made)
    monkeypatch.setattr(lease, "boot_id", lambda: "this boot")
    return made


def test_a_lease_lasts_so_long_and_not_longer(clock: Clock) -> None:
    """In whole seconds of this boot, however the clock on the wall is set."""
    assert lease.grant(60.0) == {"boot": "this boot", "until": 1060.0}
    assert lease.grant() == {"boot": "this boot", "until": 1000.0 + LEASE}
    held = lease.grant(60.0)
    for passed, left in ((0.0, 60.0), (59.5, 0.5), (60.0, 0.0), (10_000.0, 0.0)):
        clock.now = 1000.0 + passed
        assert lease.left(held) == left


@pytest.mark.parametrize(
    "held",
    [
        None, {}, {"until": 2000.0}, {"boot": "another boot", "until": 2000.0}, {"boot": "this boot"},
        {"boot": "this boot", "until": "2000"}, {"boot": "this boot", "until": None},
    ],
)  # fmt: skip
def test_what_is_no_lease_of_this_boot_is_over(clock: Clock, held: dict[str, Any] | None) -> None:
    """Whatever stands in a record; a number without a fraction is a time as well."""
    assert lease.left(held) == 0.0
    assert lease.left({"boot": "this boot", "until": 1001}) == 1.0


def test_a_boot_is_known_by_what_the_kernel_calls_it() -> None:
    """One line, without its end, and the same until the next boot."""
    assert lease.boot_id() == lease.boot_id()
    assert len(lease.boot_id()) == 36


class Systemd:
    """Refuses to begin the timer ``deaf`` times; ``running`` is what it says of the timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, deaf: int = 0, running: str = "inactive") -> None:
        self.deaf, self.running = deaf, running
        self.ran: list[list[str]] = []
        self.shown: list[str] = []
        self.freed: list[str] = []
        self.told: list[tuple[str, ...]] = []
        monkeypatch.setattr(runner, "run", self.run)
        monkeypatch.setattr(systemd, "show", self.show)
        monkeypatch.setattr(systemd, "systemctl", lambda *words: self.told.append(words))
        monkeypatch.setattr(orders, "ensure_free", self.freed.append)

    def run(self, argv: Sequence[str]) -> runner.CommandResult:
        self.ran.append(list(argv))
        self.deaf -= 1
        return runner.CommandResult(
            int(self.deaf >= 0), "", "Message recipient disconnected\n" if self.deaf >= 0 else ""
        )

    def show(self, unit: str) -> systemd.UnitState:
        self.shown.append(unit)
        return replace(NOTHING, active=self.running)


@pytest.fixture
def paths(tmp_path: Path) -> AppPaths:
    made = AppPaths("shop", tmp_path)
    made.jobs.mkdir(parents=True)
    return made


def test_the_switch_is_armed_and_disarmed(clock: Clock, paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer of systemd's, which asks the host to put itself right every half a minute."""
    fake = Systemd(monkeypatch)
    lease.arm(paths)
    assert (fake.ran, fake.freed, clock.slept) == ([ARMED], [], 0)
    lease.disarm(paths, lambda: True)
    assert fake.told == []
    lease.disarm(paths, lambda: False)
    assert fake.told == [("stop", "deployer-shop-lease.timer")]


def test_one_that_is_armed_already_stays_so(clock: Clock, paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd refuses a second one of the same name: the first will do."""
    fake = Systemd(monkeypatch, deaf=1000, running="active")
    lease.arm(paths)
    assert (len(fake.ran), fake.shown, fake.freed) == (1, ["deployer-shop-lease.timer"], [])


def test_it_is_tried_again_once_its_name_is_free(
    clock: Clock, paths: AppPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer or a run of it that is dead and still loaded is in its way; a systemd may be deaf for a moment."""
    fake = Systemd(monkeypatch, deaf=2)
    lease.arm(paths)
    assert len(fake.ran) == 3
    assert fake.freed == ["deployer-shop-lease.timer", "deployer-shop-lease.service"] * 2
    assert clock.slept == 2


def test_one_that_cannot_be_armed_is_told(clock: Clock, paths: AppPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds, with what systemd said."""
    fake = Systemd(monkeypatch, deaf=1000)
    with pytest.raises(HostError, match=r"^systemd did not start the timer") as caught:
        lease.arm(paths)
    assert list(caught.value.logs) == ["Message recipient disconnected"]
    assert 40 <= len(fake.ran) <= 200


def test_nobody_arms_it_while_it_is_decided_whether_to_stop_it(
    clock: Clock, paths: AppPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that found it armed, and then lost it, would have nobody who looks after it."""
    fake = Systemd(monkeypatch)
    arming = threading.Thread(target=lease.arm, args=(paths,))

    def is_wanted() -> bool:
        arming.start()
        arming.join(0.2)
        assert (arming.is_alive(), fake.ran) == (True, [])
        return False

    lease.disarm(paths, is_wanted)
    arming.join(20)
    assert (fake.told, fake.ran) == ([("stop", "deployer-shop-lease.timer")], [ARMED])

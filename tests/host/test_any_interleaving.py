"""Whatever happens to a host, in whatever order: it ends in one whole release, and loses nothing that it should keep.

``SIMULATED_DAYS=1000`` tries as many stories (default: a few that fit into a minute's test run).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from deployer.wire.protocol import BARRIERS
from tests.host.simulation import builds, fleet, place, rules, service
from tests.host.simulation.faults import DiskFails, Fault, Kill, Meanwhile, PowerCut, Terminate
from tests.host.simulation.host import Outcome, SimulatedHost
from tests.host.simulation.laptop import TIMER, WORKER

STORIES = int(os.environ.get("SIMULATED_DAYS", "40"))
UP_TO_CHECK = ("upload", "build", "install", "start", "migrate", "check")
BEHIND = ("switch", "drain", "watch")

moments = st.integers(1, 330)
fault = st.one_of(
    st.builds(Kill, moments),
    st.builds(PowerCut, moments, st.booleans()),
    st.builds(Terminate, moments, st.booleans()),
    st.builds(DiskFails, moments, st.sampled_from([errno.ENOSPC, errno.EROFS, errno.EIO])),
    st.builds(DiskFails, moments, st.just(errno.ENOSPC), st.just(False)),
)
faults = st.one_of(st.just([]), st.lists(fault, min_size=1, max_size=2))
meanwhile = st.lists(st.tuples(moments, st.sampled_from(["deploy", "clock", "recover", "start", "strike"])), max_size=1)
codes = st.one_of(st.just(service.GOOD), st.sampled_from(service.BEHAVIOURS))
texts = st.sampled_from("abcdef")
keeps = st.sampled_from([3, 3, 3, 3, 2])
words = st.dictionaries(st.sampled_from(BARRIERS), st.sampled_from(fleet.WORDS), max_size=1)
barriers = st.sampled_from([BARRIERS, BARRIERS, ("switch", "keep"), ("check", "switch", "keep")])
aheads = st.sampled_from([0, 0, 3, -1])
alone = {**WORKER, "overlap": False}
shapes = st.sampled_from(
    [
        {},
        {"processes": [{**alone, "count": 2}]},
        {"processes": [{**WORKER, "name": "mail", "check": builds.CHECK}], "timers": []},
        {"processes": [], "timers": [{**TIMER, "name": "mail"}]},
        {"web": None},
        {"web": None, "processes": [alone], "timers": []},
    ]
)
environments = st.sampled_from([{}, {"A": "1"}, {service.VARIABLE: service.BROKEN}])


class Days(RuleBasedStateMachine):
    """The life of one host. After each event it has its time, and is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.place = place.make()
        self.host = SimulatedHost(self.place / "disk")
        self.host.set_up()
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.host.in_place())
        self.ledger = b""
        self.keep = 3
        self.served = False

    def teardown(self) -> None:
        self._stack.close()
        shutil.rmtree(self.place, ignore_errors=True)

    # events

    @initialize(count=st.integers(0, 3))
    def good_releases(self, count: int) -> None:
        """What was before the story begins."""
        for number in range(count):
            assert self.host.deploy(text=f"before {number}").exit == 0
        self._look()

    @rule(code=codes, text=texts, overlap=st.booleans(), keep=keeps, shape=shapes, fate=faults, by=meanwhile)
    def deploy(
        self, code: str, text: str, overlap: bool, keep: int, shape: dict[str, Any], fate: list[Fault], by: Any
    ) -> None:
        self.keep = min(self.keep, keep)
        self._during(fate, by, lambda: self.host.deploy(code, text, overlap=overlap, keep=keep, **shape))

    @precondition(lambda self: self.served)
    @rule(env=environments, fate=faults, by=meanwhile)
    def reload(self, env: dict[str, str], fate: list[Fault], by: Any) -> None:
        self._during(fate, by, lambda: self.host.reload(env=env))

    @precondition(lambda self: self.served)
    @rule(to=st.integers(0, 12), fate=faults, by=meanwhile)
    def rollback(self, to: int, fate: list[Fault], by: Any) -> None:
        self._during(fate, by, lambda: self.host.rollback(to))

    @rule(code=codes, text=texts, words=words, barriers=barriers, ahead=aheads, fate=faults)
    def deploy_to_a_fleet(
        self, code: str, text: str, words: dict[str, str], barriers: tuple[str, ...], ahead: int, fate: list[Fault]
    ) -> None:
        """This host is one of many: at each barrier the laptop has a word for it, or has died."""
        self._in_a_fleet(lambda **more: self.host.deploy(code, text, **more), words, barriers, ahead, fate)

    @precondition(lambda self: self.served)
    @rule(env=environments, words=words, ahead=aheads, fate=faults)
    def reload_of_a_fleet(self, env: dict[str, str], words: dict[str, str], ahead: int, fate: list[Fault]) -> None:
        """Or a change of its environment: the same request."""
        self._in_a_fleet(lambda **more: self.host.reload(env=env, **more), words, BARRIERS[-2:], ahead, fate)

    @precondition(lambda self: self.served)
    @rule(to=st.integers(0, 12), words=words, ahead=aheads, fate=faults)
    def rollback_of_a_fleet(self, to: int, words: dict[str, str], ahead: int, fate: list[Fault]) -> None:
        self._in_a_fleet(lambda **more: self.host.rollback(to, **more), words, BARRIERS[-2:], ahead, fate)

    @rule(code=codes, fate=faults)
    def prepare(self, code: str, fate: list[Fault]) -> None:
        """The first phases, one command; the release is held from then on."""
        self._during(fate, [], lambda: self.host.deploy(code, "p", phases=UP_TO_CHECK), switches=False)

    @rule(fate=faults)
    def go_on(self, fate: list[Fault]) -> None:
        """The phases behind them, of whatever is under way."""
        self._during(fate, [], lambda: self.host.phases(*BEHIND))

    @rule(by=st.sampled_from([-3600.0, 3600.0]))
    def the_clock_is_set(self, by: float) -> None:
        self.host.clock.set_wall(by)

    @rule(seconds=st.sampled_from([20.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.host.wait(seconds)
        self._look()

    @rule()
    def the_power_goes(self) -> None:
        self.host.power_on()
        self._look()

    @rule()
    def somebody_reboots(self) -> None:
        self.host.reboot()
        self._look()

    @rule(fate=faults)
    def doctor(self, fate: list[Fault]) -> None:
        self._during(fate, [], self.host.doctor_fix, switches=False)

    @precondition(lambda self: self.served)
    @rule()
    def the_service_crashes(self) -> None:
        unit = self.host.table.known(self.host.web.service(self.host.web.current()))
        if unit is not None and unit.pid:
            self.host.web.exits(unit, "signal")
        self._look()

    @rule(number=st.integers(0, 3))
    def a_worker_crashes(self, number: int) -> None:
        up = sorted(name for name in self.host.background.running if not self.host.table.units[name].is_oneshot)
        for name in up[number : number + 1]:
            self.host.background.exits(self.host.table.units[name], "signal")
        self._look()

    @rule(in_hand=st.sampled_from([0.4, 8.0, 55.0]), run_takes=st.sampled_from([0.4, 30.0]))
    def there_is_much_to_do(self, in_hand: float, run_takes: float) -> None:
        """From now on jobs and runs take so long."""
        self.host.background.in_hand, self.host.background.run_takes = in_hand, run_takes

    @rule()
    def the_calendar_strikes(self) -> None:
        self.host.background.strike()
        self.host.wait(0.2)

    @rule()
    def an_admin_stops_and_starts(self) -> None:
        self.host.web.clients = False
        unit = self.host.table.known("shop.service")
        started = unit is not None and unit.active != "inactive"  # else systemd does nothing: a candidate has its lease
        self.host.systemctl("stop", "shop.service")
        self.host.wait(70)
        running = {**self.host.web.running, **self.host.background.running}
        assert not running or not started, f"it was stopped, and {sorted(running)} run"
        self.host.systemctl("start", "shop.service")
        self.host.web.clients = True
        self._look()

    # what is looked at

    def _during(self, fate: list[Fault], by: list[tuple[int, str]], command: Any, *, switches: bool = True) -> None:
        before = self.host.web.current()
        others = [Meanwhile(moment, self._other(what)) for moment, what in by]
        with self.host.suffering(*fate, *others):
            outcome: Outcome = command()
            if self.host.programs.stopping:
                self.host.reboot()
            if any(isinstance(fault, DiskFails) for fault in fate):
                self.host.wait(40)
        self._look()
        wrong = list(rules.told_right(self.host, outcome, before, switches=switches))
        assert not wrong, wrong

    def _in_a_fleet(
        self, command: Any, words: dict[str, str], barriers: tuple[str, ...], ahead: int, fate: list[Fault]
    ) -> None:
        """Whatever becomes of it, it has the fleet's number or none."""
        before = rules.begun(self.host)
        self._during(fate, [], lambda: self.host.fleet(command, words, barriers=barriers, ahead=ahead))
        new = rules.begun(self.host)[len(before) :]
        assert new in ([], [self.host.laptop.number]), f"{new}, not {self.host.laptop.number}"

    def _other(self, what: str) -> Any:
        def act() -> None:
            host = self.host
            if what == "clock":
                host.clock.set_wall(-3600.0)
            elif what == "deploy":
                host.deploy(text="the other one", phases=UP_TO_CHECK)
            elif what == "recover":
                host.doctor_fix()
            elif what == "strike":
                host.background.strike()
            else:
                host.systemd.run(["systemctl", "start", "shop.service"])

        return act

    def _look(self) -> None:
        host = self.host
        host.recover()
        while rules.lease_has_just_ended(host):
            host.wait(60.0)
        self.served = self.served or bool(host.web.current())
        wrong = list(rules.in_the_end(host, served=self.served, tidy=False))
        wrong += rules.kept(host, self.keep)
        if not host.ledger.startswith(self.ledger):
            wrong.append("the ledger is not what it was with something added")
        self.ledger = host.ledger
        assert not wrong, "\n".join(wrong).replace(str(host.root), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")
@pytest.mark.timeout(0)  # a story has no real waits, and a timeout within one would be taken for what broke it
def test_any_interleaving() -> None:
    """Deploys good and bad, reloads, rollbacks, deaths, reboots, full disks and clocks that are set, in any order."""
    run_state_machine_as_test(
        Days,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=10,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""Whatever befalls the hosts of a fleet, in whatever order it is heard of: all of them switch, or none.

``ROLLOUT_STORIES=20000`` tries as many stories (default: as many as fit into some seconds).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.rollout import Order, Rollout, Strategy, barriers, waves

STORIES = int(os.environ.get("ROLLOUT_STORIES", "300"))
OLD, NEW = "v1", "v2"
HOOKS = ("drain", "undrain")
SCRIPT = ("build", "?migrate", "migrate", "?check", "check", "?switch", "switch", "watch", "?keep", "end")
"""What a host does, in this order; at ``?`` it waits for the word."""


@dataclass(frozen=True)
class Fate:
    """What befalls a host when it has done so many steps.

    fail: a phase fails, or its watch. cut: nobody hears it any more. power: it goes down, and comes back by itself.
    lease: no word came in time. refuse: it does not begin. drain, undrain: that hook fails.
    """

    kind: str
    step: int


class SimulatedHost:
    """Follows the protocol. What it says lies in ``said`` until it is heard, and words in ``words`` until it looks."""

    def __init__(self, name: str, stops: tuple[str, ...], fates: list[Fate]) -> None:
        self.name = name
        self.script = [step for step in SCRIPT if step[0] != "?" or step[1:] in stops]
        if "migrate" not in stops:
            self.script.remove("migrate")
        self.fates = fates
        self.struck: list[Fate] = []
        self.done = 0
        self.came_to: set[str] = set()
        self.said: list[dict[str, Any]] = []
        self.words: list[Order] = []
        self.heard: list[Order] = []
        self.serving = OLD
        self.ended = self.failing = self.cut = self.alone = False

    def say(self, event: str, **fields: Any) -> None:
        if not self.cut:
            self.said.append({"event": event, "release": NEW, **fields})

    def fate(self) -> str:
        due = next((fate for fate in self.fates if fate.step == self.done and fate.kind not in HOOKS), None)
        self.struck += [due] if due else []
        self.fates = [fate for fate in self.fates if fate is not due]
        return due.kind if due else ""

    def end(self, why: str) -> None:
        """It gives up: what serves is the old release."""
        exit = 5 if self.serving == OLD else 6
        self.serving, self.ended = OLD, True
        self.say("failed", exit=exit, message=why, state="", next="", logs=["a line"])
        self.say("finished", exit=exit, serving=OLD, summary=why, seconds=1.0)

    def good(self) -> None:
        self.ended = True
        self.say("finished", exit=0, serving=NEW, summary="v2 serves", seconds=1.0)

    def work(self) -> None:
        """One step of its job, unless that waits."""
        self.heard, self.words = [*self.heard, *self.words], []
        if self.failing:
            self.end("it failed")
        elif undo := next((word for word in self.heard if word.do == "undo"), None):
            self.end(undo.why)
        else:
            self._go_on()

    def _go_on(self) -> None:
        step = self.script[self.done]
        if step[0] == "?":
            self._wait(step[1:])
            return
        self.done += 1
        if step == "end":
            self.good()
            return
        self.say("phase.started", phase=step)
        if step == "switch":
            self.serving = NEW
            self.say("switched", to=NEW, previous=OLD)

    def _wait(self, barrier: str) -> None:
        if barrier not in self.came_to:
            self.came_to.add(barrier)
            self.say("ready", phase=barrier)
        elif any(word.barrier == barrier for word in self.heard):
            self.done += 1
        elif self.alone:
            self.good() if barrier == "keep" else self.end("no word came")

    @property
    def waits(self) -> bool:
        step = self.script[self.done]
        word = any(word.barrier == step[1:] or word.do == "undo" for word in (*self.heard, *self.words))
        return step[0] == "?" and step[1:] in self.came_to and not word and not self.alone and not self.failing


@dataclass
class World:
    """A fleet, its rollout, and what is watched meanwhile."""

    hosts: list[SimulatedHost]
    strategy: Strategy
    rollout: Rollout
    hooks: bool
    now: float = 0.0
    running: list[Order] = field(default_factory=list)
    given: list[Order] = field(default_factory=list)
    failed: bool = False
    odd: bool = False
    crossed: bool = False
    aborted: bool = False

    def __post_init__(self) -> None:
        self.by_name = {host.name: host for host in self.hosts}
        self.waves = waves(list(self.by_name), self.strategy)
        self.over: set[str] = set()
        self.lost: set[str] = set()
        self.unanswered: set[str] = set()
        self.own_faults: set[str] = set()
        self.in_use = dict.fromkeys(self.by_name, True)

    def told(self, host: str, do: str, barrier: str = "") -> bool:
        return any((order.host, order.do, order.barrier) == (host, do, barrier) for order in self.given)

    # steps

    def steps(self) -> list[tuple[str, Any]]:
        """What may happen next."""
        found: list[tuple[str, Any]] = [("ask", None), ("hour", None)]
        for host in self.hosts:
            if host.said and host.name not in self.over:
                found.append(("deliver", host))
            if not host.ended and not (host.waits and not self._due(host)):
                found.append(("work", host))
        found += [("hook", order) for order in self.running]
        return found

    def _due(self, host: SimulatedHost) -> bool:
        return any(fate.step == host.done and fate.kind not in HOOKS for fate in host.fates)

    def do(self, step: tuple[str, Any]) -> None:
        name, what = step
        getattr(self, f"do_{name}")(*([what] if what is not None else []))

    def do_hour(self) -> None:
        self.now += 7.0

    def do_deliver(self, host: SimulatedHost) -> None:
        event = host.said.pop(0)
        if event["event"] == "holding":
            self.unanswered.discard(host.name)
        if event["event"] == "finished":
            self.over.add(host.name)
            if event["exit"] and not self.told(host.name, "undo"):
                self.failed = True
                self.own_faults.add(host.name)
        self.rollout.receive(host.name, event, self.now)

    def do_work(self, host: SimulatedHost) -> None:
        fate = "" if host.failing or host.alone else host.fate()
        if fate == "fail":
            self.crossed = self.crossed or self.told(host.name, "go", "keep")
            host.failing = True
            host.say("phase.failed", phase="any", seconds=1.0)
        elif fate == "cut":
            self._cut(host)
        elif fate == "power":
            host.say("phase.failed", phase="any", seconds=1.0)
            while host.said and host.name not in self.over:
                self.do_deliver(host)
            self._cut(host)
        elif fate == "lease":
            self.odd = host.alone = True
        elif fate == "refuse" and host.done == 0:
            self._refuse(host, 4)
        elif host.done == 0 and self.told(host.name, "undo"):
            self._refuse(host, 5)
        else:
            host.work()

    def _cut(self, host: SimulatedHost) -> None:
        host.said, host.words, host.cut, host.alone, self.odd = [], [], True, True, True
        if host.name not in self.over:
            self.over.add(host.name)
            self.lost.add(host.name)
            self.failed = self.failed or not self.told(host.name, "go", "switch")
            self.rollout.lost(host.name, "the connection was lost", self.now)

    def _refuse(self, host: SimulatedHost, exit: int) -> None:
        host.ended = True
        self.over.add(host.name)
        self.failed = self.failed or not self.told(host.name, "undo")
        self.rollout.refused(host.name, exit, "somebody else deploys", self.now)

    def do_hook(self, order: Order) -> None:
        self.running.remove(order)
        fates = self.by_name[order.host].fates
        error = "exit status 1" if any(fate.kind == order.do for fate in fates) else ""
        if not error:
            self.in_use[order.host] = order.do == "undrain"
        last = {host for host in self.by_name if host in self.over or self.told(host, "go", "switch")}
        if error and (order.do == "drain" or last != set(self.by_name)):
            self.failed = True
        self.rollout.hook_ended(order.host, order.do, error, self.now)

    def do_abort(self) -> None:
        before = list(self.given)
        late = all(self.told(host, "go", "keep") or host in self.over for host in self.by_name)
        assert self.rollout.abort("aborted by ada", self.now) is not late
        assert before == self.given
        self.aborted = self.aborted or not late
        self.failed = self.failed or not late

    def do_ask(self) -> None:
        orders = self.rollout.orders(self.now)
        for order in orders:
            self.check(order)
        for order in orders:
            assert order not in self.given or order.do == "call", "an order is given once"
            self.given.append(order)
            if order.do == "call":
                self.unanswered.add(order.host)
                self.by_name[order.host].say("holding")
            elif order.do in HOOKS:
                self.running.append(order)
            elif not self.by_name[order.host].cut:
                self.by_name[order.host].words.append(order)
        assert not self.rollout.orders(self.now), "orders follow from what happened, and nothing did"

    # what must hold

    def check(self, order: Order) -> None:
        host = self.by_name[order.host]
        if order.do == "undrain":
            assert self.told(host.name, "drain")
            assert not any(other.host == host.name for other in self.running), "one hook at a time"
            assert host.name in self.over or "keep" in host.came_to
            return
        assert host.name not in self.over
        if order.do == "drain":
            assert self.hooks and len(self.waves) > 1 and not self.failed
            self._earlier_waves_are_good(host.name)
        elif order.do == "call":
            assert not self.failed, "after a failure nobody is to switch any more"
        elif order.do == "undo":
            assert order.why
            assert not self.told(host.name, "undo")
            assert not self.told(host.name, "go", "keep"), "what was told to stay is not taken back"
            if self.strategy.keep_going and not self.aborted:
                first_switch = any(given.barrier == "switch" for given in self.given)
                assert not (first_switch and self.told(host.name, "go", "switch")), "what may be good is left"
        else:
            self._check_go(host, order.barrier)

    def _check_go(self, host: SimulatedHost, barrier: str) -> None:
        assert not self.told(host.name, "undo")
        assert barrier in host.came_to
        keeps_going = self.strategy.keep_going and barrier == "keep" and not self.aborted
        assert not self.failed or keeps_going, "nobody goes on after a failure"
        if barrier in ("check", "switch"):
            assert all(barrier in other.came_to for other in self.hosts)
        if barrier == "switch":
            assert self.unanswered <= self.over, "nobody switches while one does not answer"
            assert all(self.told(other, "call") for other in self.by_name if other not in self.over)
            self._earlier_waves_are_good(host.name)
            assert not self.told(host.name, "drain") or not self.in_use[host.name]
            assert self.told(host.name, "drain") or not self.hooks or len(self.waves) == 1
        if barrier == "keep" and not keeps_going:
            for other in self.hosts:
                lost_after = other.name in self.lost and self.told(other.name, "go", "switch")
                assert "keep" in other.came_to or lost_after

    def _earlier_waves_are_good(self, name: str) -> None:
        """And at least one of their hosts is there to show it."""
        number = next(number for number, wave in enumerate(self.waves) if name in wave)
        before = [self.by_name[host] for wave in self.waves[:number] for host in wave]
        assert all("keep" in host.came_to or host.name in self.lost for host in before)
        assert not before or any(host.name not in self.lost for host in before)
        after = [host for wave in self.waves[number + 1 :] for host in wave]
        assert not any(self.told(host, "go", "switch") or self.told(host, "drain") for host in after)

    def finish(self) -> None:
        """Let everybody come to an end, in turn; whoever cannot be heard is left alone."""
        for _ in range(200):
            for step in self.steps():
                self.do(step)
            if self.rollout.over and all(host.ended for host in self.hosts):
                return
        raise AssertionError(f"it never ends: {self.given}")

    def judge(self) -> None:
        verdict = self.rollout.verdict()
        real = {host.name: host.serving for host in self.hosts}
        ends = {end.host: end for end in verdict.hosts}
        assert list(ends) == list(real), "every host has an outcome"
        assert all(end.result and end.detail for end in verdict.hosts)
        if verdict.exit == 0:
            assert set(real.values()) == {NEW}
        elif verdict.exit in (4, 5, 6):
            assert set(real.values()) == {OLD}
        else:
            assert verdict.exit == 7
            unseen = any(self.told(host, "go", "switch") for host in self.lost)
            assert unseen or len(set(real.values())) == 2
            assert str(verdict.next)
        if not (self.odd or self.crossed or self.strategy.keep_going):
            assert len(set(real.values())) == 1, "all hosts or none"
        for host, end in ends.items():
            if end.result == "done":
                assert real[host] == NEW
            elif end.result != "lost":
                assert real[host] == OLD
            assert (end.result == "lost") == (host in self.lost)
            if host in self.own_faults:
                assert end.result in ("failed", "busy")
                assert end.logs == ("a line",)
        for host in real:
            assert self.told(host, "drain") == self.told(host, "undrain"), "whoever was drained is undrained"
        calm = not (self.failed or self.odd or any(host.fates or host.struck for host in self.hosts))
        assert not calm or verdict.exit == 0


kinds = st.sampled_from(["fail", "fail", "fail", "cut", "cut", "power", "lease", "refuse", "drain", "undrain"])
fates = st.lists(
    st.tuples(st.integers(0, 5), st.builds(Fate, kinds, st.integers(0, len(SCRIPT) - 2))), max_size=2
) | st.just([])
strategies = st.builds(
    Strategy,
    batch=st.sampled_from(["", "1", "2", "50%"]),
    canary=st.integers(0, 2),
    keep_going=st.booleans(),
)


@settings(max_examples=STORIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    count=st.integers(1, 6),
    strategy=strategies,
    bake=st.sampled_from([0.0, 20.0]),
    migrates=st.booleans(),
    hooks=st.booleans(),
    fates=fates,
    abort=st.none() | st.integers(0, 150),
    choices=st.lists(st.integers(0, 999), max_size=150),
)
def test_any_story_ends_in_one_release(
    count: int,
    strategy: Strategy,
    bake: float,
    migrates: bool,
    hooks: bool,
    fates: list[tuple[int, Fate]],
    abort: int | None,
    choices: list[int],
) -> None:
    """Hosts fail, fall silent or are slow at any moment: nobody switches alone, and the verdict is true."""
    names = [f"web{number}" for number in range(count)]
    strategy = Strategy(
        batch=strategy.batch,
        canary=strategy.canary,
        bake=bake if strategy.canary else 0.0,
        keep_going=strategy.keep_going,
    )
    hosts = [
        SimulatedHost(
            name,
            barriers(name, migrator="web0", migrates=migrates),
            [fate for index, fate in fates if index % count == number],
        )
        for number, name in enumerate(names)
    ]
    world = World(hosts, strategy, Rollout(names, strategy=strategy, hooks=hooks), hooks)
    for number, choice in enumerate(choices):
        if number == abort:
            world.do_abort()
        steps = world.steps()
        world.do(steps[choice % len(steps)])
    world.finish()
    world.judge()

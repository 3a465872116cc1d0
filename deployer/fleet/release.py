"""A release on N >= 1 hosts. Several are a two-phase commit: all are ready before any switches, or none does.

What is to follow is decided in :mod:`deployer.rollout`, which knows no threads and no connections.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deployer import events
from deployer.errors import Exit, Interrupted
from deployer.events import FleetFinished
from deployer.fleet.coordinator import Coordinator
from deployer.fleet.hooks import HookRunner
from deployer.fleet.hosts import Fleet
from deployer.fleet.messages import HookEnded, HostEvent, HostFailed, HostLost, HostMet, HostStopped, Message
from deployer.release.placement import Placement, ReleaseKind, number_of
from deployer.remote.decision import Decision
from deployer.remote.facts import Facts
from deployer.remote.site import who
from deployer.rollout import Rollout, Strategy, barriers
from deployer.wire import advice

__all__ = ["TwoPhaseCommit", "begin", "release", "was_busy"]

BEAT = 2.0
"""Seconds between two signs of life for hosts whose job waits: a fraction of its lease."""
MUTE = 15.0
"""Seconds without any answer after which the connection to a host is made anew."""
DEAD = 90.0
"""Seconds without any answer after which a host is given up."""
BEGINS = 300.0
"""Seconds that a host has to begin with its job once nothing more is sent to it: what was sent may still be on its way
over a slow line. The host's own patience with a laptop is the same."""


def release(fleet: Fleet, make: Callable[[], ReleaseKind], *, strategy: Strategy, wait: bool = False) -> int:
    """Carry a release through a fleet; the exit code. How it ended is reported.

    ``make`` is called once, while connecting. A single host waits for nothing: its deploy ends by itself, whatever
    becomes of this machine. With ``wait`` it is tried again when another command was quicker. Raises DeployerError for
    what is wrong here (nothing was touched), and for what fails on a single host.
    """
    made: list[ReleaseKind] = []

    def once() -> ReleaseKind:
        if not made:
            made.append(make())
        return made[0]

    while True:
        single = len(fleet.sites) == 1
        exit = _carry(Coordinator(fleet) if single else TwoPhaseCommit(fleet, strategy), once, wait=wait)
        if exit is not None:
            return exit
        fleet.report(events.Note(text="another command was quicker; waiting for it"))


def begin(fleet: Fleet, make: Callable[[], ReleaseKind]) -> int:
    """Send a release whose phases are run one by one afterwards to every host, under one number; the exit code."""
    exit = _carry(Coordinator(fleet), make, wait=False)
    return int(Exit.BUSY) if exit is None else exit


def _carry(coordinator: Coordinator, make: Callable[[], ReleaseKind], *, wait: bool) -> int | None:
    try:
        return coordinator.release(make, wait=wait)
    finally:
        coordinator.close()


def was_busy(verdict: FleetFinished) -> bool:
    """Whether nothing failed but that another command was quicker on a host; on others the job may have begun."""
    results = {end.result for end in verdict.hosts}
    return verdict.exit in (Exit.BUSY, Exit.REFUSED) and "busy" in results <= {"busy", "untouched", "discarded"}


class TwoPhaseCommit(Coordinator):
    """The coordinator of hosts that wait for each other: their jobs stop at barriers until they are told to go on."""

    def __init__(self, fleet: Fleet, strategy: Strategy) -> None:
        self._strategy = strategy
        self._looked = _now()
        self._back = self._aborted = self._bakes = self._sent = False
        self._hooks = HookRunner(fleet.config.hooks, fleet.report, self._hooked)
        self._release = ""
        self._rollout = self._new_rollout(fleet, "fab deploy")  # before anything is touched: the strategy may be wrong
        super().__init__(fleet, alone=False)

    def _new_rollout(self, fleet: Fleet, again: str) -> Rollout:
        return Rollout(fleet.hosts, strategy=self._strategy, hooks=self._hooks.any, again=again, now=_now())

    def _prepare(self, kind: ReleaseKind, /) -> None:
        self._rollout = self._new_rollout(self._fleet, kind.again)

    @property
    def _goes_on(self) -> bool:
        """No host has refused, and nothing is being undone."""
        return not self._gone and not self._back

    @property
    def _over(self) -> bool:
        return self._rollout.over

    def _conclude(self) -> int | None:
        verdict = self._rollout.verdict()
        if self._wait and was_busy(verdict):
            return None
        self._fleet.report(verdict)
        return verdict.exit

    # What is sent

    def _always_queued(self) -> frozenset[str]:
        """The place at the host that is first by name is kept until its job runs: of two commands for the same hosts
        one gets them all. Who waits takes a place at all of them."""
        return frozenset(self._workers) if self._wait else frozenset({min(self._workers)})

    def _place(self, kind: ReleaseKind, facts: Mapping[str, Facts], /) -> dict[str, Placement]:
        self._sent = True
        number = number_of(facts)
        migrator = kind.migrator(self._fleet.hosts)
        return {
            host: Placement(
                number=number,
                barriers=barriers(host, migrator=migrator, migrates=bool(migrator)),
                migrator=migrator,
            )
            for host in facts
        }

    # What happens

    def _take(self, message: Message) -> None:
        super()._take(message)
        now = _now()
        match message:
            case HostMet(host=host, facts=facts):
                self._rollout.met(host, facts.current, now)
            case HostEvent(host=host, event=event):
                self._rollout.receive(host, event, now)
                self._release = str(event.get("release") or self._release)
            case HostFailed(host=host, error=error):
                exit = int(error.exit) if error.exit != Exit.BUG else int(Exit.REFUSED)
                self._rollout.refused(host, exit, error.message, now, next=error.next, logs=tuple(error.logs))
            case HostLost(host=host, error=error):
                self._rollout.lost(host, error.message, now)
            case HostStopped(host=host):
                self._rollout.lost(host, "it ended without a last word", now)  # after its last event: changes nothing
            case HookEnded(host=host, hook=hook, error=why):
                self._rollout.hook_ended(host, hook, why, now)

    def _hooked(self, host: str, hook: str, error: str) -> None:
        """In the thread of the hook."""
        self._inbox.put(HookEnded(host=host, hook=hook, error=error))

    def _step(self) -> None:
        self._look_after_all()
        self._give_orders()

    def _look_after_all(self) -> None:
        """Send a sign of life to every followed job, and give up hosts that are silent.

        Time in which this program read no messages is not counted as silence: a person may have thought about a Ctrl-C,
        or have closed the lid.
        """
        now = _now()
        if now - self._looked < BEAT:
            return
        away, self._looked = now - self._looked > 2 * BEAT, now
        self._give_signs()
        for host, worker in self._workers.items():
            if host in self._gone or worker.follower is None:
                continue
            if away:
                worker.silent_since = now
            silence = worker.silence(now)
            if silence > (DEAD if worker.followed else BEGINS):
                self._gone.add(host)
                worker.drop()
                self._rollout.lost(host, f"nothing was heard of it for {silence:.0f} s", now)
            elif silence > MUTE and worker.followed:
                worker.drop()

    def _give_signs(self) -> None:
        for host, worker in self._workers.items():
            if worker.followed and host not in self._gone:
                worker.say({"op": "hold"}, once=True)

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Sent by a thread meanwhile, so that no lease runs out while a person thinks."""
        over = threading.Event()

        def give() -> None:
            while not over.wait(BEAT):
                self._give_signs()

        threading.Thread(target=give, daemon=True, name="signs-of-life").start()
        try:
            yield
        finally:
            over.set()

    # What follows

    def _give_orders(self) -> None:
        for order in self._rollout.orders(_now()):
            worker = self._workers[order.host]
            if order.do == "go":
                worker.say({"op": "go", "barrier": order.barrier})
            elif order.do == "undo":
                self._back = True
                worker.undo(order.why)
            elif order.do == "call":
                worker.say({"op": "hold"}, once=True)
            else:
                self._hooks.begin(order.host, order.do)
        self._tell_of_the_bake()

    def _tell_of_the_bake(self) -> None:
        """Report the bake: nothing else happens until it is over."""
        if self._rollout.wake() is not None and not self._bakes:
            self._bakes = True
            first = f"{self._strategy.canary} host{'s' if self._strategy.canary > 1 else ''}"
            text = (
                f"{self._release} serves on {first}; the others follow in {self._strategy.bake:g} s if all stays well"
            )
            self._fleet.report(events.Note(text=text))

    def _on_signal(self, number: int) -> None:
        """The first Ctrl-C is asked about, or ends the release on all hosts; another one ends this program only."""
        if not self._sent or self._aborted:
            raise KeyboardInterrupt
        if number == signal.SIGINT and self._decide is not None:
            with self._signs_of_life():
                doing = f"{self._release or self._fleet.config.app} is being released on {len(self._workers)} hosts"
                decision = self._decide(doing)
            if decision is Decision.FOLLOW:
                return
            if decision is Decision.LEAVE:
                raise KeyboardInterrupt
        self._aborted = True
        if self._rollout.abort(f"aborted by {who()}", _now()):
            text = "the hosts are told to abort; they undo what they did"
        else:
            text = "too late to abort: the release was found good on all hosts"
        self._fleet.report(events.Note(text=text))

    def _interrupted(self) -> BaseException:
        if not self._sent:
            return Interrupted(message="interrupted while connecting", state="nothing was touched")
        state = "hosts that have not switched discard it within a minute; those that have keep it when it is good"
        if self._hooks.drained:
            state += f"; hooks.undrain is not run any more: look after {', '.join(sorted(self._hooks.drained))}"
        return Interrupted(
            message="interrupted here; the hosts go on by themselves", state=state, next=advice.run("fab status")
        )


def _now() -> float:
    return time.monotonic()

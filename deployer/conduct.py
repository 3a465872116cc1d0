"""One release on many hosts: a thread for each host follows its job, this one tells all of them what is to follow.

What is to follow is decided in :mod:`deployer.rollout`, which knows no threads and no connections; here they are.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from deployer import events, hooks
from deployer.errors import DeployerError, Exit, Interrupted
from deployer.events import FleetFinished
from deployer.fleet import Fleet
from deployer.inbox import Inbox
from deployer.model import Decision
from deployer.part import Happening, Part, Plan, Sending, Share
from deployer.remote import Facts, Over
from deployer.rollout import Order, Rollout, Strategy, barriers
from deployer.site import Site, who

__all__ = ["Campaign", "conduct"]

TICK = 0.5
"""Seconds after which time itself is something that happens."""
BEAT = 2.0
"""Seconds between two signs of life for hosts whose job waits: a fraction of its lease."""
MUTE = 15.0
"""Seconds without any answer after which the connection to a host is made anew."""
DEAD = 90.0
"""Seconds without any answer after which a host is given up."""


class Campaign(Protocol):
    """What is to be released: the use case. ``again`` is the command that would try once more."""

    @property
    def again(self) -> str: ...

    def agree(self, facts: Mapping[str, Facts]) -> None:
        """Raises ConfigError unless the hosts are of one mind, as far as they must be."""

    def migrator(self, hosts: Sequence[str], /) -> str:
        """The host that runs the migration; empty when there is none to run."""

    def sending(self, site: Site, facts: Facts, share: Share) -> Sending:
        """What goes to one host. Raises DeployerError. Called in that host's thread."""


def conduct(fleet: Fleet, campaign: Callable[[], Campaign], *, strategy: Strategy, wait: bool = False) -> FleetFinished:
    """Carry a release through a fleet; how it ended, which is reported, too.

    ``campaign`` is made while the connections are. Raises DeployerError for what is wrong here: nothing was touched.
    """
    conductor = _Conductor(fleet, strategy)
    try:
        return conductor.run(campaign(), wait=wait)
    finally:
        conductor.close()


class _Conductor:
    """One run. All but the threads of the hosts and their hooks happens in the thread that made it."""

    def __init__(self, fleet: Fleet, strategy: Strategy) -> None:
        self._fleet, self._strategy = fleet, strategy
        self._happenings: SimpleQueue[Happening | None] = SimpleQueue()
        self._inbox: Inbox[Happening] = Inbox(self._all())
        room = threading.BoundedSemaphore(min(max(fleet.parallel, 1), len(fleet.sites)))
        self._parts = {site.host: Part(site, self._happenings.put, room) for site in fleet.sites}
        self._facts: dict[str, Facts] = {}
        self._gone: set[str] = set()
        self._beaten = _now()
        self._interrupted = False
        self._release = ""
        self._rollout = self._course("fab deploy")
        for part in self._parts.values():
            part.begin()

    def close(self) -> None:
        """End all connections."""
        self._happenings.put(None)
        for part in self._parts.values():
            part.end()

    def run(self, campaign: Campaign, *, wait: bool) -> FleetFinished:
        self._rollout = self._course(campaign.again)
        self._hear_until(lambda: self._facts.keys() | self._gone >= self._parts.keys())
        if not self._gone:
            self._take_turns(campaign.again, wait=wait)
        if not self._gone:
            self._send(campaign)
        self._hear_until(lambda: self._rollout.over)
        verdict = self._rollout.verdict()
        self._fleet.report(verdict)
        return verdict

    def _course(self, again: str) -> Rollout:
        hooked = self._fleet.config.hooks
        return Rollout(
            self._fleet.hosts,
            strategy=self._strategy,
            hooks=bool(hooked.drain or hooked.undrain),
            again=again,
            now=_now(),
        )

    # What happens

    def _all(self) -> Iterator[Happening]:
        while True:
            try:
                happening = self._happenings.get(timeout=TICK)
            except Empty:
                happening = Happening(what="tick")
            if happening is None:
                return
            yield happening

    def _hear_until(self, enough: Callable[[], bool]) -> None:
        self._give_orders()
        while not enough():
            with self._inbox:
                for happening in self._inbox:
                    self._take(happening)
                    self._look_after_all()
                    self._give_orders()
                    if enough():
                        return
            self._on_signal(self._inbox.signal)
            self._give_orders()

    def _take(self, happening: Happening) -> None:
        host, now, error = happening.host, _now(), happening.error
        if happening.what == "met" and happening.facts is not None:
            self._facts[host] = happening.facts
            self._rollout.met(host, happening.facts.current, now)
        elif happening.what == "heard" and happening.event is not None:
            self._rollout.hear(host, happening.event, now)
            self._release = str(happening.event.get("release") or self._release)
        elif happening.what == "refused" and error is not None:
            self._refused(host, error)
        elif happening.what == "lost" and error is not None:
            self._gone.add(host)
            self._rollout.lost(host, error.message, now)
        elif happening.what == "ended":
            self._gone.add(host)
            self._rollout.lost(host, "it ended without a last word", now)  # heard before: then this changes nothing
        elif happening.what == "hooked":
            self._rollout.hooked(host, happening.do, error.message if error else "", now)

    def _refused(self, host: str, error: DeployerError) -> None:
        self._gone.add(host)
        exit = int(error.exit) if error.exit != Exit.BUG else int(Exit.REFUSED)
        self._rollout.refused(host, exit, error.message, _now(), next=error.next, logs=tuple(error.logs))

    def _look_after_all(self) -> None:
        """A sign of life for all whose job runs, and an eye on those that give none."""
        now = _now()
        if now - self._beaten < BEAT:
            return
        self._beaten = now
        for host, part in self._parts.items():
            if host in self._gone or not part.followed:
                continue
            silence = now - part.silent_since
            if silence > DEAD:
                self._gone.add(host)
                self._rollout.lost(host, f"nothing was heard of it for {silence:.0f} s", now)
            elif silence > MUTE:
                part.drop()
            part.say({"op": "hold"}, once=True)

    # What follows

    def _give_orders(self) -> None:
        for order in self._rollout.orders(_now()):
            part = self._parts[order.host]
            if order.do == "go":
                part.say({"op": "go", "barrier": order.barrier})
            elif order.do == "undo":
                part.undo(order.why)
            elif order.do == "call":
                part.say({"op": "hold"}, once=True)
            else:
                threading.Thread(target=self._hook, args=(order,), daemon=True, name="hook").start()

    def _hook(self, order: Order) -> None:
        host, hooked, started = order.host, self._fleet.config.hooks, _now()
        phase = f"hooks.{order.do}"
        argv = hooked.drain_of(host) if order.do == "drain" else hooked.undrain_of(host)
        error = ""
        if argv:
            self._fleet.report(events.PhaseStarted(host=host, phase=phase))
            error = hooks.run(argv, timeout=hooked.timeout)
            kind = events.PhaseFailed if error else events.PhaseDone
            self._fleet.report(kind(host=host, phase=phase, seconds=_now() - started, detail=error))
        failure = DeployerError(message=error, host=host) if error else None
        self._happenings.put(Happening(what="hooked", host=host, do=order.do, error=failure))

    def _take_turns(self, again: str, *, wait: bool) -> None:
        """A place in the line of the host that is first by name, kept until its job runs: of two commands for the same
        hosts one gets them all. Who waits stands in the lines in the order of names: no two wait for each other."""
        gate, waited = min(self._parts), False
        for host in sorted(self._parts):
            if host != gate and self._facts[host].busy is None:
                continue
            part = self._parts[host]
            if part.remote is None:
                continue
            try:
                if not wait:
                    part.remote.refuse_if_busy(self._facts[host], patient=f"{again} --wait")
                waited = waited or self._facts[host].busy is not None
                part.remote.wait(f"{again} --wait", queue=wait)
            except Over as over:
                self._refused(host, part.refusal(over))
                part.undo("")
            except Interrupted:
                raise
            except DeployerError as error:
                part.fail(error)
                self._refused(host, error)
                part.undo("")
        if waited and not self._gone:
            for host, part in self._parts.items():
                if part.remote is not None:
                    self._facts[host] = part.remote.ask()

    def _send(self, campaign: Campaign) -> None:
        campaign.agree(self._facts)
        number = max(facts.next for facts in self._facts.values())
        migrator = campaign.migrator(self._fleet.hosts)
        for host, part in self._parts.items():
            waits = barriers(host, migrator=migrator, migrates=bool(migrator))
            share = Share(number=number, barriers=waits, migrator=migrator)
            part.send(_plan(campaign, self._facts[host], share))

    # How

    def _on_signal(self, number: int) -> None:
        """The first Ctrl-C is asked about, or ends the release on all hosts; another one ends this program only."""
        if self._interrupted:
            raise self._left()
        decide = self._fleet.decide
        if number == signal.SIGINT and decide is not None:
            decision = decide(f"{self._doing} on {len(self._parts)} hosts")
            if decision is Decision.FOLLOW:
                return
            if decision is Decision.LEAVE:
                raise self._left()
        self._interrupted = True
        if self._rollout.give_up(f"aborted by {who()}", _now()):
            text = "the hosts are told to abort; they undo what they did"
        else:
            text = "too late to abort: the release was found good on all hosts"
        self._fleet.report(events.Note(text=text))

    @property
    def _doing(self) -> str:
        return f"{self._release or self._fleet.config.app} is being released"

    def _left(self) -> Interrupted:
        return Interrupted(
            message="interrupted here; the hosts go on by themselves",
            state="hosts that have not switched discard it within a minute; those that have keep it when it is good",
            next="fab status",
        )


def _plan(campaign: Campaign, facts: Facts, share: Share) -> Plan:
    return lambda site: campaign.sending(site, facts, share)


def _now() -> float:
    return time.monotonic()

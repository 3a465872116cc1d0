"""One release on many hosts: a thread for each host follows its job, this one tells all of them what is to follow.

What is to follow is decided in :mod:`deployer.rollout`, which knows no threads and no connections; here they are.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from deployer import events
from deployer.errors import DeployerError, Exit, Interrupted
from deployer.events import FleetFinished
from deployer.fleet.hooks import Hooks
from deployer.fleet.hosts import Fleet
from deployer.fleet.worker import Happening, Part
from deployer.model import Decision
from deployer.release.placement import Campaign, Plan, Share, number_of
from deployer.remote.inbox import Inbox
from deployer.remote.session import Facts, Over, Remote
from deployer.remote.site import who
from deployer.rollout import Rollout, Strategy, barriers
from deployer.wire import advice

__all__ = ["conduct", "was_busy"]

TICK = 0.5
"""Seconds after which time itself is something that happens."""
BEAT = 2.0
"""Seconds between two signs of life for hosts whose job waits: a fraction of its lease."""
MUTE = 15.0
"""Seconds without any answer after which the connection to a host is made anew."""
DEAD = 90.0
"""Seconds without any answer after which a host is given up."""
BEGINS = 300.0
"""Seconds that a host has to begin with its job once nothing more is sent to it: what was sent may still be on its way
over a slow line. The host's own patience with a laptop is the same."""


def conduct(fleet: Fleet, campaign: Callable[[], Campaign], *, strategy: Strategy, wait: bool = False) -> FleetFinished:
    """Carry a release through a fleet; how it ended, which is reported, too.

    ``campaign`` is made while the connections are. Raises DeployerError for what is wrong here: nothing was touched.
    With ``wait`` the end is not reported when somebody :func:`was quicker <was_busy>`: it is to be tried again.
    """
    conductor = _Conductor(fleet, strategy)
    try:
        return conductor.run(campaign(), wait=wait)
    finally:
        conductor.close()


def was_busy(verdict: FleetFinished) -> bool:
    """Whether that somebody was quicker on a host is all that stood in the way: on others it may have begun by then."""
    results = {end.result for end in verdict.hosts}
    return verdict.exit in (Exit.BUSY, Exit.REFUSED) and "busy" in results <= {"busy", "untouched", "discarded"}


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
        self._looked = _now()
        self._back = self._interrupted = self._bakes = self._sent = False
        self._hooks = Hooks(fleet.config.hooks, fleet.report, self._hooked)
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
        if self._goes_on:
            self._take_turns(campaign.again, wait=wait)
        if self._goes_on:
            self._send(campaign)
        self._hear_until(lambda: self._rollout.over)
        verdict = self._rollout.verdict()
        if wait and was_busy(verdict):
            self._fleet.report(events.Note(text="another command was quicker; waiting for it"))
        else:
            self._fleet.report(verdict)
        return verdict

    @property
    def _goes_on(self) -> bool:
        """No host has said no yet, and nobody has given up."""
        return not self._gone and not self._back

    def _course(self, again: str) -> Rollout:
        return Rollout(
            self._fleet.hosts,
            strategy=self._strategy,
            hooks=self._hooks.any,
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

    def _tell_of_the_bake(self) -> None:
        """For so long nothing will happen: that is worth a line."""
        if self._rollout.wake() is not None and not self._bakes:
            self._bakes = True
            first = f"{self._strategy.canary} host{'s' if self._strategy.canary > 1 else ''}"
            text = (
                f"{self._release} serves on {first}; the others follow in {self._strategy.bake:g} s if all stays well"
            )
            self._fleet.report(events.Note(text=text))

    def _hooked(self, host: str, do: str, error: str) -> None:
        """In the thread of the hook."""
        failure = DeployerError(message=error, host=host) if error else None
        self._happenings.put(Happening(what="hooked", host=host, do=do, error=failure))

    def _refused(self, host: str, error: DeployerError) -> None:
        self._gone.add(host)
        exit = int(error.exit) if error.exit != Exit.BUG else int(Exit.REFUSED)
        self._rollout.refused(host, exit, error.message, _now(), next=error.next, logs=tuple(error.logs))

    def _look_after_all(self) -> None:
        """A sign of life for all whose job runs, and an eye on those that give none.

        What was not listened to is no silence: a person may have thought about a Ctrl-C, or have closed the lid.
        """
        now = _now()
        if now - self._looked < BEAT:
            return
        away, self._looked = now - self._looked > 2 * BEAT, now
        self._give_signs()
        for host, part in self._parts.items():
            if host in self._gone or not part.sent:
                continue
            if away:
                part.silent_since = now
            silence = part.silence(now)
            if silence > (DEAD if part.followed else BEGINS):
                self._gone.add(host)
                part.drop()
                self._rollout.lost(host, f"nothing was heard of it for {silence:.0f} s", now)
            elif silence > MUTE and part.followed:
                part.drop()

    def _give_signs(self) -> None:
        for host, part in self._parts.items():
            if part.followed and host not in self._gone:
                part.say({"op": "hold"}, once=True)

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Meanwhile they are given by a thread: no lease runs out while a person thinks."""
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
            part = self._parts[order.host]
            if order.do == "go":
                part.say({"op": "go", "barrier": order.barrier})
            elif order.do == "undo":
                self._back = True
                part.undo(order.why)
            elif order.do == "call":
                part.say({"op": "hold"}, once=True)
            else:
                self._hooks.begin(order.host, order.do)
        self._tell_of_the_bake()

    def _take_turns(self, again: str, *, wait: bool) -> None:
        """A place in the line of the host that is first by name, kept until its job runs: of two commands for the same
        hosts one gets them all. Who waits stands in the lines of all, in the order of names: no two wait for each
        other, and what the hosts said before is old by then."""
        hosts = sorted(self._parts)
        for host in hosts:
            if wait or host == hosts[0] or self._facts[host].busy is not None:
                with self._ends(host) as remote:
                    if not wait:
                        remote.refuse_if_busy(self._facts[host], patient=f"{again} --wait")
                    remote.wait(f"{again} --wait", queue=wait)
            if wait and self._gone:
                return
        for host in hosts if wait else ():
            with self._ends(host) as remote:
                self._facts[host] = remote.ask()

    @contextmanager
    def _ends(self, host: str) -> Iterator[Remote]:
        """The session of a host that has been met. What goes wrong with it is that host's end."""
        part = self._parts[host]
        try:
            yield part.session
        except Over as over:
            self._refused(host, part.refusal(over))
            part.undo("")
        except Interrupted:
            raise
        except DeployerError as error:
            part.fail(error)
            self._refused(host, error)
            part.undo("")

    def _send(self, campaign: Campaign) -> None:
        self._sent = True
        facts = {host: self._facts[host] for host in self._parts}  # as they were named, not as they answered
        campaign.agree(facts)
        number = number_of(facts)
        migrator = campaign.migrator(self._fleet.hosts)
        for host in sorted(self._parts):  # the one whose line all others stand in begins first
            waits = barriers(host, migrator=migrator, migrates=bool(migrator))
            share = Share(number=number, barriers=waits, migrator=migrator)
            self._parts[host].send(_plan(campaign, facts[host], share))

    # How

    def _on_signal(self, number: int) -> None:
        """The first Ctrl-C is asked about, or ends the release on all hosts; another one ends this program only."""
        if not self._sent:
            raise Interrupted(message="interrupted while connecting", state="nothing was touched")
        if self._interrupted:
            raise self._left()
        decide = self._fleet.decide
        if number == signal.SIGINT and decide is not None:
            with self._signs_of_life():
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
        state = "hosts that have not switched discard it within a minute; those that have keep it when it is good"
        if self._hooks.drained:
            state += f"; hooks.undrain is not run any more: look after {', '.join(sorted(self._hooks.drained))}"
        return Interrupted(
            message="interrupted here; the hosts go on by themselves", state=state, next=advice.run("fab status")
        )


def _plan(campaign: Campaign, facts: Facts, share: Share) -> Plan:
    return lambda site: campaign.sending(site, facts, share)


def _now() -> float:
    return time.monotonic()

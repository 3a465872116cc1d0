"""The coordinator of a command: a thread for each of N >= 1 hosts follows its job, this one takes what they tell.

Here the hosts do not wait for each other, so that each job ends by itself when this machine vanishes: a fleet of one,
and whatever follows jobs. Hosts that switch together are in :mod:`deployer.fleet.release`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from deployer.errors import DeployerError, Exit, Interrupted
from deployer.fleet.hosts import Fleet, HostResult
from deployer.fleet.messages import HostFailed, HostLost, HostMet, HostStopped, Inbox, Message
from deployer.fleet.results import conclude
from deployer.fleet.worker import HostWorker, Plan
from deployer.release.placement import Payload, Placement, ReleaseKind, number_of
from deployer.remote.decision import Decision
from deployer.remote.facts import Facts
from deployer.remote.refusals import refuse_if_busy, refuse_if_locked
from deployer.remote.session import Edit, Outcome, Over, Remote
from deployer.remote.site import Site, untouched

__all__ = ["Coordinator", "follow"]

TICK = 0.5
"""Seconds without a message after which there is one: that time has passed."""


def follow(fleet: Fleet, plan: Plan, *, asks: bool = False, parallel: int = 0) -> tuple[HostResult[Outcome], ...]:
    """Send what ``plan`` makes to every host, and follow what runs there; how it ended on each, in the fleet's order.

    What goes wrong on one host is reported, is that host's end, and stops no other; of a single host it is not
    reported. ``asks``: a person who presses Ctrl-C may abort the job. ``parallel``: in place of the fleet's.
    """
    coordinator = Coordinator(fleet, asks=asks, parallel=parallel)
    try:
        return coordinator.follow(plan)
    finally:
        coordinator.close()


class Coordinator:
    """One run. All but the threads of the hosts happens in the thread that made it.

    ``alone``: errors are raised, and not reported (default: those of a single host).
    """

    def __init__(self, fleet: Fleet, *, asks: bool = True, parallel: int = 0, alone: bool | None = None) -> None:
        self._fleet, self._decide = fleet, fleet.decide if asks else None
        self._inbox = Inbox(TICK)
        room = threading.BoundedSemaphore(min(max(parallel or fleet.parallel, 1), len(fleet.sites)))
        alone = len(fleet.sites) == 1 if alone is None else alone
        self._workers = {site.host: HostWorker(site, self._inbox.put, room, alone=alone) for site in fleet.sites}
        self._facts: dict[str, Facts] = {}
        self._gone: set[str] = set()
        self._wait = False
        for worker in self._workers.values():
            worker.connect()

    def close(self) -> None:
        """End all connections."""
        for worker in self._workers.values():
            worker.leave()

    def follow(self, plan: Plan) -> tuple[HostResult[Outcome], ...]:
        """See :func:`follow`."""
        with self._stopped_by_ctrl_c():
            for worker in self._workers.values():
                worker.ask()
                worker.send(plan)
            self._run_until(lambda: self._gone >= self._workers.keys())
        return tuple(worker.ended for worker in self._workers.values())

    def release(self, make: Callable[[], ReleaseKind], *, wait: bool) -> int | None:
        """Carry a release to all hosts; the exit code. None: another command was quicker, and with ``wait`` that is
        reported as no failure.

        The release is made while the connections are. Raises DeployerError for what is wrong with it.
        """
        self._wait = wait
        with untouched(doing="the code was read"):
            kind = make()
        with self._stopped_by_ctrl_c():
            self._prepare(kind)
            for worker in self._workers.values():
                worker.ask()
            self._run_until(lambda: self._facts.keys() | self._gone >= self._workers.keys())
            self._refuse_locked()
            if self._goes_on:
                self._queue(f"{kind.again} --wait")
            if self._goes_on:
                self._send(kind)
            self._run_until(lambda: self._over)
        return self._conclude()

    # What depends on whether the hosts wait for each other

    def _prepare(self, _: ReleaseKind, /) -> None:
        """The release is known, and no host was asked yet."""

    @property
    def _goes_on(self) -> bool:
        """There are hosts to which something is to be sent."""
        return not self._gone >= self._workers.keys()

    @property
    def _over(self) -> bool:
        return self._gone >= self._workers.keys()

    def _place(self, _: ReleaseKind, facts: Mapping[str, Facts], /) -> dict[str, Placement]:
        """What the release is on each host. One host numbers it by itself."""
        placement = Placement(number=number_of(facts)) if len(self._workers) > 1 else Placement()
        return dict.fromkeys(facts, placement)

    def _always_queued(self) -> frozenset[str]:
        """Hosts in whose queues a place is taken though nobody is at work there. None: one job alone is kept from the
        others by its host."""
        return frozenset()

    def _take(self, message: Message) -> None:
        match message:
            case HostMet(host=host, facts=facts):
                self._facts[host] = facts
            case HostFailed(host=host) | HostLost(host=host) | HostStopped(host=host):
                self._gone.add(host)

    def _step(self) -> None:
        """What follows from what was taken."""

    def _on_signal(self, number: int) -> None:
        """A person is asked what Ctrl-C means once the only host may be at work. Else it stops this program."""
        follower = next(iter(self._workers.values())).follower
        asks = number == signal.SIGINT and self._decide is not None and len(self._workers) == 1
        if not asks or self._decide is None or follower is None or not follower.begun or follower.aborted:
            raise KeyboardInterrupt
        decision = self._decide(follower.doing)
        if decision is Decision.LEAVE:
            raise KeyboardInterrupt
        if decision is Decision.ABORT:
            follower.abort()

    def _interrupted(self) -> BaseException:
        """What a Ctrl-C that stops this program is told as. Of several hosts it is not known what each has begun."""
        first, *others = self._workers.values()
        return KeyboardInterrupt() if others else first.interrupted()

    def _conclude(self) -> int | None:
        ends = [worker.ended for worker in self._workers.values()]
        if self._wait and all(end.value is not None and end.value.exit == Exit.BUSY for end in ends):
            return None
        return conclude(self._fleet, ends, exit_of=lambda outcome: int(outcome.exit))

    # How

    def _run_until(self, enough: Callable[[], bool]) -> None:
        self._step()
        while not enough():
            with self._inbox:
                for message in self._inbox:
                    self._take(message)
                    self._step()
                    if enough():
                        return
            self._on_signal(self._inbox.signal)
            self._step()

    @contextmanager
    def _stopped_by_ctrl_c(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            raise self._interrupted() from None

    def _refuse_locked(self) -> None:
        """A host on which deploys are locked has no part in this one, however long it would wait."""
        for host in sorted(self._facts):
            with self._ends(host) as remote:
                refuse_if_locked(remote, self._facts[host])

    def _queue(self, patient: str) -> None:
        """A place in the queue of each host that is busy; with ``wait`` it is waited for, else Busy is the host's end.

        What the hosts said before is old by then: code, numbers and the tree to build on may have changed. All who
        wait take their places in the order of the hosts' names, so that no two wait for each other.
        """
        since: dict[str, float] = {}
        for host in sorted(self._facts):
            if self._facts[host].busy is not None or host in self._always_queued():
                since[host] = time.monotonic()
                with self._ends(host) as remote:
                    if not self._wait:
                        refuse_if_busy(remote, self._facts[host], patient=patient)
                    remote.wait(patient, queue=self._wait)
            if self._wait and self._gone:
                return
        for host in since if self._wait else ():
            with self._ends(host) as remote:
                before, self._facts[host] = self._facts[host], remote.ask()
                if before.busy is not None:
                    self._workers[host].waited(time.monotonic() - since[host], self._facts[host])

    @contextmanager
    def _ends(self, host: str) -> Iterator[Remote]:
        """The session of a host that has been met. What goes wrong with it is that host's end."""
        worker = self._workers[host]
        try:
            yield worker.session
        except Interrupted:
            raise
        except (Over, DeployerError) as error:
            self._take(HostFailed(host=host, error=worker.fail(error)))

    def _send(self, kind: ReleaseKind) -> None:
        facts = {host: self._facts[host] for host in self._workers if host not in self._gone}  # as they were named
        kind.agree(facts)
        placed = self._place(kind, facts)
        for host in sorted(facts):  # the one in whose queue all others are begins first
            self._workers[host].send(_plan(kind, facts[host], placed[host], tries_again=self._wait and len(facts) == 1))


def _plan(kind: ReleaseKind, facts: Facts, placement: Placement, *, tries_again: bool) -> Plan:
    """``tries_again``: that another command was quicker is no failure of this one."""

    def plan(site: Site, *_: object) -> Payload:
        payload = kind.payload(site, facts, placement)
        return replace(payload, edit=_without_busy(payload.edit)) if tries_again else payload

    return plan


def _without_busy(edit: Edit) -> Edit:
    def edited(event: dict[str, Any]) -> dict[str, Any] | None:
        refused = event["event"] in ("failed", "finished") and event.get("exit") == Exit.BUSY
        return None if refused else edit(event)

    return edited

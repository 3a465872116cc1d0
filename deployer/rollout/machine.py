"""The state machine of a rollout: which orders follow from the events of all hosts so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployer.events import FleetFinished, HostEnd
from deployer.rollout import verdict
from deployer.rollout.member import Ending, HookState, Member
from deployer.rollout.verdict import RolloutEnd
from deployer.rollout.waves import Strategy, waves
from deployer.wire.advice import NOTHING, Next
from deployer.wire.lazydata import dataclass

__all__ = ["Order", "Rollout"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """A message to a host (``go`` past its ``barrier``, ``undo``), or a hook to run for it.

    ``do`` is one of go, undo, call, drain, undrain. A call asks for a sign of life, which comes back as the event
    ``holding``; it may be repeated. ``why`` is the reason of an undo: the host that failed, and how.
    """

    host: str
    do: str
    barrier: str = ""
    why: str = ""


class Rollout:
    """One release on a fleet. Report what happens, then ask for the orders that follow from it.

    Every method takes ``now``, in seconds of any clock that only goes forward. An order is given once, and then counts
    as received: the caller repeats one that a broken connection may have lost, or reports the host as ``lost``. Events
    of a host that is over change nothing. ``hooks``: run drain and undrain hooks; there are none where all hosts switch
    at once. ``again`` is the command that would try again.
    Raises ConfigError for a strategy that makes no sense.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        strategy: Strategy,
        hooks: bool = False,
        again: str = "fab deploy",
        now: float = 0.0,
    ) -> None:
        self._members = {host: Member(host=host) for host in hosts}
        self._waves = [[self._members[host] for host in wave] for wave in waves(hosts, strategy)]
        self._strategy = strategy
        self._hooks = hooks and len(self._waves) > 1
        self._again = again
        self._began = self._now = now
        self._bake_until: float | None = None
        self._why = self._cause = self._aborted = ""

    # What happens

    def met(self, host: str, serving: str, now: float) -> None:
        """It was asked what it serves; nothing has begun on it."""
        self._now = now
        self._members[host].serving = serving

    def receive(self, host: str, event: Mapping[str, Any], now: float) -> None:
        """An event of the host, as it came over the channel."""
        member = self._open(host, now)
        if member is None:
            return
        member.receive(event)
        if member.over and member.exit and not member.undone:
            self._fail(member, member.message)

    def lost(self, host: str, why: str, now: float) -> None:
        """The connection broke, or the host was silent for too long, when its job may have begun; it is given up.

        That is a failure of the release unless the host had been told to switch by then.
        """
        member = self._open(host, now)
        if member is None:
            return
        failed = member.seen_to_fail or not member.may_have_switched
        member.ending, member.seconds = Ending.LOST, now - self._began
        member.message = f"{member.message}; then {why}" if member.message else why
        if failed and not member.undone:
            self._fail(member, member.message)

    def refused(
        self, host: str, exit: int, why: str, now: float, *, next: Next = NOTHING, logs: Sequence[str] = ()
    ) -> None:
        """Its job has not begun, and will not: ``exit`` tells whether it is unreachable, busy, badly configured, ….

        A host that is told to undo before its job has begun is ended by this, too, with any exit code.
        """
        member = self._open(host, now)
        if member is None:
            return
        member.ending, member.exit, member.seconds = Ending.REFUSED, exit, now - self._began
        member.message, member.next, member.logs = why, next, tuple(logs)
        if not member.undone:
            self._fail(member, why)

    def hook_ended(self, host: str, do: str, error: str, now: float) -> None:
        """A hook that was ordered (``do``: drain, undrain) has ended: well when ``error`` is empty.

        An undrain that fails while other hosts have yet to be drained is a failure of the release: each wave would
        take more hosts out of the load balancer. Else it is a warning: the host serves.
        """
        self._now = now
        member = self._members[host]
        setattr(member, do, HookState.ENDED)
        if not error:
            return
        member.notes.append(f"hooks.{do} failed: {error}")
        more = any(not other.over and not other.may_have_switched for other in self._members.values())
        if not self._why and (do == "drain" or more):
            self._fail(member, member.notes[-1])

    def abort(self, why: str, now: float) -> bool:
        """A person ends it (``aborted by ada@laptop``). False: too late, nothing can be taken back any more."""
        self._now = now
        if not any("keep" not in member.told for member in self._live()):
            return False
        if not self._why or self._keeps_going:
            self._aborted = why
        if not self._why:
            self._why = self._cause = why
        return True

    # What follows

    def orders(self, now: float) -> list[Order]:
        """What is to be told to whom now."""
        self._now = now
        self._require_proof()
        orders = self._back() if self._why else self._forward()
        return [*orders, *self._undrain()]

    def wake(self) -> float | None:
        """When the orders may be other ones though nothing has happened: at the end of the canary's time."""
        if self._why or self._bake_until is None or self._now >= self._bake_until:
            return None
        return self._bake_until

    @property
    def over(self) -> bool:
        """Every host and every hook has ended."""
        return all(member.over and member.quiet for member in self._members.values())

    def ends(self) -> tuple[HostEnd, ...]:
        """How it ended on every host, in the order in which they were named. One that is not over counts as lost."""
        return self.verdict().hosts

    def verdict(self) -> FleetFinished:
        """How it ended on all of them together."""
        end = RolloutEnd(
            members=tuple(self._members.values()),
            why=self._why,
            cause=self._cause,
            aborted=self._aborted,
            kept_going=self._keeps_going,
            again=self._again,
            seconds=self._now - self._began,
        )
        return verdict.of(end)

    # How

    def _open(self, host: str, now: float) -> Member | None:
        self._now = now
        member = self._members[host]
        return None if member.over else member

    def _live(self) -> list[Member]:
        return [member for member in self._members.values() if not member.over]

    def _fail(self, member: Member, why: str) -> None:
        member.fault = member.fault or why
        if not self._why:
            named = why.startswith(f"{member.host} ")  # as in "web1 can't be reached"
            self._why, self._cause = why if named else f"{member.host}: {why}", member.host

    @property
    def _keeps_going(self) -> bool:
        return bool(self._why) and self._strategy.keep_going and not self._aborted

    def _require_proof(self) -> None:
        """Fail when every host that was told to switch was lost: nothing shows then that the release is good."""
        told = [member for member in self._members.values() if member.may_have_switched]
        if self._why or not told or not all(member.ending is Ending.LOST for member in told):
            return
        if any(not member.may_have_switched for member in self._live()):
            self._cause = told[-1].host
            self._why = f"{self._cause}: {told[-1].message}; no host is left that shows whether the release is good"

    def _forward(self) -> list[Order]:
        orders = []
        for barrier in ("migrate", "check"):
            if self._all_reached(barrier):
                orders += _go(barrier, self._members.values())
        return orders or (self._roll() if self._all_reached("switch") else [])

    def _all_reached(self, barrier: str) -> bool:
        return all(member.over or member.reached(barrier) for member in self._members.values())

    def _roll(self) -> list[Order]:
        """Wave by wave; the first one that is not where it should be holds up all that follows."""
        for wave in self._waves:
            untold = [member for member in wave if not member.over and not member.may_have_switched]
            if untold:
                return self._switch(untold)
            last = wave is self._waves[-1]
            if not all(member.settled and (last or member.quiet) for member in wave):
                return []
            if wave is self._waves[0] and not self._has_baked():
                return []
        return _go("keep", self._members.values())

    def _switch(self, wave: list[Member]) -> list[Order]:
        if not self._hooks:
            return self._switch_if_all_answer(wave)
        fresh = [member for member in wave if member.drain is HookState.IDLE]
        for member in fresh:
            member.drain = HookState.RUNS
        if fresh:
            return [Order(host=member.host, do="drain") for member in fresh]
        return self._switch_if_all_answer(wave) if all(member.drain is HookState.ENDED for member in wave) else []

    def _switch_if_all_answer(self, wave: list[Member]) -> list[Order]:
        """The roll call: a host that was ready may have vanished. Order the switch only when all hosts answer now."""
        uncalled = [member for member in self._live() if not member.called]
        for member in uncalled:
            member.called, member.answered = True, False
        if uncalled:
            return [Order(host=member.host, do="call") for member in uncalled]
        if not all(member.answered for member in self._live()):
            return []
        for member in self._live():
            member.called = False
        return _go("switch", wave)

    def _has_baked(self) -> bool:
        if self._bake_until is None:
            self._bake_until = self._now + self._strategy.bake
        return self._now >= self._bake_until

    def _back(self) -> list[Order]:
        """Undo on every host that can go back, except (``keep_going``) on those whose release is good."""
        orders: list[Order] = []
        for member in self._live():
            stays = self._keeps_going and member.may_have_switched
            if member.undone or member.failing or "keep" in member.told or stays:
                continue
            member.undone = True
            orders.append(Order(host=member.host, do="undo", why=self._why))
        switched = [member for member in self._members.values() if member.may_have_switched]
        if self._keeps_going and all(member.settled for member in switched):
            orders += _go("keep", switched)
        return orders

    def _undrain(self) -> list[Order]:
        """A host that was drained is undrained in any case: when its release is good, or when it is over."""
        orders = []
        for member in self._members.values():
            ready = member.over or (member.stands_good and not member.undone)
            if ready and member.drain is HookState.ENDED and member.undrain is HookState.IDLE:
                member.undrain = HookState.RUNS
                orders.append(Order(host=member.host, do="undrain"))
        return orders


def _go(barrier: str, members: Iterable[Member]) -> list[Order]:
    """Go, for every member that waits at the barrier."""
    orders = []
    for member in members:
        if member.at == barrier and not member.over:
            member.at = ""
            member.told.append(barrier)
            orders.append(Order(host=member.host, do="go", barrier=barrier))
    return orders

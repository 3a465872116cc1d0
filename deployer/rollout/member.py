"""One host of a rollout: what it has said, what it was told, and what can be known of it from that."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from deployer.errors import Exit
from deployer.rollout.waves import BARRIERS
from deployer.wire.advice import NOTHING, Next
from deployer.wire.lazydata import dataclass

__all__ = ["Ending", "HookState", "Member"]


class Ending(enum.Enum):
    """How a host ended: by its last event, without one, or before its job had begun."""

    FINISHED = "finished"
    LOST = "lost"
    REFUSED = "refused"


class HookState(enum.Enum):
    """How far a host's ``hooks.drain`` or ``hooks.undrain`` is."""

    IDLE = "idle"
    RUNS = "runs"
    ENDED = "ended"


@dataclass(kw_only=True)
class Member:
    """What is known of one host.

    ``called``: it was asked for a sign of life, which is there when it has ``answered``.
    ``at`` is the barrier at which it stands, ``told`` are those past which it was told to go; ``undone``: it was told
    to give up. ``failing``: a phase has failed, or its job was cut short, and its last event is awaited. ``fault`` says
    why this host is a reason for the fleet to go back; ``message``, ``next`` and ``logs`` are what it, or the
    connection to it, had to say. ``serving`` is what it was last seen to serve (empty: nothing; None: nobody has
    asked). ``notes`` are warnings.
    """

    host: str
    serving: str | None = None
    release: str = ""
    begun: bool = False
    migrated: bool = False
    switched: bool = False
    failing: bool = False
    at: str = ""
    called: bool = False
    answered: bool = False
    told: list[str] = field(default_factory=list)
    undone: bool = False
    drain: HookState = HookState.IDLE
    undrain: HookState = HookState.IDLE
    ending: Ending | None = None
    exit: int = 0
    fault: str = ""
    message: str = ""
    next: Next = NOTHING
    logs: tuple[str, ...] = ()
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """It has ended."""
        return self.ending is not None

    @property
    def quiet(self) -> bool:
        """No hook of it runs or has to be run."""
        return self.drain is HookState.IDLE or self.undrain is HookState.ENDED

    @property
    def may_have_switched(self) -> bool:
        """True once the switch order was sent, acknowledged or not."""
        return "switch" in self.told

    @property
    def stands_good(self) -> bool:
        """It serves the new release, and its watch has found nothing wrong."""
        return self.at == "keep" or "keep" in self.told

    @property
    def settled(self) -> bool:
        """No other host has to wait for it any more."""
        return self.over or self.stands_good

    @property
    def seen_to_fail(self) -> bool:
        """The host itself has said that it failed or went back, so that losing it now takes nothing from that."""
        return bool(self.message) or (self.switched and bool(self.release) and self.serving != self.release)

    def reached(self, barrier: str) -> bool:
        """It stands there, or has been told to go past it or a later one."""
        place = BARRIERS.index(barrier)
        return any(BARRIERS.index(passed) >= place for passed in (*self.told, self.at) if passed)

    def receive(self, event: Mapping[str, Any]) -> None:
        """An event of the host's own; what does not matter here, or comes twice, changes nothing."""
        match event.get("event"):
            case "following":
                self.begun = True
            case "phase.started":
                self.begun, self.failing = True, False
                self.release = str(event.get("release") or self.release)
                self.migrated = self.migrated or event.get("phase") == "migrate"
            case "phase.failed" | "recovering":
                self.failing, self.at = True, ""
            case "holding":
                self.answered = True
            case "ready":
                self._ready(str(event.get("phase")), str(event.get("release") or ""))
            case "switched":
                self.begun = self.switched = True
                self.serving = str(event.get("to") or "")
            case "failed":
                self.message = str(event.get("message") or "")
                self.next = Next.told(event)
                self.logs = tuple(str(line) for line in event.get("logs") or ())
            case "finished":
                self._finished(event)

    def _ready(self, barrier: str, release: str) -> None:
        self.begun, self.failing = True, False
        self.release = release or self.release
        if barrier in BARRIERS and not self.reached(barrier):  # else it is told again by a new connection
            self.at = barrier

    def _finished(self, event: Mapping[str, Any]) -> None:
        self.exit = int(event.get("exit", Exit.BUG))  # a missing exit status is a failure
        self.ending = Ending.FINISHED if self.begun or not self.exit else Ending.REFUSED
        self.release = str(event.get("release") or self.release)
        self.serving = str(event.get("serving") or "")
        self.seconds = float(event.get("seconds") or 0.0)
        self.message = self.message or str(event.get("summary") or "")

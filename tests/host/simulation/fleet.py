"""The laptop of a fleet, seen from one of its hosts: what is said, or befalls, while its job stands at a barrier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.host.session.session import Session
from deployer.host.state import jobs

from .clock import Clock
from .programs import Process, Programs

GO, UNDO, LATE, NOTHING = "go", "undo", "go, much later", "nothing"
"""What the laptop says. With NOTHING it is dead from then on: no sign of it comes any more."""
KILLED, SHUT_DOWN, NO_POWER = "the job is killed", "the host goes down", "the power goes"
WORDS = (GO, UNDO, LATE, NOTHING, KILLED, SHUT_DOWN, NO_POWER)

WHY = "web2: it failed there"
_LOOK, _SIGN, _LONG = 0.5, 5.0, 100.0
"""Seconds between two looks for what the job has said, between two signs of life, and longer than any lease."""


class Laptop:
    """``words`` is what comes at a barrier; GO where it says nothing. ``number`` is that of the fleet's release."""

    def __init__(self, clock: Clock, programs: Programs, words: Mapping[str, str], number: int) -> None:
        self.number = number
        self._clock, self._programs, self._words = clock, programs, words
        self._answered: set[str] = set()
        self._signed = 0.0

    def follow(self, session: Session, directory: Path) -> None:
        """Stands in for ``Session._receive_signals``: what comes in is read by a thread of the session's program."""
        session._over = True
        process = self._programs.active
        assert process is not None
        self._signed = self._clock.now
        self._clock.later(_LOOK, lambda: self._look(session, directory, process))

    def _look(self, session: Session, directory: Path, process: Process) -> None:
        followed = not process.dead and any(one is process for one in self._programs.stack)
        if not followed or jobs.glance(directory).finished:
            return
        ready = (event["phase"] for event in jobs.events_of(directory) if event["event"] == "ready")
        for barrier in [one for one in ready if one not in self._answered]:
            self._answered.add(barrier)
            if not self._at(barrier, lambda message: self._say(session, directory, process, message)):
                return
        if self._clock.now - self._signed >= _SIGN:
            self._signed = self._clock.now
            self._say(session, directory, process, {"op": "hold"})
        self._clock.later(_LOOK, lambda: self._look(session, directory, process))

    def _at(self, barrier: str, say: Any) -> bool:
        """What comes at a barrier; False when the laptop says nothing any more."""
        word = self._words.get(barrier, GO)
        go = {"op": "go", "barrier": barrier}
        if word == GO:
            say(go)
        elif word == UNDO:
            say({"op": "undo", "by": "ada@laptop", "why": WHY})
        elif word == LATE:
            self._clock.later(_LONG, lambda: say(go))
        else:
            self._befall(word)
        return word != NOTHING

    def _befall(self, word: str) -> None:
        programs = self._programs
        if word == KILLED:
            for one in programs.stack:
                if one is not None and one.name.startswith("deployer-") and "lease" not in one.name:
                    one.dead = True
        elif word == SHUT_DOWN:
            programs.stopping = True
            for one in programs.stack:
                if one is not None:
                    one.end()
        elif word == NO_POWER:
            programs.dark = True

    def _say(self, session: Session, directory: Path, process: Process, message: Mapping[str, str]) -> None:
        """A word on its way through the session's program: who ends the one ends the other."""
        if process.dead or not directory.exists():
            return

        def pass_on() -> int:
            session._relay(dict(message), directory)
            return 0

        if self._programs.run("words", pass_on) < 0:
            process.dead = True

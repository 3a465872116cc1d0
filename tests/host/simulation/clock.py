"""Time that only passes when somebody waits, so that a deploy of a minute takes milliseconds."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any

_MOST = 100_000
"""Events in one wait: more are two that set each other off for ever."""


class Clock:
    """``now`` is seconds since the host was switched on; ``wall`` what its clock shows, which may be set: it is
    ``ahead`` of it. ``happened`` counts what was due and has happened."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ahead = 1_800_000_000.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.happened = 0

    @property
    def wall(self) -> float:
        return self.ahead + self.now

    def set_wall(self, by: float) -> None:
        """Somebody sets the clock, by so many seconds."""
        self.ahead += by

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen in a while: when the first who waits has waited that long."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), action))

    def advance(self, seconds: float) -> None:
        """Time that something takes; what is due meanwhile happens when somebody waits."""
        self.now += seconds

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(_MOST):
            if not self._due or self._due[0][0] > until:
                self.now = max(self.now, until)
                return
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            self.happened += 1
            action()
        raise AssertionError("events without end")

    @property
    def next(self) -> float:
        """Seconds until something is due; infinite when nothing is."""
        return self._due[0][0] - self.now if self._due else float("inf")

    @property
    def idle(self) -> bool:
        return not self._due

    def forget(self) -> None:
        self._due.clear()

    def switched_on(self) -> None:
        """The host was off for a minute: nothing of what was due will happen, and its time begins anew."""
        self._due.clear()
        self.ahead, self.now = self.wall + 60.0 - 20.0, 20.0


class FakeTime:
    """Stands in for the module ``time``. ``sleep`` is what the programs call to wait."""

    def __init__(self, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self.sleep = sleep

    def monotonic(self) -> float:
        return self._clock.now

    def time(self) -> float:
        return self._clock.wall

    def clock_gettime(self, _: int) -> float:
        return self._clock.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

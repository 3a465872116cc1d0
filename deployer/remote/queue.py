"""Taking turns on a host where others may be at work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from deployer import events
from deployer.errors import Exit
from deployer.remote.session import Facts, Outcome, Remote
from deployer.remote.site import Site

__all__ = ["Turn"]


class Turn:
    """This command's turn on a host where others may be at work. Without ``wait`` there is none while one is.

    ``again`` is the command that was typed, without ``--wait``; empty when it has no such option.
    """

    def __init__(self, site: Site, remote: Remote, facts: Facts, *, again: str, wait: bool = False) -> None:
        self._site, self._remote, self._facts = site, remote, facts
        self._patient = f"{again} --wait" if again else ""
        self._wait = wait

    def take(self, send: Callable[[Remote, Facts], Outcome]) -> Outcome:
        """``send`` the request when it is our turn; again when somebody was quicker than that."""
        while True:
            if not self._wait:
                self._remote.refuse_if_busy(self._facts, patient=self._patient)
            while self._facts.busy is not None:
                self._stand_in_line()
            outcome = send(self._remote, self._facts)
            if not self._wait or outcome.exit != Exit.BUSY:
                return outcome
            self._remote = Remote(self._remote.link, self._remote.app, self._remote.report)  # a refusal ends a session
            self._facts = self._remote.ask()

    def edit(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """For Run: that somebody was quicker is no failure for one who waits."""
        refused = event["event"] in ("failed", "finished") and event.get("exit") == Exit.BUSY
        return None if self._wait and refused else event

    def _stand_in_line(self) -> None:
        """What the host said before is old by then: code, numbers and the tree to build on may all have changed."""
        started = time.monotonic()
        self._remote.wait(self._patient)
        self._facts = self._remote.ask()
        took = time.monotonic() - started
        detail = f"{self._facts.current} serves now" if self._facts.current else "nothing serves"
        self._site.report(events.PhaseDone(host=self._site.host, phase="wait", seconds=took, detail=detail))

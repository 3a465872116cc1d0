"""A command that runs on one host: its words, its input as the host takes it, and what it prints."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployer import events
from deployer.errors import BadAnswer, Unreachable
from deployer.remote import answers
from deployer.remote.session import Remote
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import HOLD
from deployer.wire.release.command import AHEAD, LIMIT, RUN

__all__ = ["Command", "Console", "execute"]


_LOST = f"the command may have run; when it still does, the host ends it within {HOLD + 10} s"
"""A host that hears nothing for HOLD seconds sends SIGTERM, and ten seconds later SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is to be run. ``kind`` is one of ``deployer.wire.release.command``; ``release`` a number (0: what serves),
    ``process`` the one in whose place it runs (empty: none), ``timeout`` in seconds.

    ``takes_input``: input is sent to it; ``raw``: its standard output comes as bytes; ``terminal`` describes ours.
    """

    argv: Sequence[str]
    kind: str = RUN
    release: int = 0
    process: str = ""
    timeout: int = LIMIT
    takes_input: bool = False
    raw: bool = False
    terminal: Mapping[str, Any] | None = None

    def message(self, place: str) -> dict[str, Any]:
        """The request. ``place`` is the host's name in the prompt of a shell."""
        return {
            "op": "run",
            "kind": self.kind,
            "argv": list(self.argv),
            "release": self.release,
            "process": self.process,
            "timeout": self.timeout,
            "input": self.takes_input,
            "raw": self.raw,
            "place": place,
            "terminal": None if self.terminal is None else dict(self.terminal),
        }


class Console:
    """The command of one session. What it prints is reported. Any thread may give it input once it has ``begun``.

    The host ends it when the session ends, or when keep-alives stop.
    """

    def __init__(self, remote: Remote, command: Command, begun: Callable[[Console], None] = lambda _: None) -> None:
        self._remote, self._command, self._begun = remote, command, begun
        self._free = threading.Condition()
        self._ahead = 0
        self._asked = self._over = False

    def run(self, place: str = "host") -> answers.Run:
        """Run it to its end. Raises what ``Remote.query`` does."""
        try:
            with self._remote.kept_alive():
                return self._remote.query(self._command.message(place), answers.Run, limit=None, listener=self)
        except Unreachable as error:
            raise replace(error, state=_LOST if self._asked else error.state) from None
        finally:
            with self._free:
                self._over = True
                self._free.notify_all()

    def give(self, data: bytes) -> bool:
        """Send input, ``FRAME`` bytes at most; waits while the host has enough. False when the command is over."""
        with self._free:
            self._free.wait_for(lambda: self._over or self._ahead + len(data) <= AHEAD)
            if self._over:
                return False
            self._ahead += len(data)
        return self._send({"op": "input", "length": len(data)}, data)

    def end_input(self) -> None:
        """The command reads the end of its input."""
        self._send({"op": "end"})

    def resize(self, rows: int, columns: int) -> None:
        """The window has another size."""
        self._send({"op": "size", "rows": rows, "columns": columns})

    def _send(self, message: Mapping[str, Any], body: bytes = b"") -> bool:
        """False when the connection is lost: the reader of the events notices too."""
        if self._over:
            return False
        try:
            self._remote.send(message, body)
        except Unreachable:
            return False
        return True

    def asked(self) -> None:
        self._asked = True
        self._begun(self)

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Raises BadAnswer for bytes that nobody asked for: they could hold anything that a terminal obeys."""
        if event["event"] == "taken":
            with self._free:
                self._ahead = max(0, self._ahead - int(event["bytes"]))
                self._free.notify_all()
        elif event["event"] == "data":
            if not (self._command.raw or self._command.terminal):
                raise BadAnswer.of(self._remote.host, "bytes of a command, where lines were asked for")
            self._remote.report(events.Data(host=self._remote.host, data=event["data"]))
        else:
            return False
        return True


def execute(remote: Remote, argv: Sequence[str]) -> int:
    """Run a command in the release that serves, without input; its exit status. The lines it prints are reported."""
    return Console(remote, Command(argv=argv)).run().status

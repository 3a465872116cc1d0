"""Messages to a job that is followed: sent by a thread, so that a host that hangs delays none to another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from deployer.errors import Unreachable

__all__ = ["Outbox"]

Message = Mapping[str, Any]


class Outbox:
    """Gives messages to ``send``, once the job is known. Any thread may use it.

    What ``send`` raises as Unreachable is left to whoever follows the job: it notices it, too.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self.open = False
        """There was a connection to the job."""
        self._send = send
        self._lock = threading.Lock()
        self._repeated: list[Message] = []
        self._queue: SimpleQueue[Message | None] | None = None
        self._closed = False

    def put(self, message: Message, *, once: bool) -> None:
        """Send it now, if there is a connection, and (unless ``once``) again after each new one: it may have gone to
        one that was lost."""
        with self._lock:
            if not once:
                self._repeated.append(message)
            if self.open:
                self._post(message)

    def connected(self) -> None:
        """There is a connection to the job, the first or a new one."""
        with self._lock:
            self.open = True
            for message in self._repeated:
                self._post(message)

    def close(self) -> None:
        """Send no more."""
        with self._lock:
            self._closed = True
            if self._queue is not None:
                self._queue.put(None)

    def _post(self, message: Message) -> None:
        """Call it with the lock."""
        if self._closed:
            return  # nobody would ever tell its thread to end
        if self._queue is None:
            self._queue = SimpleQueue()
            threading.Thread(target=self._work, args=(self._queue,), daemon=True, name="to-the-job").start()
        self._queue.put(message)

    def _work(self, queue: SimpleQueue[Message | None]) -> None:
        while (message := queue.get()) is not None:
            with contextlib.suppress(Unreachable):
                self._send(message)

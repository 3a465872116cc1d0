"""What the threads of a command tell its coordinator, and the inbox in which it takes that, and signals, in turn."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from deployer.errors import DeployerError
from deployer.remote.facts import Facts
from deployer.wire.lazydata import dataclass

__all__ = ["HookEnded", "HostEvent", "HostFailed", "HostLost", "HostMet", "HostStopped", "Inbox", "Message", "Tick"]

_TAKEN = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that are taken, and what they must have done before: one that is ignored stays ignored."""


@dataclass(frozen=True, kw_only=True)
class HostMet:
    """The host has answered, and nothing was sent to it yet."""

    host: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class HostEvent:
    """An event of the host's job."""

    host: str
    event: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class HostFailed:
    """The host's job has not begun, and will not."""

    host: str
    error: DeployerError


@dataclass(frozen=True, kw_only=True)
class HostLost:
    """The host's job may have begun, and its end was not seen."""

    host: str
    error: DeployerError


@dataclass(frozen=True, kw_only=True)
class HostStopped:
    """The host's worker is done: the last event of its job was received, or there was nothing to do."""

    host: str


@dataclass(frozen=True, kw_only=True)
class HookEnded:
    """The hook of a host (``drain`` or ``undrain``) has ended, well when ``error`` is empty."""

    host: str
    hook: str
    error: str


@dataclass(frozen=True)
class Tick:
    """Some time has passed."""


Message = HostMet | HostEvent | HostFailed | HostLost | HostStopped | HookEnded | Tick


class Inbox:
    """The coordinator's messages, which any thread may put in. A signal is handled between two messages, never in one.

    Within its ``with`` block a signal ends the iteration when its turn comes: ``signal`` says which it was. Another
    one that comes before is raised as KeyboardInterrupt at once: the program is held up by something else. After
    ``tick`` seconds without a message there is a Tick; Python can then also run a handler whose signal came just before
    it began to wait.
    """

    def __init__(self, tick: float) -> None:
        self.signal = 0
        self._tick = tick
        self._items: SimpleQueue[Message | signal.Signals] = SimpleQueue()
        self._pending = False
        self._before: dict[signal.Signals, Any] = {}

    def put(self, message: Message) -> None:
        """Add a message, from any thread."""
        self._items.put(message)

    def __enter__(self) -> Inbox:
        self.signal = 0
        if threading.current_thread() is threading.main_thread():
            for number, usual in _TAKEN.items():
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __iter__(self) -> Iterator[Message]:
        """The next messages; ends at a signal, and can then be iterated again."""
        while True:
            try:
                item = self._items.get(timeout=self._tick)
            except Empty:
                item = Tick()
            if isinstance(item, signal.Signals):
                self._pending, self.signal = False, item
                return
            yield item

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._pending:
            raise KeyboardInterrupt
        self._pending = True
        self._items.put(signal.Signals(number))  # a SimpleQueue may be put into from a signal handler

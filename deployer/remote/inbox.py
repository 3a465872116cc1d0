"""What comes from a host and what a person presses, in one line: Ctrl-C is met between two messages, never in one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Generic, TypeVar

__all__ = ["Inbox"]

_HEEDED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that are taken in, and what they must have done before: one that is ignored stays ignored."""
_LOOK = 0.5
"""Seconds after which Python is given the chance to run a handler whose signal came just before it began to wait."""

T = TypeVar("T")


class Inbox(Generic[T]):
    """The messages of ``source`` (no numbers), read by a thread; what that raises is raised by whoever takes them.

    Within its ``with`` block a signal ends the iteration when its turn comes: ``signal`` says which it was. Another
    one that comes before is raised as KeyboardInterrupt at once: the program is held up by something else.
    """

    def __init__(self, source: Iterator[T]) -> None:
        self.signal = 0
        self._items: SimpleQueue[T | BaseException | int] = SimpleQueue()
        self._pending = False
        self._before: dict[signal.Signals, Any] = {}
        self._reader = threading.Thread(target=self._read, args=(source,), daemon=True, name="inbox")

    def __enter__(self) -> Inbox[T]:
        self.signal = 0
        if threading.current_thread() is threading.main_thread():
            for number, usual in _HEEDED.items():
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._take)
        if not self._reader.ident:
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __iter__(self) -> Iterator[T]:
        """The next messages; ends at a signal, and can then be gone on with."""
        while True:
            try:
                item = self._items.get(timeout=_LOOK)
            except Empty:
                continue
            if isinstance(item, int):
                self._pending, self.signal = False, item
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._pending:
            raise KeyboardInterrupt
        self._pending = True
        self._items.put(number)  # a SimpleQueue may be put into from a signal handler, whatever it interrupts

    def _read(self, source: Iterator[T]) -> None:
        try:
            for message in source:
                self._items.put(message)
        except BaseException as error:
            self._items.put(error)
        else:
            self._items.put(EOFError("the host has no more to say"))

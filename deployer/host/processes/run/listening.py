"""What the laptop sends while its command runs: input and its end, the size of the window, and signs of life."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable

from deployer.host.processes.run.request import Frame, InputEnd, Size, sent_meanwhile
from deployer.wire.message import read_message
from deployer.wire.protocol import HOLD
from deployer.wire.release.command import AHEAD

_TICK = 0.5


class Input:
    """Hands a command its input, in a thread of its own: a command may never read it.

    ``taken`` is told of each piece that the command's pipe or terminal has taken. ``ends``: the descriptor is closed at
    the end of the input. A terminal has no such end: there the person types Ctrl-D. ``first`` comes before all else.
    """

    def __init__(self, descriptor: int, taken: Callable[[int], Any], *, ends: bool, first: bytes = b"") -> None:
        self._descriptor, self._taken, self._ends = descriptor, taken, ends
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ahead = 0
        self._first = first
        threading.Thread(target=self._work, daemon=True, name="input").start()

    def put(self, data: bytes) -> None:
        """Raises ValueError when more than AHEAD bytes wait: a laptop sends no more than it may."""
        with self._lock:
            self._ahead += len(data)
            if self._ahead > AHEAD:
                raise ValueError(f"more than {AHEAD} bytes of input were sent ahead")
        self._pieces.put(data)

    def end(self) -> None:
        """There is no more."""
        self._pieces.put(b"")

    def _work(self) -> None:
        reads = not self._first or self._write(self._first)
        while data := self._pieces.get():
            reads = reads and self._write(data)  # input that nobody reads any more is dropped
            with self._lock:
                self._ahead -= len(data)
            with contextlib.suppress(OSError):  # the laptop has gone
                self._taken(len(data))
        if self._ends:
            os.close(self._descriptor)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            return False
        return True


class Laptop:
    """The laptop's end of the session, from the moment when its command begins: whoever is silent for HOLD seconds, or
    closes the channel, is gone, and this program ends with SIGTERM."""

    def __init__(self, stream: BinaryIO, silence: float = HOLD) -> None:
        self._stream, self._silence = stream, silence
        self._heard = time.monotonic()
        self._over = threading.Event()

    @contextlib.contextmanager
    def heard(self, given: Input | None = None, resize: Callable[[Size], Any] = lambda _: None) -> Iterator[None]:
        """For the block, pass on what the laptop sends."""
        self._heard = time.monotonic()
        for work in (lambda: self._listen(given, resize), self._watch):
            threading.Thread(target=work, daemon=True, name="laptop").start()
        try:
            yield
        finally:
            self._over.set()

    def _listen(self, given: Input | None, resize: Callable[[Size], Any]) -> None:
        try:
            while (message := read_message(self._stream)) is not None:
                self._heard = time.monotonic()
                said = sent_meanwhile(message)
                if isinstance(said, Frame):
                    self._pass_on(said.length, given)
                elif isinstance(said, InputEnd) and given is not None:
                    given.end()
                elif isinstance(said, Size):
                    resize(said)
        except (OSError, ValueError, RecursionError) as error:
            print(f"deployer-host: the laptop sent what is no message: {error}", file=sys.stderr)
        self._end()

    def _pass_on(self, length: int, given: Input | None) -> None:
        """All input counts as a sign of life, however slowly it comes."""
        while length:
            data = self._stream.read1(length)  # type: ignore[attr-defined]
            if not data:
                raise ValueError("the input ended within a message")
            self._heard = time.monotonic()
            length -= len(data)
            if given is not None:
                given.put(data)

    def _watch(self) -> None:
        while not self._over.wait(_TICK):
            if time.monotonic() - self._heard >= self._silence:
                self._end()
                return

    def _end(self) -> None:
        if not self._over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

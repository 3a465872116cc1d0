"""What a command prints, read from its pipes or its terminal until it has ended: as lines, or as bytes."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from deployer.host.state.masking import StreamMask
from deployer.host.system.runner import LONGEST_LINE, LineBuffer

Emit = Callable[..., Any]

_LEFT = 1 << 20
"""Bytes that are still read of each stream once the command has ended: no more fits into a pipe."""
_TICK = 100
"""Milliseconds between two checks whether the command has ended; after one without output what was kept back of it, as
the possible beginning of a secret, is passed on."""
_AGAIN = 0.5
"""Seconds between two questions whether a command's work goes on without the process that waits for it."""


class Sink(Protocol):
    """Takes what came on one stream; nothing came for a while; the stream is over."""

    def feed(self, data: bytes) -> None: ...

    def idle(self) -> None: ...

    def close(self) -> None: ...


class Lines:
    """Emits each line as an ``output`` event. ``stream`` is ``out`` or ``err``."""

    def __init__(self, emit: Emit, stream: str, mask: StreamMask) -> None:
        self._emit, self._stream, self._mask = emit, stream, mask
        self._buffer = LineBuffer()

    def feed(self, data: bytes) -> None:
        for line in self._buffer.feed(self._mask.feed(data)):
            self._tell(line)

    def idle(self) -> None:
        """A line is told when it is whole."""

    def close(self) -> None:
        self.feed_rest()
        for line in self._buffer.rest():
            self._tell(line)

    def feed_rest(self) -> None:
        for line in self._buffer.feed(self._mask.rest()):
            self._tell(line)

    def _tell(self, line: str) -> None:
        self._emit("output", phase="run", line=line, stream=self._stream)


class Bytes:
    """Emits what comes as ``data`` events, byte for byte but for secrets."""

    def __init__(self, emit: Emit, mask: StreamMask) -> None:
        self._emit, self._mask = emit, mask

    def feed(self, data: bytes) -> None:
        self._tell(self._mask.feed(data))

    def idle(self) -> None:
        self._tell(self._mask.rest())

    def close(self) -> None:
        self.idle()

    def _tell(self, data: bytes) -> None:
        if data:
            self._emit("data", data=base64.b64encode(data).decode("ascii"))


def pump(process: subprocess.Popen[bytes], sinks: Mapping[int, Sink], goes_on: Callable[[], bool]) -> int:
    """Pass on what comes from each descriptor of ``sinks`` until the work of ``process`` has ended; its exit status.

    Others may hold the streams longer: a pipe that is not at its end keeps nobody waiting. But while ``goes_on()``
    says that the work goes on without ``process``, the streams are read: a program that prints into a closed pipe dies.
    """
    waiting = select.poll()
    for descriptor in sinks:
        waiting.register(descriptor, select.POLLIN)
    reading, left = dict(sinks), _LEFT * len(sinks)
    lasts, again = True, 0.0
    while left > 0:
        ended = process.poll() is not None
        if ended and lasts and time.monotonic() >= again:
            lasts, again = goes_on(), time.monotonic() + _AGAIN
        ended = ended and not lasts
        ready = waiting.poll(0 if ended else _TICK)
        if ended and not ready:
            break
        if not ready:
            for sink in reading.values():
                sink.idle()
        for descriptor, _ in ready:
            piece = _read(descriptor)
            if piece:
                reading[descriptor].feed(piece)
                left -= len(piece) if ended else 0
            else:
                waiting.unregister(descriptor)
                reading.pop(descriptor).close()
    for sink in reading.values():
        sink.close()
    return process.wait()


def _read(descriptor: int) -> bytes:
    """A terminal whose other end is closed by all is an error to read."""
    with contextlib.suppress(OSError):
        return os.read(descriptor, LONGEST_LINE)
    return b""

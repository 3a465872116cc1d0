"""What a command prints, read from its pipes or its terminal until it has ended: as lines, or as bytes."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from deployer.host.state.masking import StreamMask
from deployer.host.system import runner
from deployer.host.system.runner import LineBuffer

Emit = Callable[..., Any]


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

    When that is, and what ``goes_on`` is for: :func:`deployer.host.system.runner.pieces`.
    """
    reading = dict(sinks)
    for descriptor, piece in runner.pieces(process, list(sinks), goes_on):
        if descriptor < 0:  # what was kept back, as the possible beginning of a secret, is passed on
            for sink in reading.values():
                sink.idle()
        elif piece:
            reading[descriptor].feed(piece)
        else:
            reading.pop(descriptor).close()
    for sink in reading.values():
        sink.close()
    return process.wait()

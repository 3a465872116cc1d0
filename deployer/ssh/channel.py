"""One program at the far end, spoken to over its stdin and stdout: binary-clean, never silent about loss."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from deployer.errors import BadAnswer, Unreachable

CHUNK = 32 * 1024
KEPT = 64 * 1024
"""Bytes of stderr that are kept: the last ones."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line that a host may say. Its longest is the list of the files it has: seven bytes for each."""

Advance = Callable[[int], None]


class LongLineError(ValueError):
    """More came than may. ``begin`` is how it begins."""

    def __init__(self, message: str, begin: bytes) -> None:
        super().__init__(message)
        self.begin = begin


class Channel:
    """A running program. One thread may write while another reads.

    A lost connection raises Unreachable from whichever call notices. A program that no longer reads makes
    writing raise BrokenPipeError: what it said before (and its exit status) can still be read.
    """

    def __init__(self, raw: Any, host: str) -> None:
        self._raw = raw
        self._host = host
        self._buffer = bytearray()
        self._stderr = bytearray()
        self._drain = threading.Thread(target=self._collect, daemon=True, name="ssh-stderr")
        self._drain.start()

    def write(self, data: bytes) -> None:
        """Sends all of ``data``; waits while the far end is slower."""
        view = memoryview(data)
        while view:
            view = view[self._send(bytes(view[:CHUNK])) :]

    def write_file(self, stream: BinaryIO, length: int, progress: Advance | None = None) -> None:
        """Sends exactly ``length`` bytes of ``stream``; ``progress`` hears how many are gone so far.

        Raises ValueError when the stream ends before.
        """
        done = 0
        while done < length:
            data = stream.read(min(CHUNK, length - done))
            if not data:
                raise ValueError(f"the stream ended after {done} of {length} bytes")
            self.write(data)
            done += len(data)
            if progress is not None:
                progress(done)

    def close_stdin(self) -> None:
        """The far end reads its end of file."""
        with contextlib.suppress(OSError, EOFError):
            self._raw.shutdown_write()

    def readline(self, deadline: float | None = None) -> bytes:
        """The next line with its newline; what is left when the program closed stdout; then ``b""``.

        Raises TimeoutError when it has not come by ``deadline`` (of ``time.monotonic``), BadAnswer when it is endless.
        """
        start = 0
        while (found := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > MAX_LINE:
                raise BadAnswer.of(self._host, f"a line of more than {MAX_LINE >> 20} MiB")
            data = self._receive_by(deadline)
            if not data:
                return self._take(len(self._buffer))
            self._buffer += data
        return self._take(found + 1)

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        """Drops what comes before the next ``to``, and returns it; all that still came when the program closed stdout.

        Raises TimeoutError as readline() does, LongLineError when there are more than ``most`` bytes of it.
        """
        start = 0
        while (found := self._buffer.find(to, start)) < 0:
            start = max(len(self._buffer) - len(to), 0)
            if start > most:
                raise LongLineError(f"more than {most} bytes came from {self._host}", bytes(self._buffer[:4096]))
            data = self._receive_by(deadline)
            if not data:
                return self._take(len(self._buffer))
            self._buffer += data
        return self._take(found)

    @property
    def unread(self) -> bytes:
        """The last of what has come and was not read."""
        return bytes(self._buffer[-KEPT:])

    def read(self, size: int) -> bytes:
        """Some bytes, ``size`` at most, as soon as there are any; ``b""`` at the end."""
        return self._take(size) if self._buffer else self._receive(size)

    def read_all(self) -> bytes:
        """All that the program still says on stdout."""
        while data := self._receive():
            self._buffer += data
        return self._take(len(self._buffer))

    @property
    def stderr(self) -> bytes:
        """The last 64 KB of what the program said on stderr so far."""
        return bytes(self._stderr)

    def exit_status(self, timeout: float | None = None) -> int:
        """Waits for the program's end, ``timeout`` seconds at most.

        Raises Unreachable when the time is up, or when the connection ended without an exit status.
        Read stdout to its end first: a program whose output nobody reads doesn't end.
        """
        if not self._raw.status_event.wait(timeout):
            raise Unreachable(message=f"the program at {self._host} did not end within {timeout} s", host=self._host)
        self._drain.join(1.0)
        status = int(self._raw.exit_status)
        if status < 0:
            raise self._lost() if not self._alive() else self._killed()
        return status

    def close(self) -> None:
        """Ends the channel; sshd closes the program's stdin and stdout."""
        with contextlib.suppress(OSError, EOFError):
            self._raw.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: bytes) -> int:
        try:
            sent = int(self._raw.send(data))
        except (OSError, EOFError) as error:
            raise self._refused() from error
        if sent == 0:
            raise self._refused()
        return sent

    def _receive(self, size: int = CHUNK) -> bytes:
        data = bytes(self._raw.recv(size))
        ended = self._raw.eof_received or self._raw.exit_status >= 0
        if not data and not ended and not self._alive():
            raise self._lost()
        return data

    def _receive_by(self, deadline: float | None) -> bytes:
        """Paramiko's time limit is one for sending, too: it is set for as long as it is needed."""
        if deadline is None:
            return self._receive()
        self._raw.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self._receive()
        finally:
            self._raw.settimeout(None)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _collect(self) -> None:
        with contextlib.suppress(Exception):
            while data := self._raw.recv_stderr(CHUNK):
                self._stderr += data
                del self._stderr[:-KEPT]

    def _alive(self) -> bool:
        return bool(self._raw.get_transport().is_active())

    def _refused(self) -> Exception:
        if not self._alive():
            return self._lost()
        return BrokenPipeError(f"the program at {self._host} no longer reads")

    def _lost(self) -> Unreachable:
        return Unreachable(message=f"the connection to {self._host} was lost", host=self._host)

    def _killed(self) -> Unreachable:
        why = "it was killed, or the connection was lost"
        message = f"the program at {self._host} ended without an exit status: {why}"
        return Unreachable(message=message, host=self._host)

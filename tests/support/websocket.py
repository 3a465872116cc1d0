"""A WebSocket client (RFC 6455) that shows what the peer closed with, and one that comes back as a browser's would."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
SECONDS = 60.0
"""For one answer."""


class Closed(Exception):
    """The peer closed the connection. ``code`` is its status code, 0 when the connection just ended."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}" if code else "the connection was cut")
        self.code = code


class WebSocket:
    """An open connection."""

    def __init__(self, address: str, port: int = 80, path: str = "/ws") -> None:
        """Raises OSError, and RuntimeError when the answer is not 101."""
        self._socket = socket.create_connection((address, port), timeout=SECONDS)
        self._received = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (f"GET {path} HTTP/1.1", f"Host: {address}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")  # fmt: skip
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(head.decode(errors="replace"))

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, text: str) -> str:
        """Send a message, and return the next one. Raises Closed."""
        with contextlib.suppress(OSError):  # what the peer said before it closed is still to be read
            self._send(_TEXT, text.encode())
        while True:
            kind, payload = self._frame()
            if kind == _TEXT:
                return payload.decode()
            self._react(kind, payload)

    def listen(self) -> None:
        """Wait for the peer to close. Raises Closed."""
        while True:
            kind, payload = self._frame()
            self._react(kind, payload)

    def end(self) -> None:
        """Have whoever waits for an answer wait no longer."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _react(self, kind: int, payload: bytes) -> None:
        """To what is no message. Raises Closed."""
        if kind == _PING:
            self._send(_PONG, payload)
        if kind == _CLOSE:
            raise Closed(struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005)

    def _send(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | kind, 0x80 | len(payload)]) + mask + masked)  # short messages alone

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        return first & 0x0F, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._more()
        found, self._received = self._received[:count], self._received[count:]
        return found

    def _more(self) -> None:
        try:
            part = self._socket.recv(4096)
        except ConnectionError:
            part = b""
        if not part:
            raise Closed(0)
        self._received += part


@dataclass
class Visitor:
    """Connects, and connects again when the peer closes. Sends a message every 50 ms; if ``quiet``, only the first.

    ``answers`` are the peer's, ``closed`` the codes it closed with, ``trouble`` why a connection could not be made.
    """

    address: str
    quiet: bool = False
    answers: list[str] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _connection: WebSocket | None = None

    def __enter__(self) -> Visitor:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        if self.quiet and self._connection is not None:
            self._connection.end()
        assert self._thread is not None
        self._thread.join(2 * SECONDS)

    def releases(self) -> list[str]:
        """Those that answered, in order, each once in a row."""
        found = [answer.partition(" ")[0] for answer in list(self.answers)]
        return [one for place, one in enumerate(found) if not place or one != found[place - 1]]

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with WebSocket(self.address) as self._connection:
                    self._talk(self._connection)
            except Closed as end:
                if not self._over.is_set():
                    self.closed.append(end.code)
            except (OSError, RuntimeError) as error:
                self.trouble.append(str(error))
                self._over.wait(0.05)

    def _talk(self, connection: WebSocket) -> None:
        if self.quiet:
            self.answers.append(connection.ask("hello"))
            connection.listen()
        while not self._over.wait(0.05):
            self.answers.append(connection.ask(f"message {len(self.answers)}"))

"""Counts how often a client had to wait for its host: what noise on the machine cannot falsify, as it does times.

A relay between the client and the delay proxy: it holds nothing up, and notes who speaks in turn.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType

CHUNK = 256 * 1024


class Tap:
    """Context manager: while it is open, `127.0.0.1:port` is `target`; ``take()`` says what passed since the last call.

    A round trip is counted whenever the host is heard after the client has spoken, and one for each connection that
    is opened (its SYN). Over a link with some delay that is the number of waits in a row: what a client sends without
    waiting leaves together. An independent message of the host that happens to fall between two of the client counts
    too, so that the count is never too low. Connections that are open at the same time are added up all the same.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host, self.port = self._listener.getsockname()
        self._lock = threading.Lock()
        self._up = self._down = self._trips = 0

    def __enter__(self) -> Tap:
        threading.Thread(target=self._accept, daemon=True, name="tap").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def take(self) -> tuple[int, int, int]:
        """Bytes up, bytes down and round trips since the last call."""
        with self._lock:
            found = self._up, self._down, self._trips
            self._up = self._down = self._trips = 0
        return found

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True, name="tap-lane").start()

    def _carry(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target) as far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._trips += 1
            self._relay(near, far)

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        speaking = False  # the client, since the host was last heard
        with selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while ready.get_map():
                for key, _ in ready.select():
                    data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                    if not data:
                        ready.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
                        continue
                    upward = key.fileobj is near
                    with self._lock:
                        self._up += len(data) if upward else 0
                        self._down += 0 if upward else len(data)
                        self._trips += 1 if speaking and not upward else 0
                    speaking = upward
                    key.data.sendall(data)

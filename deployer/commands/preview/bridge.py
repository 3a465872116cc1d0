"""Connections that a browser makes to this machine, carried to a release over one session with its host."""

from __future__ import annotations

import base64
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Collection
from typing import Any

from deployer.commands.preview import heads
from deployer.commands.preview.heads import END, Names

__all__ = ["Bridge"]

_LONGEST = 64 * 1024
"""Bytes of a head."""
_PIECE = 48 * 1024
_PATIENCE = 30.0
"""Seconds in which a browser must send a head, or take what it is sent."""

Send = Callable[[dict[str, Any]], None]


class Bridge:
    """``send`` takes what goes to the host, from any thread; ``static`` are the URL prefixes whose files the proxy
    would serve."""

    def __init__(self, send: Send, names: Names, static: Collection[str] = ()) -> None:
        self._send, self._names, self._static = send, names, tuple(static)
        self._numbers = itertools.count(1)
        self._open: dict[int, _Answer] = {}

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._carry, args=(connection,), daemon=True, name="preview").start()

    def receive(self, number: int, data: str) -> None:
        """A piece of an answer; empty at its end."""
        answer = self._open.get(number)
        if answer is None:
            return
        done = not data
        with contextlib.suppress(OSError, ValueError):  # no base64: the host is not what it was
            done = not answer.take(base64.b64decode(data)) or done
        if done:
            self._open.pop(number, None)
            answer.close()

    def _carry(self, connection: socket.socket) -> None:
        number = next(self._numbers)
        connection.settimeout(_PATIENCE)
        head, rest = _head(connection)
        if not head:
            connection.close()
            return
        self._open[number] = _Answer(connection, self._names)
        method, path = heads.target(head)
        if method == "GET" and path.startswith(self._static):
            self._send({"op": "file", "number": number, "path": path})
            return
        self._send({"op": "open", "number": number})
        self._pass_on(number, heads.request(head, self._names) + rest)
        with contextlib.suppress(OSError):  # the answer has ended, and with it the connection
            connection.settimeout(None)
            while data := connection.recv(_PIECE):
                self._pass_on(number, data)
        self._send({"op": "close", "number": number})

    def _pass_on(self, number: int, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            piece = base64.b64encode(data[at : at + _PIECE]).decode()
            self._send({"op": "data", "number": number, "data": piece})


class _Answer:
    """What goes back to the browser: the head of a response first, changed for it."""

    def __init__(self, connection: socket.socket, names: Names) -> None:
        self._connection, self._names = connection, names
        self._begin: bytes | None = b""

    def take(self, data: bytes) -> bool:
        """False when the browser has gone."""
        if self._begin is not None:
            self._begin += data
            head, end, rest = self._begin.partition(END)
            if not end and len(self._begin) < _LONGEST:
                return True
            data = heads.response(head + end, self._names) + rest if end else self._begin
            self._begin = None
        try:
            self._connection.sendall(data)
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._begin:
                self._connection.sendall(self._begin)
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of the request, and what came behind it; empty when none comes."""
    received = b""
    with contextlib.suppress(OSError):
        while END not in received and len(received) < _LONGEST:
            data = connection.recv(4096)
            if not data:
                break
            received += data
    head, end, rest = received.partition(END)
    return (head + end, rest) if end else (b"", b"")

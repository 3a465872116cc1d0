"""The socket beside the app's own on which this program listens while a site is checked, and what arrives there.

A request with a fresh nonce that arrives shows that name, site, link and permissions are right, which headers the app
gets, and who connected.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import grp
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from deployer.host.proxy.site import PROOF_SOCKET
from deployer.host.state.app import Context
from deployer.host.system import files
from deployer.wire.lazydata import dataclass
from deployer.wire.site import PROOF

TURN = 60.0
"""Seconds to wait for another check to finish."""
_LONGEST = 64 * 1024
_MOST = 1000
"""Requests that are remembered: visitors may ask for such a path, too."""


@dataclass(frozen=True)
class Arrival:
    """A request at the socket: its headers, and the user whose process connected (a number where it has no name)."""

    headers: Mapping[str, str]
    user: str


@dataclass
class Arrivals:
    """The requests that arrived, by nonce."""

    by_nonce: dict[str, Arrival] = field(default_factory=dict)


@contextlib.contextmanager
def listening(ctx: Context, number: int, turn: float = TURN) -> Iterator[Arrivals]:
    """In the block, answer beside the socket of release ``number``, with the same permissions.

    Another check may take ``turn`` seconds to end. Raises OSError.
    """
    path = str(ctx.paths.socket(number).with_name(PROOF_SOCKET))
    remove = functools.partial(_remove, path)
    seen, done = Arrivals(), threading.Event()
    with _alone(str(ctx.paths.private), turn), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        atexit.register(remove)  # a deploy that fails ends with a check under way
        try:
            remove()
            listener.bind(path)  # its directory belongs to root: nobody can have put something else there
            os.chmod(path, 0o660)
            os.chown(path, pwd.getpwnam(ctx.app).pw_uid, grp.getgrnam(ctx.settings.socket_group).gr_gid)
            listener.listen(16)
            listener.settimeout(0.1)
            answering = threading.Thread(target=_answer_all, args=(listener, seen, done), daemon=True)
            answering.start()
            yield seen
        finally:
            done.set()
            remove()
            atexit.unregister(remove)


def left_behind(ctx: Context) -> Iterator[Path]:
    """The sockets of checks that were killed."""
    if not files.is_locked(ctx.paths.private):
        sockets = (ctx.paths.socket(number).with_name(PROOF_SOCKET) for number in ctx.catalog.numbers())
        yield from (path for path in sockets if path.exists())


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@contextlib.contextmanager
def _alone(directory: str, turn: float) -> Iterator[None]:
    """In the block, no other check runs: each would remove the other's socket.

    Waits for an earlier check. Raises TimeoutError when that does not end. Only root can open the directory and lock
    it.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + turn
        while not _taken(lock):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another check of the proxy has been running for {turn:g} s")
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _answer_all(listener: socket.socket, seen: Arrivals, done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):  # no connection yet, or one that sends nothing
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(1.0)
                _answer(connection, seen)


def _answer(connection: socket.socket, seen: Arrivals) -> None:
    """Record the request under the nonce at the end of its path, and answer with that nonce."""
    first, headers = split(read(connection, b"\r\n\r\n", 5.0))
    words = first.split()
    nonce = words[1][len(PROOF) :] if len(words) > 1 and words[1].startswith(PROOF) else ""
    if len(seen.by_nonce) < _MOST:
        seen.by_nonce[nonce] = Arrival(headers, _peer(connection))
    body = nonce.encode("latin-1", "replace")
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


def _peer(connection: socket.socket) -> str:
    """The user at the other end (unix(7), SO_PEERCRED)."""
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def read(connection: socket.socket, end: bytes, seconds: float) -> bytes:
    """What arrives up to ``end`` (empty: until the connection is closed), within that time. Raises OSError."""
    deadline = time.monotonic() + seconds
    received = b""
    while not (end and end in received) and len(received) < _LONGEST and time.monotonic() < deadline:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received


def split(head: bytes) -> tuple[str, dict[str, str]]:
    """The first line of a request or response, and its headers; values of a repeated header are joined."""
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return first, headers

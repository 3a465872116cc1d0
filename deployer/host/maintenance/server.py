"""Serves the maintenance page, and leads those who may see the app to it: one request for each connection.

It runs as the app's user, on the socket that systemd holds for it. Who asks is what the proxy says: the last address in
``X-Forwarded-For``. A proxy adds it, or overwrites what the client claims; what stands before it is the client's word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Callable

from deployer.host.errors import HostError
from deployer.host.maintenance.page import BACKLOG, GRACE, UNREACHABLE, response
from deployer.host.state.catalog import Catalog
from deployer.host.state.operator import maintenance
from deployer.host.state.paths import AppPaths
from deployer.wire.lazyre import pattern
from deployer.wire.maintenance import MaintenanceRequest
from deployer.wire.protocol import Exit
from deployer.wire.site import PROOF

_HEAD = 64 * 1024
"""The most bytes of a request's head."""
_PATIENCE = 10.0
"""Seconds in which a head must be there: the proxy has it all before it connects."""
_REST = 60.0
"""Seconds for which the rest of a request is read and dropped: else its sender may not get to read the response."""
_CHUNK = 64 * 1024
_TURNS = 20
"""Turns of the event loop: more than a connection needs from its acceptance to its task."""
_PORT = pattern(r"\A(?:\[(.+)\](?::[0-9]+)?|([0-9.]+):[0-9]+)\Z")
"""An address as some proxies write it, with a port."""


def serve(paths: AppPaths) -> Exit:
    """Serve on the socket that systemd has handed over (sd_listen_fds(3)) until SIGTERM."""
    listener = socket.socket(fileno=3)
    listener.setblocking(False)
    asyncio.run(_until_sigterm(paths, listener))
    return Exit.OK


async def _until_sigterm(paths: AppPaths, listener: socket.socket) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await serve_until(over, paths, listener)


class Terms:
    """The terms of maintenance, read again when their file is another."""

    def __init__(self, paths: AppPaths) -> None:
        self._paths = paths
        self._seen: tuple[int, int] | None = None
        self._request = MaintenanceRequest()

    def now(self) -> MaintenanceRequest:
        with contextlib.suppress(OSError):
            status = os.stat(self._paths.maintenance)
            if (seen := (status.st_ino, status.st_mtime_ns)) != self._seen:
                self._request, self._seen = maintenance.stored(self._paths).request, seen
        return self._request


async def serve_until(over: asyncio.Event, paths: AppPaths, listener: socket.socket) -> None:
    """Serve until it is over, and finish each request whose connection was accepted."""
    terms = Terms(paths)
    open_now: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            open_now.add(task)
            task.add_done_callback(open_now.discard)
        try:
            await _answer(paths, terms.now, reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the other end has gone, or sends no request
        finally:
            writer.close()

    # Not start_unix_server: from Python 3.13 on it tries to remove the socket's file, which is systemd's.
    server = await asyncio.start_server(answer, sock=listener, backlog=BACKLOG, limit=_HEAD)
    await over.wait()
    # No more are accepted: what waits in the socket stays there, systemd has it, too. The server is closed when what it
    # has accepted became tasks: closed before, it would drop those connections, open and without an answer.
    asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
    if open_now:
        await asyncio.wait(open_now, timeout=GRACE)


async def _answer(
    paths: AppPaths,
    terms: Callable[[], MaintenanceRequest],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
    request = terms()
    if sees_app(head, request):
        await _relay(paths, alone(head), reader, writer)
        return
    writer.write(response(request, head=head.startswith(b"HEAD ")))
    await _finish(reader, writer)


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is written, then read on until the other end closes: closing first would reset the connection."""
    await writer.drain()
    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drop(reader), _REST)


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(_CHUNK):
        pass


async def _relay(paths: AppPaths, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass a request on to the release that serves, and back what it answers."""
    try:
        number = Catalog(paths).current()
        theirs, ours = await asyncio.open_unix_connection(str(paths.socket(number)))
    except (HostError, OSError):
        writer.write(UNREACHABLE)
        await _finish(reader, writer)
        return
    ours.write(head)
    up = asyncio.ensure_future(_pump(reader, ours))
    try:
        await _pump(theirs, writer)
    finally:
        up.cancel()  # once answered, what is left of the request is of no use
        await asyncio.gather(up, return_exceptions=True)
        ours.close()
    await _finish(reader, writer)


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Pass on all bytes, and their end."""
    while data := await source.read(_CHUNK):
        to.write(data)
        await to.drain()
    with contextlib.suppress(OSError):
        to.write_eof()


def sees_app(head: bytes, request: MaintenanceRequest) -> bool:
    """Whether a request is for the app: from one who may see it, or of a check of the proxy. Pure."""
    target = head.split(b" ", 2)[1:2]
    if target and target[0].startswith(PROOF.encode()):
        return True
    return bool(request.allow) and request.allows(client(head))


def client(head: bytes) -> str:
    """The address of the client, as the proxy says it; empty when it does not. Pure."""
    told = [value for name, value in _headers(head) if name == b"x-forwarded-for"]
    last = told[-1].rpartition(b",")[2].strip().decode("latin-1") if told else ""
    with_port = _PORT.fullmatch(last)
    return (with_port[1] or with_port[2]) if with_port else last


def alone(head: bytes) -> bytes:
    """The head, asking for the connection to be closed after the response: a proxy must send the next request, which
    may be another client's, over another one. Pure."""
    if any(name == b"upgrade" and value for name, value in _headers(head)):
        return head
    first, *lines = head[: -len(b"\r\n\r\n")].split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in (b"connection", b"keep-alive")]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return [(name.strip().lower(), value.strip()) for name, colon, value in lines if colon]

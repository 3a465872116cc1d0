"""A look at a release that visitors do not reach: connections to its socket, and its static files, over a session.

A laptop names connections by a number of its own. What the release answers goes to it as ``preview`` events, in pieces.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import field
from pathlib import Path
from typing import Any

from deployer.host.errors import BadRequest, HostError
from deployer.host.processes.web import candidate_of
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import ownership, systemd
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit

MOST_OPEN = 64
"""Connections at a time."""
_PIECE = 48 * 1024
"""Bytes that go into one event."""
_STUCK = 30.0
"""Seconds in which the release must take what it is sent."""
_LARGEST = 32 * 1024 * 1024
"""Bytes of a static file."""


def previewed(ctx: Context, number: int) -> Release:
    """The release, if there is something to look at. Raises HostError (exit 2)."""
    release = ctx.catalog.get(number)
    candidate = candidate_of(ctx, release)
    current = ctx.catalog.serving()
    why = ""
    if release.spec.web is None:
        why = "has no web process here"
    elif current is not None and number != current.number and release.stalls(current):
        why = "starts after its switch only (overlap = false)"
    elif systemd.show(candidate.socket).active != "active":
        why = f"does not run here: it is {release.result}"
    if why:
        raise HostError(
            f"{release.name} {why}",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=run("fab deploy --hold", "makes a release to look at")
            + run(f"fab rollback --to {release.name} --hold", "makes one of its parts, if it is kept"),
        )
    return release


@dataclass
class Connections:
    """The open connections of one laptop to one release."""

    ctx: Context
    release: Release
    _open: dict[int, socket.socket] = field(default_factory=dict)

    def take(self, op: str, number: int, value: Any) -> None:
        """What a laptop asks for. What fails ends that connection, which the laptop is told."""
        try:
            if op == "open":
                self._connect(number)
            elif op == "data" and number in self._open:
                self._open[number].sendall(base64.b64decode(value))
            elif op == "file":
                self._send(number, self._file(str(value)))
                self._end(number)
            elif op == "close":
                self._close(number)
        except OSError as error:
            if op == "open":
                self.ctx.emit("warn", text=f"{self.release.name} does not answer: {error.strerror or error}")
            self._close(number)
            self._end(number)
        except ValueError:
            raise BadRequest(f"what is sent over the connection {number} is no base64") from None

    def close(self) -> None:
        for number in list(self._open):
            self._close(number)

    def _connect(self, number: int) -> None:
        if number in self._open or len(self._open) >= MOST_OPEN:
            raise BadRequest(f"the connection {number} is open already, or {MOST_OPEN} are")
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open[number] = made
        made.settimeout(_STUCK)
        made.connect(str(self.ctx.paths.socket(self.release.number)))
        threading.Thread(target=self._pass_on, args=(number, made), daemon=True, name=f"preview {number}").start()

    def _pass_on(self, number: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed, or the laptop has gone
            while data := _receive(connection):
                self._send(number, data)
        self._close(number)
        self._end(number)

    def _send(self, number: int, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            self.ctx.emit("preview", number=number, data=base64.b64encode(data[at : at + _PIECE]).decode())

    def _end(self, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.ctx.emit("preview", number=number, data="")

    def _close(self, number: int) -> None:
        made = self._open.pop(number, None)
        if made is not None:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()

    def _file(self, path: str) -> bytes:
        """A static file of the release, as the proxy would serve it after the switch. No link is followed."""
        site = self.ctx.settings.site
        for prefix, directory in site.static if site else ():
            if path.startswith(prefix) and self.release.tree:
                with contextlib.suppress(OSError, ValueError):
                    below = f"{directory}/{path[len(prefix) :]}"
                    content = ownership.read_below(Path(self.ctx.trees.path(self.release.tree)), below, _LARGEST)
                    import mimetypes

                    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                    return _response("200 OK", kind, content)
        return _response("404 Not Found", "text/plain", b"not in the release\n")


def _receive(connection: socket.socket) -> bytes:
    """What has come; empty at the end. Waits as long as the release takes to answer."""
    while True:
        try:
            return connection.recv(_PIECE)
        except (TimeoutError, socket.timeout):
            continue


def _response(status: str, kind: str, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
    return f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + content

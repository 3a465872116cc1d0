"""One HTTP request over a release's own socket, and what its response means."""

from __future__ import annotations

import socket
import time
from typing import Callable

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.release.health import Health

_TICK = 0.1
_LONGEST_ANSWER = 256 * 1024
_LATE = "no answer within"
_STATUS = pattern(rb"[1-9][0-9]{2}")


@dataclass(frozen=True)
class Response:
    """The result of a request. ``status`` is 0 when there was no HTTP response; ``fault`` says why."""

    status: int
    fault: str = ""
    seconds: float = 0.0
    location: str = ""

    def healthy(self, health: Health) -> bool:
        return health.accepts(self.status)

    @property
    def is_late(self) -> bool:
        """No response came in time, and nothing else went wrong."""
        return not self.status and self.fault.startswith(_LATE)

    def describe(self, health: Health) -> str:
        """Why the response is not healthy, for people."""
        asked = f"GET {health.path}"
        if not self.status:
            return f"{asked}: {self.fault}"
        if self.status == 400:
            return (
                f"{asked} answered 400 Bad Request to the host name {health.host!r}: "
                "Django does so when ALLOWED_HOSTS lacks that name. "
                "Set web.health.host in deploy.toml to a name it has"
            )
        elsewhere = f" to {self.location}" if self.location else ""
        return f"{asked} answered {self.status}{elsewhere}"


def request(path: str, health: Health, timeout: float, tick: Callable[[], object]) -> Response:
    """Send one request, for at most ``timeout`` seconds; ``tick`` is called about ten times a second meanwhile.

    An exception from ``tick`` ends it: a process that is known to be dead is not waited for.
    """
    started = time.monotonic()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TICK)
            connection.connect(path)
            connection.sendall(_message(health))
            head = _read_head(connection, started + timeout, tick)
    except socket.timeout:
        return Response(0, f"{_LATE} {timeout:.3g} s", time.monotonic() - started)
    except OSError as error:
        return Response(0, _fault(error), time.monotonic() - started)
    return _parse(head, time.monotonic() - started)


def _message(health: Health) -> bytes:
    lines = (
        f"GET {health.path} HTTP/1.1",
        f"Host: {health.host}",
        "User-Agent: deployer-health",
        "Accept: */*",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _read_head(connection: socket.socket, deadline: float, tick: Callable[[], object]) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _LONGEST_ANSWER:
        if received and time.monotonic() >= deadline:
            raise socket.timeout
        try:
            part = connection.recv(65536)
        except socket.timeout:
            tick()
            if time.monotonic() >= deadline:
                raise
            continue
        if not part:
            break
        received += part
    return received


def _fault(error: OSError) -> str:
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "the connection was reset before an answer came"
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return "nothing listens on the release's socket"
    return error.strerror or str(error)


def _parse(head: bytes, seconds: float) -> Response:
    if not head:
        return Response(0, "the connection was closed without an answer", seconds)
    lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
    words = lines[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not _STATUS.fullmatch(words[1]):
        return Response(0, f"what came back is not HTTP: {lines[0][:60]!r}", seconds)
    return Response(int(words[1]), "", seconds, _header(lines[1:], b"location") or "")


def _header(lines: list[bytes], name: bytes) -> str | None:
    for line in lines:
        key, colon, value = line.partition(b":")
        if colon and key.strip().lower() == name:
            return value.strip().decode("latin-1")[:200]
    return None

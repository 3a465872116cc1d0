"""HTTP/1.1 as a client that distrusts the server: an answer is complete, or a `Failure` of some kind."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import ssl

MAX_HEAD = 64 * 1024  # bytes


class Failure(Exception):
    """A request that did not succeed."""

    def __init__(self, kind: str, detail: str = "", version: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail, self.version = kind, detail, version


class Unanswered(Failure):
    """The connection ended before any byte of the answer came."""


class Connection:
    """One connection, and the bytes of it that were read but not used."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.buffer = b""
        self.answered = False

    @property
    def usable(self) -> bool:
        """Whether it may carry another request, as far as this side knows."""
        ended = self.reader.at_eof() or self.reader.exception() is not None
        return not ended and not self.writer.transport.is_closing()

    async def send(self, request: bytes) -> None:
        self.answered = False
        try:
            self.writer.write(request)
            await self.writer.drain()
        except OSError as error:
            raise Unanswered("reset", f"while sending: {error}") from error

    async def more(self) -> None:
        """Read at least one more byte into the buffer."""
        try:
            data = await self.reader.read(MAX_HEAD)
        except OSError as error:
            raise (Failure if self.answered else Unanswered)("reset", str(error)) from error
        if not data:
            if self.answered:
                raise Failure("short-body", f"closed with {len(self.buffer)} bytes unused")
            raise Unanswered("closed", "closed before any byte of the answer")
        self.answered = True
        self.buffer += data

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if len(self.buffer) > MAX_HEAD:
                raise Failure("bad-response", f"no {mark!r} in {len(self.buffer)} bytes")
            await self.more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self.more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def close(self) -> None:
        """At once: nothing that is still to be sent or read matters any more."""
        self.writer.transport.abort()


async def connect(unix: str, host: str, port: int, tls: str = "") -> Connection:
    """A fresh connection, to the socket `unix` or, if that is "", over TCP; with `tls` for the server of that name.

    On a Unix socket a full accept queue is an error at once (BlockingIOError), as it is for a proxy;
    asyncio's own connect would take it for success.
    """
    if tls:
        return Connection(*await asyncio.open_connection(host, port, ssl=_unverified(), server_hostname=tls))
    if not unix:
        return Connection(*await asyncio.open_connection(host, port))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(unix)
        return Connection(*await asyncio.open_unix_connection(sock=sock))
    except BaseException:
        sock.close()
        raise


@functools.cache
def _unverified() -> ssl.SSLContext:
    """What is measured is whether requests are lost, not whether a test's certificate is known here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def read_head(connection: Connection) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case) of the final answer; interim ones (1xx) are passed over."""
    status = 100
    headers: dict[str, str] = {}
    while 100 <= status < 200:
        first, *lines = (await connection.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        protocol, _, rest = first.partition(" ")
        if not protocol.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise Failure("bad-response", first[:120])
        status = int(rest[:3])
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if protocol == "HTTP/1.0":
            headers.setdefault("connection", "close")
    return status, headers


async def read_body(connection: Connection, method: str, status: int, headers: dict[str, str]) -> bytes:
    """The whole body. One that ends only where the connection does cannot be proved complete: `no-length`."""
    if method == "HEAD" or status in (204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await read_chunks(connection)
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise Failure("no-length", f"Content-Length: {length!r}")
    return await connection.exactly(int(length))


async def read_chunks(connection: Connection) -> bytes:
    """A chunked body, up to and with its trailers."""
    body = b""
    while True:
        line = await connection.until(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise Failure("bad-response", f"chunk size {line[:40]!r}") from error
        if not size:
            break
        body += await connection.exactly(size)
        await connection.exactly(2)
    while await connection.until(b"\r\n"):
        pass
    return body


def echoes(body: bytes, expected: list[object]) -> bool:
    """Whether an answer of /echo says that it saw what was sent."""
    try:
        answer = json.loads(body)
        return [answer["sha256"], answer["length"]] == expected
    except (ValueError, KeyError, TypeError):
        return False

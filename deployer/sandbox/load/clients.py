"""The process behind `deployer.sandbox.load`: HTTP clients in an event loop that does nothing else.

It reads an `LoadOrder` on stdin, one line of JSON, then commands (`flush N`, `stop`; the end of stdin means that
its parent is gone), and writes one JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass

from deployer.sandbox.load.http import Connection, Failure, Unanswered, connect, echoes, read_body, read_head

Row = tuple[
    float, float, str, str, bool, str
]  # ended (monotonic s), latency (s), failure kind, version, retried, detail
REPORT_EVERY = 0.1  # seconds
AFTER_A_FAILURE = 0.01  # seconds: else a refused client would measure only how fast a kernel can refuse


@dataclass(frozen=True)
class LoadOrder:
    """What to do; `unix` is a socket's path or "", `request` is the whole of it as latin-1 text."""

    unix: str
    host: str
    port: int
    tls: str  # the name to ask a certificate for; "" for plain HTTP
    clients: int
    keepalive: bool
    method: str
    request: str
    echo: list[object]  # [sha256, length] that the answer must hold, or nothing
    pause: float
    timeout: float
    max_seconds: float


class Client:
    """Sends one request after the other, until told to stop."""

    def __init__(self, order: LoadOrder, rows: list[Row], stopping: asyncio.Event) -> None:
        self.order, self.rows, self.stopping = order, rows, stopping
        self.bytes = order.request.encode("latin-1")
        self.connection: Connection | None = None
        self.retried = False
        self.busy = False

    async def run(self) -> None:
        while not self.stopping.is_set():
            self.busy = True
            started = time.monotonic()
            kind, version, detail = await self.outcome()
            ended = time.monotonic()
            self.busy = False
            self.rows.append((ended, ended - started, kind, version, self.retried, detail))
            pause = max(self.order.pause, AFTER_A_FAILURE if kind else 0)
            if pause:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), pause)
        self.drop()

    async def outcome(self) -> tuple[str, str, str]:
        """Failure kind (or ""), version, detail."""
        self.retried = False
        try:
            return "", await asyncio.wait_for(self.request(), self.order.timeout), ""
        except Failure as failure:
            result = failure.kind, failure.version, failure.detail
        except asyncio.TimeoutError:
            result = "timeout", "", f"no complete answer in {self.order.timeout:g} s"
        except ConnectionRefusedError as error:
            result = "refused", "", str(error)
        except FileNotFoundError as error:
            result = "no-socket", "", str(error)
        except BlockingIOError as error:
            result = "queue-full", "", str(error)
        except OSError as error:
            result = "cannot-connect", "", str(error)
        self.drop()
        return result

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    async def request(self) -> str:
        """The version that answered; raises Failure or OSError."""
        if self.connection is not None and self.connection.usable:
            try:
                return await self.exchange(self.connection)
            except Unanswered:  # normal HTTP: an idle connection may be closed at any time (RFC 9112, 9.3.1)
                if self.order.method not in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
                    raise
                self.retried = True
        self.drop()
        self.connection = await connect(self.order.unix, self.order.host, self.order.port, self.order.tls)
        return await self.exchange(self.connection)

    async def exchange(self, connection: Connection) -> str:
        await connection.send(self.bytes)
        status, headers = await read_head(connection)
        version = headers.get("x-version", "")
        try:
            body = await read_body(connection, self.order.method, status, headers)
            if connection.buffer:
                raise Failure("long-body", f"{len(connection.buffer)} bytes too many")
        except Failure as failure:
            failure.version = version
            raise
        if not 200 <= status < 400:
            raise Failure(f"status-{status}", body[:120].decode("latin-1"), version)
        if self.order.echo and not echoes(body, self.order.echo):
            raise Failure("wrong-echo", body[:120].decode("latin-1"), version)
        if not self.order.keepalive or "close" in headers.get("connection", "").lower():
            self.drop()
        return version


class ClientProcess:
    """The clients, and the pipe to the parent."""

    def __init__(self, order: LoadOrder, out: asyncio.WriteTransport) -> None:
        self.out = out
        self.rows: list[Row] = []
        self.stopping = asyncio.Event()
        self.clients = [Client(order, self.rows, self.stopping) for _ in range(order.clients)]
        self.limit = order.max_seconds

    def say(self, **more: object) -> None:
        rows = self.rows[:]
        self.rows.clear()
        in_flight = sum(client.busy for client in self.clients)
        line = json.dumps({"rows": rows, "in_flight": in_flight, "now": time.monotonic(), **more})
        self.out.write(line.encode() + b"\n")

    async def report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            self.say()

    async def run(self, commands: asyncio.StreamReader) -> None:
        reporting = asyncio.ensure_future(self.report())
        asyncio.get_running_loop().call_later(self.limit, self.stopping.set)
        running = asyncio.gather(*(client.run() for client in self.clients))
        self.say(started=True)
        while (command := (await commands.readline()).decode().split()) != ["stop"]:
            if not command:
                os._exit(0)  # the parent is gone
            self.say(ack=int(command[1]))
        self.stopping.set()
        await running
        reporting.cancel()
        self.say(done=True)


async def main(order: LoadOrder) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    out, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
    await ClientProcess(order, out).run(commands)
    out.close()
    while out.get_write_buffer_size():
        await asyncio.sleep(0.001)


def run() -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it stops us in its own time
    asyncio.run(main(LoadOrder(**json.loads(sys.stdin.buffer.readline()))))

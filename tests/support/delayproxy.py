"""A TCP proxy that is as far away as you say: every byte takes half a round trip, in each direction.

It runs in a process of its own, so that the program under test cannot disturb it. Bytes wait in a queue with
their time of release, so that the distance costs latency and no throughput.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

CHUNK = 256 * 1024  # bytes
IN_FLIGHT = 64 << 20  # bytes one direction may hold before its sender is made to wait


class DelayProxy:
    """Context manager: while it is open, `listen_host:port` is `target_host:target_port`, `rtt_ms` away.

    The target sees a connection 1.5 round trips after the client began it, as with real TCP (SYN, SYN-ACK,
    ACK), so the first byte of a server that speaks first arrives after two. What differs from a real link is
    that connect() returns at once (the wait follows), and that a target that refuses shows as a reset later.
    """

    def __init__(self, target_host: str, target_port: int, listen_host: str = "127.0.20.1", rtt_ms: float = 50) -> None:
        self._spec = json.dumps([target_host, target_port, listen_host, rtt_ms / 1000])
        self.host = listen_host
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._counters = {"bytes_up": 0, "bytes_down": 0, "connections": 0}

    def __enter__(self) -> DelayProxy:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), self._spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.port = self._reply()["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        with contextlib.suppress(RuntimeError, OSError):
            self._ask("counters")  # they can be read afterwards, too
        self._process = None
        process.kill()
        process.communicate()

    @property
    def bytes_up(self) -> int:
        """Bytes that came from clients so far, all connections together."""
        return self._ask("counters")["bytes_up"]

    @property
    def bytes_down(self) -> int:
        """Bytes that came from the target so far, all connections together."""
        return self._ask("counters")["bytes_down"]

    @property
    def connections(self) -> int:
        """Connections that clients have opened so far."""
        return self._ask("counters")["connections"]

    def blackhole(self) -> None:
        """Pull the cable: from now on nothing arrives anywhere, neither bytes nor the end of a connection.

        New connections are still accepted by this machine's kernel, and hear nothing.
        """
        self._ask("blackhole")

    def restore(self) -> None:
        """Plug the cable in: what was sent meanwhile arrives now, as TCP's retransmissions would bring it."""
        self._ask("restore")

    def _ask(self, command: str) -> dict[str, int]:
        if self._process is None:
            if command != "counters":
                raise RuntimeError("the delay proxy is not open")
            return self._counters
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._counters = self._reply()
        return self._counters

    def _reply(self) -> dict[str, int]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the delay proxy died: exit status {self._process.wait()}")
        reply: dict[str, int] = json.loads(line)
        return reply


class _Link:
    """The proxy's side of it: one listener, and what all its connections share."""

    def __init__(self, host: str, port: int, rtt: float) -> None:
        self.target = (host, port)
        self.rtt = rtt  # seconds
        self.up = asyncio.Event()
        self.up.set()
        self.counters = {"bytes_up": 0, "bytes_down": 0, "connections": 0}
        self._kept: set[asyncio.Task[None]] = set()

    async def accept(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        """Carry one connection from its SYN to its end."""
        self.counters["connections"] += 1
        arrival = asyncio.get_running_loop().time() + 1.5 * self.rtt
        upward = _Lane(self, near, "bytes_up", not_before=arrival)
        downward: _Lane | None = None
        far_writer: asyncio.StreamWriter | None = None
        deliveries: list[asyncio.Task[None]] = []
        try:
            await self.until(arrival)
            far, far_writer = await asyncio.open_connection(*self.target, limit=CHUNK)
            downward = _Lane(self, far, "bytes_down", not_before=0)
            deliveries = [
                self.spawn(upward.deliver(far_writer)),
                self.spawn(downward.deliver(near_writer)),
            ]
            await asyncio.gather(*deliveries)
        except OSError:  # a reset on either side, or a target that refuses, resets both
            for writer in filter(None, (near_writer, far_writer)):
                _reset(writer)
        finally:
            for delivery in deliveries:
                delivery.cancel()
            for lane in filter(None, (upward, downward)):
                lane.close()
            for writer in filter(None, (near_writer, far_writer)):
                writer.close()

    async def until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
        await self.up.wait()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task


class _Lane:
    """One direction of one connection: takes bytes as they come and hands them on half a round trip later."""

    def __init__(self, link: _Link, reader: asyncio.StreamReader, counter: str, not_before: float) -> None:
        self.link, self.reader, self.counter, self.not_before = link, reader, counter, not_before
        self.queue: deque[tuple[float, bytes | OSError]] = deque()
        self.held = 0
        self.changed = asyncio.Event()
        self.task = link.spawn(self._take())

    async def _take(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            data: bytes | OSError
            try:
                data = await self.reader.read(CHUNK)
            except OSError as error:
                data = error
            if isinstance(data, bytes):
                self.link.counters[self.counter] += len(data)
                self.held += len(data)
            self.queue.append((max(self.not_before, clock() + self.link.rtt / 2), data))
            self.changed.set()
            if not data or isinstance(data, OSError):
                return
            while self.held > IN_FLIGHT:
                self.changed.clear()
                await self.changed.wait()

    async def deliver(self, writer: asyncio.StreamWriter) -> None:
        """Hand everything on, in order and in time, to the end of the stream; OSError if that was a reset."""
        while True:
            while not self.queue:
                self.changed.clear()
                await self.changed.wait()
            release, data = self.queue.popleft()
            await self.link.until(release)
            if isinstance(data, OSError):
                raise data
            if not data:
                if writer.can_write_eof() and not writer.transport.is_closing():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            self.held -= len(data)
            self.changed.set()

    def close(self) -> None:
        self.task.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)  # a close that sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _serve(spec: str) -> None:
    host, port, listen_host, rtt = json.loads(spec)
    link = _Link(host, port, rtt)
    server = await asyncio.start_server(link.accept, listen_host, 0, limit=CHUNK, backlog=512)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode().strip():
        if line == "blackhole":
            link.up.clear()
        elif line == "restore":
            link.up.set()
        print(json.dumps(link.counters), flush=True)
    os._exit(0)  # whoever opened the proxy is gone


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))

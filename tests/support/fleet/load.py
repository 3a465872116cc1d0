"""Load on every host of a fleet, from one process: what failed where, and when each host's answers changed.

It is the clients of :mod:`deployer.sandbox.load`, some for each host, in one event loop. Times are seconds of
``time.monotonic()``, so that those of several hosts can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from deployer.sandbox.load.clients import Client, LoadOrder, Row
from deployer.sandbox.load.report import Report, Sample, summarise
from tests.support.site import CALM

ROOT = Path(__file__).resolve().parents[3]
CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from tests.support.fleet.load import run; run()"
MAX_SECONDS = 600.0


class FleetLoad:
    """A context manager: ``clients`` for each of the ``places`` (address and port, by name), one request each at a
    time, ``pause`` seconds between two. ``keepalive`` spares the connections: cheaper, for measuring."""

    def __init__(
        self,
        places: Mapping[str, tuple[str, int]],
        *,
        clients: int = 1,
        pause: float = CALM,
        timeout: float = 15.0,
        keepalive: bool = False,
    ) -> None:
        self._orders = {
            name: asdict(_order(address, port, clients, pause, timeout, keepalive))
            for name, (address, port) in places.items()
        }
        self._process: subprocess.Popen[str] | None = None
        self._reports: dict[str, Report] | None = None
        self._start = 0.0

    def __enter__(self) -> FleetLoad:
        command = [sys.executable, "-c", CHILD, str(ROOT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._start = time.monotonic()
        self._ask(json.dumps(self._orders))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            self._kill()

    def counts(self) -> dict[str, int]:
        """How many requests have succeeded on each host so far."""
        found: dict[str, int] = self._ask("counts")
        return found

    def stop(self) -> dict[str, Report]:
        """Send no more requests, wait for those in flight, and report on each host; again: the same."""
        if self._reports is None:
            rows = self._ask("stop")
            end = time.monotonic()
            self._kill()
            self._reports = {
                name: summarise(
                    (Sample(*row) for row in found), start=self._start, end=end, epoch=time.time() - time.monotonic()
                )
                for name, found in rows.items()
            }
        return self._reports

    def _ask(self, line: str) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # what it answers tells
            process.stdin.write(line + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the load generator died: exit status {process.wait()}")
        return json.loads(answer)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def _order(address: str, port: int, clients: int, pause: float, timeout: float, keepalive: bool) -> LoadOrder:
    kept = "keep-alive" if keepalive else "close"
    request = f"GET / HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: fleet-load\r\nConnection: {kept}\r\n\r\n"
    return LoadOrder(
        unix="", host=address, port=port, clients=clients, keepalive=keepalive, method="GET", request=request, echo=[],
        pause=pause, timeout=timeout, max_seconds=MAX_SECONDS, tls="",
    )  # fmt: skip


async def main() -> None:
    """The child: orders, then commands, one a line; each is answered with one line."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    orders = {name: LoadOrder(**order) for name, order in json.loads(await commands.readline()).items()}
    stopping = asyncio.Event()
    loop.call_later(MAX_SECONDS, stopping.set)
    rows: dict[str, list[Row]] = {name: [] for name in orders}
    clients = [Client(order, rows[name], stopping) for name, order in orders.items() for _ in range(order.clients)]
    running = asyncio.gather(*(client.run() for client in clients))
    _say({})
    while (command := (await commands.readline()).decode().strip()) != "stop":
        if not command:
            os._exit(0)  # whoever started it is gone
        _say({name: sum(not row[2] for row in found) for name, found in rows.items()})
    stopping.set()
    await running
    _say(rows)


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


def run() -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main())

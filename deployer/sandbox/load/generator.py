"""A load generator that notices every request that is lost.

The clients run in a process of their own, so that neither the deploying program's threads nor its interpreter
lock can disturb the figures. It talks to this machine only.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from deployer.sandbox.load.clients import LoadOrder
from deployer.sandbox.load.report import Example, Latencies, Report, Sample, Served, summarise

__all__ = ["Example", "Latencies", "Load", "Report", "Sample", "Served"]

ROOT = Path(__file__).resolve().parents[3]  # where the package `deployer` is
CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from deployer.sandbox.load.clients import run; run()"
PATIENCE = 10.0  # seconds for the process to answer, beyond what its requests may take


class Load:
    """`clients` clients, each sending one request after the other; a context manager.

    The URL is `http://127.0.0.1:8000/path`, `http://[::1]/path` or `unix:/run/app.sock:/path` (nginx's way);
    ValueError if it is not on this machine. With `https:` the name in `host_header` is asked for, and no certificate
    is verified. `pause` is what a client waits between two requests, `timeout`
    what one request may take, connecting included; no request begins after `max_seconds`. All are seconds.

    A request succeeds when a complete answer with a 2xx or 3xx status came and, for a POST to /echo, the
    answer's SHA-256 and length are those of `body`. One sent on a kept-alive connection that ended before any
    byte of the answer is sent again, once, if its method is idempotent; `retried` counts those. A client
    waits 10 ms after a failure. Redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        *,
        clients: int = 4,
        keepalive: bool = False,
        method: str = "GET",
        body: bytes | None = None,
        host_header: str | None = None,
        pause: float = 0.0,
        timeout: float = 30.0,
        max_seconds: float = 600.0,
    ) -> None:
        unix, host, port, path = _locate(url)
        secure = url.startswith("https:")
        self._order = LoadOrder(
            unix=unix,
            host=host,
            port=port,
            tls=(host_header or host) if secure else "",
            clients=clients,
            keepalive=keepalive,
            method=method.upper(),
            request=_request(method.upper(), path, host_header or _authority(host, port), keepalive, body),
            echo=_echo(method.upper(), path, body or b""),
            pause=pause,
            timeout=timeout,
            max_seconds=max_seconds,
        )
        self._epoch = 0.0
        self._start = self._end = 0.0
        self._samples: list[Sample] = []
        self._marks: list[tuple[float, str]] = []
        self._in_flight = 0
        self._acknowledged = -1
        self._asked = 0
        self._dead = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._report: Report | None = None

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._kill()

    def start(self) -> None:
        """Begin; returns when the clients are running. RuntimeError if that fails, or if started before."""
        if self._process is not None:
            raise RuntimeError("a load can be started once")
        self._epoch = time.time() - time.monotonic()
        command = [sys.executable, "-I", "-c", CHILD, str(ROOT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._reader.start()
        self._say(json.dumps(asdict(self._order)))
        self._wait_for(lambda: self._start > 0, PATIENCE)

    def mark(self, label: str) -> float:
        """Note that something happens now; returns the time (monotonic seconds)."""
        now = time.monotonic()
        self._marks.append((now, label))
        return now

    def snapshot(self) -> Report:
        """All that has been seen by now."""
        if self._report is not None:
            return self._report
        self._asked += 1
        self._say(f"flush {self._asked}")
        self._wait_for(lambda: self._acknowledged >= self._asked, PATIENCE)
        return self._summary()

    def stop(self) -> Report:
        """Send no more requests, wait for those in flight, and report; called again, it returns the same."""
        if self._report is None:
            self._say("stop")
            try:
                self._wait_for(lambda: self._end > 0, self._order.timeout + PATIENCE)
                self._report = self._summary()
            finally:
                self._kill()
        return self._report

    def _summary(self) -> Report:
        with self._news:
            return summarise(
                self._samples,
                start=self._start,
                end=self._end or time.monotonic(),
                epoch=self._epoch,
                marks=self._marks,
                in_flight=self._in_flight,
            )

    def _say(self, command: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the load has not been started")
        with contextlib.suppress(BrokenPipeError):  # whoever waits for the answer finds out
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            news = json.loads(line)
            with self._news:
                self._take(news)
                self._news.notify_all()
        with self._news:
            self._dead = True
            self._news.notify_all()

    def _take(self, news: dict[str, Any]) -> None:
        self._samples.extend(Sample(*row) for row in news["rows"])
        self._in_flight = news["in_flight"]
        self._acknowledged = news.get("ack", self._acknowledged)
        if "started" in news:
            self._start = news["now"]
        if "done" in news:
            self._end = news["now"]

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: condition() or self._dead, seconds)
            if condition():
                return
        self._kill()
        raise RuntimeError("the load generator died" if self._dead else "the load generator does not answer")

    def _kill(self) -> None:
        if self._process is not None and self._reader is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close() if pipe else None


def _locate(url: str) -> tuple[str, str, int, str]:
    """Socket path (or ""), host, port, request target."""
    if url.startswith("unix:/"):
        socket_path, separator, path = url.removeprefix("unix:").partition(":/")
        return socket_path, "localhost", 80, f"/{path}" if separator else "/"
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _is_loopback(host):
        raise ValueError(f"not an http or https URL on this machine's loopback addresses, nor a Unix socket: {url!r}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return "", host, parts.port or (443 if parts.scheme == "https" else 80), target


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _authority(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port in (80, 443) else f"{name}:{port}"


def _request(method: str, path: str, host: str, keepalive: bool, body: bytes | None) -> str:
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: deployer-load", "Accept: */*"]
    head.append(f"Connection: {'keep-alive' if keepalive else 'close'}")
    if body is not None or method in ("POST", "PUT", "PATCH"):
        head += ["Content-Type: application/octet-stream", f"Content-Length: {len(body or b'')}"]
    if any(character in line for line in head for character in "\r\n\0"):
        raise ValueError("a line break in the URL, the method or the host header")
    return "\r\n".join(head) + "\r\n\r\n" + (body or b"").decode("latin-1")


def _echo(method: str, path: str, body: bytes) -> list[object]:
    if method == "POST" and path.partition("?")[0] == "/echo":
        return [hashlib.sha256(body).hexdigest(), len(body)]
    return []

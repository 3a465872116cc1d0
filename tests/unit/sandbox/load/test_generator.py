"""The load generator must see every way in which a request can be lost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from deployer.sandbox.load import Load, Report
from deployer.sandbox.load.report import Sample, summarise

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"ok", *, status: str = "200 OK", length: int | None = None, more: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nX-Version: 1\r\n{more}\r\n".encode() + body


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request; IncompleteReadError when there is none."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    return head, await reader.readexactly(length)


def says(data: bytes) -> Handler:
    """A server that answers every connection's first request with `data` and closes it."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)

    return handler


@contextlib.contextmanager
def serving(handler: Handler, unix: Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server in a thread; yields its URL without a path."""
    loop = asyncio.new_event_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await handler(reader, writer)
        writer.close()

    async def listen() -> str:
        if unix:
            await asyncio.start_unix_server(connected, unix)
            return f"unix:{unix}:"
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    url = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def until(load: Load, condition: Callable[[Report], bool]) -> Report:
    """The first snapshot that satisfies the condition; AssertionError after 20 s."""
    deadline = time.monotonic() + 20
    while not condition(report := load.snapshot()):
        assert time.monotonic() < deadline, report
    return report


def outcome(url: str, *, requests: int = 3, **options: object) -> Report:
    """The report of a load of at least that many requests."""
    with Load(url, **{"clients": 2, **options}) as load:  # type: ignore[arg-type]
        until(load, lambda report: report.sent >= requests)
    return load.stop()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (answer(status="500 Internal Server Error"), "status-500"),
        (answer(status="404 Not Found"), "status-404"),
        (answer(b"half", length=8), "short-body"),
        (answer(b"too long", length=3), "long-body"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "short-body"),
        (b"HTTP/1.1 200 OK\r\n\r\nendless", "no-length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "short-body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "bad-response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad-response"),
        (b"", "closed"),
    ],
)
def test_an_answer_that_is_not_whole_and_good_is_a_failure(data: bytes, kind: str) -> None:
    """A wrong status, a wrong length, an unprovable end and no answer each count, under their own name."""
    with serving(says(data)) as url:
        report = outcome(url)
    assert report.succeeded == 0
    assert set(report.failures) == {kind}
    assert report.failures[kind] == report.failed == report.sent >= 3


@pytest.mark.parametrize(
    "data",
    [
        answer(),
        answer(status="302 Found"),
        answer(b"", status="204 No Content"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: t\r\n\r\n",
    ],
)
def test_a_whole_answer_is_a_success(data: bytes) -> None:
    """2xx and 3xx with all of their body, by length or in chunks, are successes."""
    with serving(says(data)) as url:
        report = outcome(url)
    assert (report.failed, report.failures) == (0, {})
    assert report.succeeded == report.sent >= 3


def test_a_refused_connection_is_a_failure() -> None:
    """Nobody listens: every request counts as refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    report = outcome(f"http://127.0.0.1:{port}/")
    assert set(report.failures) == {"refused"}


def test_a_missing_unix_socket_is_a_failure(tmp_path: Path) -> None:
    """The socket's file does not exist: every request says so."""
    assert set(outcome(f"unix:{tmp_path}/none.sock:/").failures) == {"no-socket"}


def test_a_full_accept_queue_is_a_failure(tmp_path: Path) -> None:
    """A Unix socket whose queue is full refuses at once, and that is not taken for a connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "full.sock"))
        listener.listen(0)
        with Load(f"unix:{tmp_path}/full.sock:/", clients=4, timeout=2) as load:
            until(load, lambda report: "queue-full" in report.failures)


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)  # a close that sends RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def test_a_reset_connection_is_a_failure() -> None:
    """A server that resets a connection instead of answering is seen."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    with serving(handler) as url:
        assert set(outcome(url).failures) == {"reset"}


def test_an_answer_that_never_comes_is_a_timeout() -> None:
    """A server that hangs costs `timeout` seconds, then counts as a failure."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with serving(handler) as url:
        report = outcome(url, requests=2, timeout=0.2)
    assert set(report.failures) == {"timeout"}
    assert all(example.latency >= 200 for example in report.examples)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        _, body = await read_request(reader)
        writer.write(answer(json.dumps({"sha256": hashlib.sha256(body).hexdigest(), "length": len(body)}).encode()))


async def forgetful_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _, body = await read_request(reader)
    writer.write(answer(json.dumps({"sha256": hashlib.sha256(body[1:]).hexdigest(), "length": len(body)}).encode()))


def test_a_posted_body_is_verified() -> None:
    """A POST to /echo succeeds only if the server saw the very bytes that were sent."""
    body = bytes(range(256)) * 1024
    with serving(echo) as url:
        good = outcome(f"{url}/echo", method="POST", body=body, keepalive=True)
    with serving(forgetful_echo) as url:
        bad = outcome(f"{url}/echo", method="POST", body=body)
    assert (good.failed, good.succeeded >= 3) == (0, True)
    assert set(bad.failures) == {"wrong-echo"}


def closes_on_the_second_request(connections: list[int]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await read_request(reader)
        writer.write(answer())
        await read_request(reader)

    return handler


def test_an_idempotent_request_on_a_closed_idle_connection_is_sent_again() -> None:
    """A kept-alive connection that ends before a byte of the answer is normal: retried and counted."""
    with serving(closes_on_the_second_request([])) as url:
        report = outcome(url, clients=1, keepalive=True, requests=6)
    assert report.failed == 0
    assert report.retried == report.sent - 1  # all but the first, which had a fresh connection


def test_a_post_on_a_closed_idle_connection_is_lost() -> None:
    """A POST may have been executed, so it is never sent twice: its loss is a failure."""
    with serving(closes_on_the_second_request([])) as url:
        report = outcome(url, clients=1, keepalive=True, method="POST", body=b"x")
    assert report.retried == 0
    assert set(report.failures) == {"closed"}


def test_a_fresh_connection_gets_no_second_chance() -> None:
    """Without a reused connection there is no retry, idempotent or not."""
    with serving(says(b"")) as url:
        report = outcome(url, keepalive=True)
    assert (report.retried, set(report.failures)) == (0, {"closed"})


@pytest.mark.parametrize(("resets", "kind"), [(False, "short-body"), (True, "reset")])
def test_half_an_answer_is_never_sent_again(resets: bool, kind: str) -> None:
    """Once a byte of the answer has come, a connection that ends is a failure even if it was a reused one."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer())
        await read_request(reader)
        writer.write(b"HTTP/1.1 200")
        if resets:
            reset(writer)

    with serving(handler) as url:
        report = outcome(url, clients=1, keepalive=True, requests=4)
    assert (report.retried, set(report.failures)) == (0, {kind})


def test_connections_are_kept_only_if_asked_and_allowed() -> None:
    """Keep-alive reuses a connection; without it, or after `Connection: close`, each request has its own."""

    def server(connections: list[int], more: str) -> Handler:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(1)
            while True:
                await read_request(reader)
                writer.write(answer(more=more))

        return handler

    kept: list[int] = []
    fresh: list[int] = []
    closing: list[int] = []
    with serving(server(kept, "")) as url:
        outcome(url, clients=1, keepalive=True)
    with serving(server(fresh, "")) as url:
        each = outcome(url, clients=1)
    with serving(server(closing, "Connection: close\r\n")) as url:
        told = outcome(url, clients=1, keepalive=True)
    assert (len(kept), len(fresh), len(closing)) == (1, each.sent, told.sent)


def test_requests_in_flight_are_finished_at_stop() -> None:
    """stop() waits for the answers that are still to come: none of them is lost, none is failed."""
    arrived = threading.Semaphore(0)
    let_go = threading.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.release()
        await asyncio.get_running_loop().run_in_executor(None, let_go.wait)
        writer.write(answer())

    with serving(handler) as url:
        load = Load(url, clients=2, pause=60)  # no second request, should an answer come before the word to stop does
        load.start()
        assert arrived.acquire(timeout=20)
        assert arrived.acquire(timeout=20)
        assert (load.snapshot().sent, load.snapshot().in_flight) == (0, 2)
        stopping = threading.Thread(target=load.stop)
        stopping.start()
        let_go.set()
        stopping.join()
    report = load.stop()
    assert (report.sent, report.succeeded, report.in_flight) == (2, 2, 0)


def test_unix_socket_and_host_header(tmp_path: Path) -> None:
    """A Unix socket is asked for the path after the colon, with the host header that was given."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader))[0])
        writer.write(answer())

    with serving(handler, tmp_path / "a.sock") as url:
        assert outcome(f"{url}/work?ms=20", host_header="shop.example.com").failed == 0
    assert heads[0].startswith(b"GET /work?ms=20 HTTP/1.1\r\nHost: shop.example.com\r\n")


def test_versions_in_order_of_appearance_and_cut_by_time() -> None:
    """The report tells which version answered when, and a mark can be used to cut it in two."""
    version = ["one"]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Version: {version[0]}\r\n\r\n".encode())

    with serving(handler) as url, Load(url, clients=1) as load:
        until(load, lambda report: report.sent >= 3)
        now = load.mark("switch")
        version[0] = "two"
        until(load, lambda report: len(report.versions) == 2)
    report = load.stop()
    one, two = report.versions
    assert (one.version, two.version) == ("one", "two")
    assert one.first < one.last < two.first <= two.last
    assert report.time_of("switch") == now < two.first
    before, after = report.between(report.start, now), report.between(now, report.end)
    assert before.sent + after.sent == report.sent
    assert [served.version for served in before.versions] == ["one"]
    assert after.versions[-1] == two


def test_figures_are_exact() -> None:
    """Percentiles are nearest ranks of the successes; failures are counted, and the first 20 shown."""
    good = [Sample(float(n), n / 1000, "", "1", False, "") for n in range(1, 201)]
    bad = [Sample(1000.0 + n, 9.0, "refused", "", False, f"{n}") for n in range(30)]
    report = summarise([*bad, *good], start=0, end=2000, epoch=0)
    assert (report.latencies.p50, report.latencies.p99, report.latencies.max) == (100, 198, 200)
    assert (report.sent, report.succeeded, report.failed) == (230, 200, 30)
    assert (report.failures, [example.detail for example in report.examples]) == (
        {"refused": 30},
        [str(n) for n in range(20)],
    )
    assert math.isnan(report.between(1000, 1001).latencies.p50)


def test_no_request_begins_after_max_seconds() -> None:
    """A forgotten load ends by itself: clients stand still only once none of them may begin another request."""
    with serving(says(answer())) as url, Load(url, max_seconds=0.2) as load:
        report = until(load, lambda report: report.sent > 0 and report.in_flight == 0)
        assert load.snapshot().sent == report.sent


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/",
        "http://example.com/",
        "https://127.0.0.1/",
        "http://[2001:db8::1]/",
        "ftp://127.0.0.1/",
        "x",
    ],
)
def test_only_this_machine_is_loaded(url: str) -> None:
    """Anything but loopback addresses and Unix sockets is refused before a byte is sent."""
    with pytest.raises(ValueError, match="loopback"):
        Load(url)


def test_a_generator_that_dies_is_no_good_news() -> None:
    """If the clients' process is gone, the figures are not returned as if all were well."""
    with serving(says(answer())) as url:
        load = Load(url)
        load.start()
        assert load._process is not None
        load._process.kill()
        with pytest.raises(RuntimeError, match="died"):
            load.stop()


def test_requests_go_over_tls_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    """Connections are kept there too; the server sees the name, and its certificate is not verified."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=any", "-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    names: set[str | None] = set()
    context.sni_callback = lambda _, name, __: names.add(name)

    async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer())

    with serving(keeps, tls=context) as url, Load(url, keepalive=True, host_header="shop.test") as load:
        deadline = time.monotonic() + 30
        while load.snapshot().succeeded < 20 and time.monotonic() < deadline:
            pass
        report = load.stop()
    assert (report.failed, names) == (0, {"shop.test"}) and report.succeeded >= 20

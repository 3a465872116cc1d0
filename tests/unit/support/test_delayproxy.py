"""The delay proxy must be far away, and otherwise not there."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.delayproxy import DelayProxy


@contextlib.contextmanager
def target(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on 127.0.0.1 that handles its connections one after the other in a thread; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        handle(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def dial(proxy: DelayProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=30)


def read_all(connection: socket.socket, into: list[bytes]) -> None:
    while data := connection.recv(65536):
        into.append(data)


@pytest.mark.parametrize("rtt", [0, 40])
def test_bytes_arrive_whole_and_in_order_both_ways(rtt: float) -> None:
    """5 MB of random bytes come back unchanged, the end of the stream too, and are counted."""
    payload = os.urandom(5_000_000)
    received: list[bytes] = []
    with target(echo) as port, DelayProxy("127.0.0.1", port, rtt_ms=rtt) as proxy:
        with dial(proxy) as client:
            reading = threading.Thread(target=read_all, args=(client, received))
            reading.start()
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
            reading.join()
        assert b"".join(received) == payload
        assert (proxy.bytes_up, proxy.bytes_down, proxy.connections) == (len(payload), len(payload), 1)
    assert proxy.bytes_up == len(payload)  # the figures outlive the proxy


def test_distance_costs_latency_once_and_no_throughput() -> None:
    """An exchange takes a round trip (two with the handshake), however many chunks are sent at a time."""
    chunks = 5000  # a delay for each, one after the other, would take longer than a test may
    with target(echo) as port, DelayProxy("127.0.0.1", port, rtt_ms=100) as proxy, dial(proxy) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened = time.monotonic()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert time.monotonic() - opened >= 0.199
        begun = time.monotonic()
        for _ in range(chunks):
            client.sendall(b"y")
        left = chunks
        while left:
            left -= len(client.recv(65536))
        assert time.monotonic() - begun >= 0.099


def test_a_server_that_speaks_first_is_heard_after_two_round_trips() -> None:
    """A greeting comes only after the handshake's round trip, as it would from a real distance."""
    with (
        target(lambda connection: connection.sendall(b"SSH-2.0")) as port,
        DelayProxy("127.0.0.1", port, rtt_ms=100) as proxy,
    ):
        begun = time.monotonic()
        with dial(proxy) as client:
            assert client.recv(7) == b"SSH-2.0"
            assert time.monotonic() - begun >= 0.199
            assert client.recv(1) == b""


def test_a_blackhole_is_silent_until_it_is_restored() -> None:
    """With the cable out neither bytes nor an end arrive; with it in again, nothing was lost."""
    heard: list[bytes] = []
    ended = threading.Event()

    def listen(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            heard.append(data)
            connection.sendall(data)
        ended.set()

    with target(listen) as port, DelayProxy("127.0.0.1", port, rtt_ms=0) as proxy, dial(proxy) as client:
        client.sendall(b"before")
        assert client.recv(6) == b"before"
        proxy.blackhole()
        client.sendall(b"during")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert (heard, ended.is_set()) == ([b"before"], False)
        proxy.restore()
        client.settimeout(30)
        assert client.recv(6) == b"during"
        assert client.recv(1) == b""
        assert ended.wait(10)


def test_a_target_that_refuses_ends_the_connection() -> None:
    """Nobody behind the proxy: the client is told, and does not wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with DelayProxy("127.0.0.1", port, rtt_ms=10) as proxy, dial(proxy) as client, pytest.raises(OSError):
        client.sendall(b"hello")
        if client.recv(1) == b"":
            raise OSError("closed")


def test_a_reset_is_passed_on() -> None:
    """A connection that the client resets is reset at the target: it neither stays open nor ends in order."""
    was_reset = threading.Event()

    def listen(connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            was_reset.set()

    with target(listen) as port, DelayProxy("127.0.0.1", port, rtt_ms=0) as proxy:
        client = dial(proxy)
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert was_reset.wait(10)

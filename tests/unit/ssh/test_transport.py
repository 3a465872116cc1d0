"""What comes over a connection is acknowledged at once, where the connection is TCP's and Linux's."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from paramiko.packet import Packetizer

from deployer.ssh.transport import WatchedPacketizer

QUICK = (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Spied:
    """A socket that notes its settings."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.settings: list[tuple[int, int, int]] = []

    def setsockopt(self, *setting: int) -> None:
        self.settings.append(setting)  # type: ignore[arg-type]
        self.real.setsockopt(*setting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class JumpHost:
    """A channel of another connection: it can be read from, and has no settings."""

    def __init__(self, real: socket.socket) -> None:
        self.recv = real.recv


@contextlib.contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            yield near, far


@contextlib.contextmanager
def unix() -> Iterator[tuple[socket.socket, socket.socket]]:
    """As a ProxyCommand has it."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_each_read_is_acknowledged_at_once() -> None:
    """Each, since the kernel forgets the setting; and only once something has come."""
    with tcp() as (near, far):
        spied = Spied(near)
        packetizer = WatchedPacketizer(spied)
        assert spied.settings == []
        for count in (1, 2):
            far.sendall(b"12345678")
            assert packetizer.read_all(8) == b"12345678"
            assert spied.settings == [QUICK] * count


@pytest.mark.parametrize("pair", [tcp, unix])
@pytest.mark.parametrize("wrapped", [Spied, JumpHost])
def test_whatever_the_connection_is_it_is_read(pair: Callable[[], Any], wrapped: type) -> None:
    """One that has no such setting is read as ever."""
    with pair() as (near, far):
        packetizer = WatchedPacketizer(wrapped(near))
        far.sendall(b"12345678")
        assert packetizer.read_all(8) == b"12345678"


def test_a_system_without_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop need not run Linux."""
    monkeypatch.delattr(socket, "TCP_QUICKACK")
    with tcp() as (near, far):
        packetizer = WatchedPacketizer(Spied(near))
        far.sendall(b"12345678")
        assert packetizer.read_all(8) == b"12345678"


def test_a_connection_that_is_closed_by_us_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had come is handed on; that it is closed is for the next read to tell."""

    def read_all(packetizer: Any, *_: Any) -> bytes:
        packetizer._sock.close()
        return b"12345678"

    monkeypatch.setattr(Packetizer, "read_all", read_all)
    with tcp() as (near, _):
        assert WatchedPacketizer(near).read_all(8) == b"12345678"

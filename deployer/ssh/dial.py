"""A socket to the far end's sshd: straight, through jump hosts, or by a proxy command."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any, Protocol

from paramiko.ssh_exception import SSHException

from deployer.errors import ConfigError, Unreachable
from deployer.ssh.settings import Settings
from deployer.ssh.target import Target


class Closeable(Protocol):
    def close(self) -> None: ...


class Carrier(Closeable, Protocol):
    """A login that can carry others: a jump host's."""

    @property
    def transport(self) -> Any: ...


Dialled = tuple[Any, tuple[Closeable, ...]]
"""A socket (or what behaves like one), and what must be closed after it."""
Hop = Callable[[Target, str | None], Carrier]
"""Logs in to a jump host; the text overrides its ProxyJump."""


def dial(target: Target, settings: Settings, hop: Hop) -> Dialled:
    """As ssh_config says. Raises OSError and SSHException, and what ``hop`` raises."""
    if settings.proxy_jump:
        *before, last = settings.proxy_jump
        return _through(target, settings, last, ",".join(before) or None, hop)
    if settings.proxy_command:
        return _by_command(settings.proxy_command)
    return _straight(settings), ()


def _straight(settings: Settings) -> socket.socket:
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        settings.hostname, settings.port, settings.address_family, socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(settings.connect_timeout)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _through(target: Target, settings: Settings, last: str, before: str | None, hop: Hop) -> Dialled:
    try:
        carrier = hop(Target.parse(last), before)
    except (Unreachable, ConfigError) as error:
        error.message = f"on the way to {target.name}: {error.message}"
        error.host = target.name
        raise
    try:
        return tunnel(carrier, settings), (carrier,)
    except BaseException:
        carrier.close()
        raise


def tunnel(carrier: Carrier, settings: Settings) -> Any:
    """A channel from the jump host to the host's sshd."""
    destination = (settings.hostname, settings.port)
    try:
        return carrier.transport.open_channel(
            "direct-tcpip", destination, ("127.0.0.1", 0), timeout=settings.connect_timeout
        )
    except SSHException as error:
        raise SSHException(f"the jump host could not connect: {error}") from error


class ProxyProcess:
    """A running ProxyCommand."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _by_command(command: str) -> Dialled:
    """Runs a ProxyCommand as OpenSSH does, by the user's shell; its stdin and stdout are a real socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [os.environ.get("SHELL", "/bin/sh"), "-c", f"exec {command}"]
        process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())
    return ours, (ProxyProcess(process),)

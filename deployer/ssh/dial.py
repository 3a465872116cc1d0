"""A socket to the far end's sshd: straight, through jump hosts, or by a proxy command."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from paramiko.ssh_exception import SSHException

from deployer.errors import ConfigError, Unreachable
from deployer.ssh.settings import SshSettings
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


def dial(target: Target, settings: SshSettings, hop: Hop) -> Dialled:
    """As ssh_config says. Raises OSError and SSHException, and what ``hop`` raises."""
    if settings.proxy_jump:
        *before, last = settings.proxy_jump
        return _through(target, settings, last, ",".join(before) or None, hop)
    if settings.proxy_command:
        return _by_command(settings.proxy_command)
    return _straight(settings), ()


def _straight(settings: SshSettings) -> socket.socket:
    failure = OSError("the name has no address")
    unreachable: dict[str, socket.AddressFamily] = {}
    routed = False
    for family, kind, protocol, _, address in socket.getaddrinfo(
        settings.hostname, settings.port, settings.address_family, socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(settings.connect_timeout)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                unreachable[str(address[0])] = family
            else:
                failure, routed = error, True
        else:
            return sock
    if unreachable and not routed:
        raise NoRouteError(tuple(unreachable), set(unreachable.values()))
    raise failure


def _through(target: Target, settings: SshSettings, last: str, before: str | None, hop: Hop) -> Dialled:
    try:
        carrier = hop(Target.parse(last), before)
    except (Unreachable, ConfigError) as error:
        raise replace(error, message=f"on the way to {target.name}: {error.message}", host=target.name) from error
    try:
        return tunnel(carrier, settings), (carrier,)
    except BaseException:
        carrier.close()
        raise


class JumpError(SSHException):  # type: ignore[misc]
    """The jump host is logged in to, and does not get any further."""


def tunnel(carrier: Carrier, settings: SshSettings) -> Any:
    """A channel from the jump host to the host's sshd."""
    destination = (settings.hostname, settings.port)
    try:
        return carrier.transport.open_channel(
            "direct-tcpip", destination, ("127.0.0.1", 0), timeout=settings.connect_timeout
        )
    except SSHException as error:
        raise JumpError(getattr(error, "text", "") or str(error)) from error


class ProxyEndedError(Exception):
    """The ProxyCommand ended before there was a connection."""

    def __init__(self, command: str, status: int, said: str) -> None:
        super().__init__(command, status, said)
        self.command, self.status, self.said = command, status, said


class NoRouteError(OSError):
    """There are addresses, and none can be reached from here. ``family`` is that of all of them, if it is one."""

    def __init__(self, addresses: tuple[str, ...], families: set[socket.AddressFamily]) -> None:
        super().__init__(errno.ENETUNREACH, "no route")
        kinds = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
        self.addresses = addresses
        self.kind = " and ".join(sorted(kinds.get(family, str(family)) for family in families))


class ProxyProcess:
    """A running ProxyCommand. What it says on stderr is passed on, and the last of it kept."""

    def __init__(self, process: subprocess.Popen[bytes], command: str) -> None:
        self._process = process
        self._command = command
        self._said = b""
        self._listener = threading.Thread(target=self._listen, daemon=True, name="proxy-stderr")
        self._listener.start()

    def _listen(self) -> None:
        stream = self._process.stderr
        while stream is not None and (line := stream.readline()):
            self._said = line.strip() or self._said
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(line.decode("utf-8", "replace"))

    def refuse_if_ended(self) -> None:
        """Raises ProxyEndedError when the command has ended, as it nearly always has when the connection did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(1)
            self._listener.join(1)
            raise ProxyEndedError(self._command, status, self._said.decode("utf-8", "replace"))

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
        process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE)
    return ours, (ProxyProcess(process, command),)

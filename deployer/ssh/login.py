"""From a target to an authenticated transport: dial, see whether it is the host, log in."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from paramiko.ssh_exception import SSHException

from deployer.errors import ConfigError, Unreachable
from deployer.ssh import hostkeys, trust
from deployer.ssh.auth import KeptWaitingError, authenticate
from deployer.ssh.dial import Closeable, Dialled, dial
from deployer.ssh.settings import Settings, resolve
from deployer.ssh.target import SshOptions, Target, ssh_command
from deployer.ssh.transport import StrictTransport

MAX_HOPS = 8
ANSWER_TIME = 120.0
"""Seconds for what a ProxyCommand may ask at the terminal: sshd gives a login as many (LoginGraceTime)."""
TRIES = 4
"""sshd turns away some of many simultaneous logins before it greets them (MaxStartups)."""

Via = Callable[[Settings], Dialled]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An authenticated transport, and what carries it (a jump host's login, a proxy command)."""

    transport: StrictTransport
    settings: Settings
    beneath: tuple[Closeable, ...] = ()

    def close(self) -> None:
        for part in (self.transport, *self.beneath):
            part.close()


class NoGreetingError(Exception):
    """The connection ended before the far end said that it speaks SSH."""


def login(
    target: Target,
    options: SshOptions,
    *,
    settings: Settings | None = None,
    via: Via | None = None,
    hops: int = 0,
) -> Login:
    """Connects and logs in, strictly. Raises Unreachable or ConfigError; nothing was touched then.

    ``settings`` are asked of ssh_config when not given; ``via`` dials in another way than they say.
    """
    if hops > MAX_HOPS:
        raise ConfigError(message=f"more than {MAX_HOPS} jump hosts: ProxyJump in ssh_config goes in circles")
    known = settings or resolve(target, options)
    options = replace(options, password_prompt=None, terminal=contextlib.nullcontext) if known.batch else options
    way = via or (lambda settings: dial(target, settings, lambda hop, jump: _hop(hop, options, jump, hops)))
    with translated(target, options, known):
        for attempt in range(1, TRIES):
            with contextlib.suppress(NoGreetingError, KeptWaitingError):
                return _login(target, options, known, way)
            time.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
        return _login(target, options, known, way)


def _hop(target: Target, options: SshOptions, jump: str | None, hops: int) -> Login:
    """As OpenSSH does: by the jump host's own part of ssh_config, not with the keys given for the target."""
    theirs = replace(options, identities=(), password=None)
    return login(target, theirs, settings=resolve(target, theirs, jump), hops=hops + 1)


def _login(target: Target, options: SshOptions, settings: Settings, way: Via) -> Login:
    with options.doors.through(settings), contextlib.ExitStack() as undo:
        with _asks_by_itself(options, settings):
            sock, beneath = way(settings)
            for part in beneath:
                undo.callback(part.close)
            transport = StrictTransport(sock)
            undo.callback(transport.close)
            negotiate(transport, target, options, settings)
        authenticate(transport, target, options, settings)
        transport.watch(settings.alive_interval, settings.alive_interval * settings.alive_count)
        undo.pop_all()
    return Login(transport=transport, settings=settings, beneath=beneath)


@contextlib.contextmanager
def _asks_by_itself(options: SshOptions, settings: Settings) -> Iterator[None]:
    """A ProxyCommand is nearly always another ssh, with its own passphrases and questions at the terminal."""
    if settings.proxy_jump or not settings.proxy_command:
        yield
        return
    with options.terminal():
        yield


def negotiate(transport: StrictTransport, target: Target, options: SshOptions, settings: Settings) -> None:
    """Agrees on keys with the far end and checks whose they are. Nothing secret was said before."""
    known = hostkeys.lookup(settings)
    choices = transport.get_security_options()
    choices.key_types = hostkeys.preference(known, settings.host_key_algorithms, choices.key_types)
    asks = bool(settings.proxy_command and not settings.proxy_jump and options.password_prompt)
    patience = max(settings.connect_timeout, ANSWER_TIME) if asks else settings.connect_timeout
    transport.banner_timeout = patience
    transport.channel_timeout = max(settings.connect_timeout, 30.0)
    _start(transport, patience)
    key = transport.get_remote_server_key()
    presented = hostkeys.HostKey(type=key.get_name(), blob=key.asbytes())
    trust.check(target, options, settings, known, presented)


def _start(transport: StrictTransport, patience: float) -> None:
    begun = time.monotonic()
    try:
        transport.start_client(timeout=patience * 2)
    except Exception as error:  # whatever the far end's bytes made of Paramiko
        if time.monotonic() - begun >= patience:
            raise TimeoutError from error
        if not transport.remote_version:
            raise NoGreetingError(str(error)) from error
        raise SSHException(f"no agreement on how to encrypt: {error or 'it hung up'}") from error
    if not transport.initial_kex_done:
        raise TimeoutError


@contextlib.contextmanager
def translated(target: Target, options: SshOptions, settings: Settings) -> Iterator[None]:
    """Foreign exceptions of connecting as Unreachable."""
    try:
        yield
    except (NoGreetingError, SSHException, EOFError, OSError) as error:
        why, then = _explain(error, settings, f"{ssh_command(target, options)} true")
        message = f"{target.name} can't be reached: {why}"
        raise Unreachable(message=message, state="nothing was touched", next=then, host=target.name) from error


def _explain(error: Exception, settings: Settings, by_hand: str) -> tuple[str, str]:
    """Why, and what to do."""
    where = f"{settings.hostname} port {settings.port}"
    look = f"look at what it says: {by_hand}"
    if isinstance(error, socket.gaierror):
        return f"the name {settings.hostname} has no address", "check the name, and your DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}", "check the port, and that sshd runs there"
    if isinstance(error, TimeoutError):
        limit = str(error) or f"{settings.connect_timeout:g} s"
        return f"no answer from {where} within {limit}", "check the address and the firewall; is the host up?"
    if isinstance(error, NoGreetingError):
        return f"what answers at {where} does not speak SSH, or turned us away", look
    if isinstance(error, EOFError):
        return f"{where} hung up", look
    if isinstance(error, OSError):
        return f"{where}: {error.strerror or error}", f"try it by hand: {by_hand}"
    return f"{where}: {error}", f"try it by hand: {by_hand}"

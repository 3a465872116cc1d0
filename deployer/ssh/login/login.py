"""From a target to an authenticated transport: dial, see whether it is the host, log in."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from paramiko.ssh_exception import SSHException

from deployer.errors import ConfigError, Unreachable
from deployer.errors.local import local_failure
from deployer.ssh import causes, hostkeys, trust
from deployer.ssh.dial import Closeable, Dialled, JumpError, NoRouteError, ProxyEndedError, ProxyProcess, dial
from deployer.ssh.login.methods import KeptWaitingError, authenticate
from deployer.ssh.options import SshOptions, ssh_command
from deployer.ssh.settings import SshSettings, resolve
from deployer.ssh.target import Target
from deployer.ssh.transport import CIPHERS, StrictTransport, printable
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass

MAX_HOPS = 8
ANSWER_TIME = 120.0
"""Seconds for what a ProxyCommand may ask at the terminal: sshd gives a login as many (LoginGraceTime)."""
TRIES = 4
"""sshd turns away some of many simultaneous logins before it greets them (MaxStartups): without a word, or since
OpenSSH 9.8 with a line that is no greeting of SSH."""

Via = Callable[[SshSettings], Dialled]


@dataclass(frozen=True, kw_only=True)
class Login:
    """An authenticated transport, and what carries it (a jump host's login, a proxy command)."""

    transport: StrictTransport
    settings: SshSettings
    carriers: tuple[Closeable, ...] = ()

    def close(self) -> None:
        for part in (self.transport, *self.carriers):
            part.close()


class NoGreetingError(Exception):
    """The connection ended before the far end said anything."""


class OtherServiceError(Exception):
    """What greets us does not speak SSH; the text is what it said."""


class SilentError(Exception):
    """The connection was accepted, and nothing came."""


class BrokeOffError(Exception):
    """It speaks SSH, and the connection ended before there was a login."""


def login(
    target: Target,
    options: SshOptions,
    *,
    settings: SshSettings | None = None,
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
            with contextlib.suppress(NoGreetingError, OtherServiceError, KeptWaitingError):
                return _login(target, options, known, way)
            time.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
        return _login(target, options, known, way)


def _hop(target: Target, options: SshOptions, jump: str | None, hops: int) -> Login:
    """As OpenSSH does: by the jump host's own part of ssh_config, not with the keys given for the target."""
    theirs = replace(options, identities=(), password=None)
    return login(target, theirs, settings=resolve(target, theirs, jump), hops=hops + 1)


def _login(target: Target, options: SshOptions, settings: SshSettings, way: Via) -> Login:
    with options.login_limit.through(settings.sshd), contextlib.ExitStack() as undo:
        with _asks_by_itself(options, settings):
            sock, carriers = way(settings)
            for part in carriers:
                undo.callback(part.close)
            transport = StrictTransport(sock)
            undo.callback(transport.close)
            try:
                negotiate(transport, target, options, settings)
            except (NoGreetingError, BrokeOffError):
                for part in carriers:
                    if isinstance(part, ProxyProcess):
                        part.refuse_if_ended()
                raise
        authenticate(transport, target, options, settings)
        transport.watch(settings.alive_interval, settings.alive_interval * settings.alive_count)
        undo.pop_all()
    return Login(transport=transport, settings=settings, carriers=carriers)


@contextlib.contextmanager
def _asks_by_itself(options: SshOptions, settings: SshSettings) -> Iterator[None]:
    """A ProxyCommand is nearly always another ssh, with its own passphrases and questions at the terminal."""
    if settings.proxy_jump or not settings.proxy_command:
        yield
        return
    with options.terminal():
        yield


def negotiate(transport: StrictTransport, target: Target, options: SshOptions, settings: SshSettings) -> None:
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
        if transport.greeting and not transport.remote_version:
            raise OtherServiceError(transport.greeting) from error
        if time.monotonic() - begun >= patience and not transport.packetizer.hung_up:  # slow here, it is no silence
            raise (TimeoutError if transport.remote_version else SilentError) from error
        if not transport.remote_version:
            raise NoGreetingError(str(error)) from error
        raise BrokeOffError(transport.goodbye or str(error) or "it hung up") from error
    if not transport.initial_kex_done:
        raise TimeoutError


@contextlib.contextmanager
def translated(target: Target, options: SshOptions, settings: SshSettings) -> Iterator[None]:
    """Foreign exceptions of connecting as Unreachable."""
    try:
        yield
    except (NoGreetingError, OtherServiceError, SilentError, BrokeOffError, ProxyEndedError) as error:
        raise _unreachable(error, target, options, settings) from error
    except (SSHException, EOFError, OSError) as error:
        if isinstance(error, OSError) and (error.filename or isinstance(error, FileNotFoundError)):
            raise local_failure(error, untouched=True) from error  # the network has no files
        raise _unreachable(error, target, options, settings) from error


def _unreachable(error: Exception, target: Target, options: SshOptions, settings: SshSettings) -> Unreachable:
    cause, values = _cause(error)
    common = {"host": target.name, "name": settings.hostname, "where": f"{settings.hostname} port {settings.port}"}
    told = cause.told(**common, by_hand=ssh_command(target, options), limit=_limit(error, settings), **values)
    return Unreachable(**told, state="nothing was touched", host=target.name)


def _limit(error: Exception, settings: SshSettings) -> str:
    return str(error) if isinstance(error, TimeoutError) and str(error) else f"{settings.connect_timeout:g} s"


def _cause(error: Exception) -> tuple[Cause, dict[str, object]]:
    """The cause that an exception stands for, and what it is filled in with."""
    match error:
        case socket.gaierror():
            return (causes.NO_DNS if error.errno == socket.EAI_AGAIN else causes.NO_ADDRESS), {}
        case NoRouteError():
            return causes.NO_ROUTE, {"kind": error.kind, "addresses": ", ".join(error.addresses)}
        case ConnectionRefusedError():
            return causes.NOTHING_LISTENS, {}
        case TimeoutError():
            return causes.NO_ANSWER, {}
        case SilentError():
            return causes.SILENT, {}
        case OtherServiceError():
            return causes.NOT_SSH, {"said": printable(str(error))}
        case NoGreetingError():
            return causes.TURNED_AWAY, {"times": TRIES}
        case BrokeOffError():
            return causes.BROKE_OFF, {"why": printable(str(error)), "ours": ", ".join(CIPHERS)}
        case ProxyEndedError():
            said = f": {printable(error.said)}" if error.said else ""
            return causes.PROXY_COMMAND, {"status": error.status, "said": said, "command": error.command}
        case JumpError():
            return causes.JUMP, {"why": error}
        case OSError():
            return causes.NETWORK, {"why": error.strerror or error}
    return causes.NETWORK, {"why": error or "it hung up"}

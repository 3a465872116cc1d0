"""Whom to connect to, and how the person who typed the command wants it done."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deployer.errors import ConfigError
from deployer.events import Event, Reporter
from deployer.ssh.doors import Doors

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,63}\Z")
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")
PORT = re.compile(r"[1-9][0-9]{0,4}\Z")

HostKeys = Literal["config", "strict", "accept-new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host: ``[user@]host[:port]``, ``name`` as it was typed. ``None`` is left to ssh_config."""

    host: str
    user: str | None = None
    port: int | None = None
    name: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that ``text`` names; an IPv6 address needs brackets to carry a port.

        Raises ConfigError for anything a host name, user or port can't be, option-like text first of all.
        """
        user, at, rest = text.rpartition("@")
        if at and not USER.match(user):
            raise _refused(text, f"{user!r} can't be a user name")
        host, port = _split_port(text, rest)
        if port is not None and int(port) > 65535:
            raise _refused(text, f"port {port} is above 65535")
        return cls(host=host, user=user or None, port=int(port) if port else None, name=text)


def _split_port(text: str, rest: str) -> tuple[str, str | None]:
    if rest.startswith("["):
        inner, bracket, tail = rest[1:].partition("]")
        if not bracket or not _is_ipv6(inner) or (tail and not tail.startswith(":")):
            raise _refused(text, "the brackets must hold an IPv6 address")
        return inner, _port(text, tail[1:]) if tail else None
    if _is_ipv6(rest):
        return rest, None
    host, colon, port = rest.partition(":")
    if not HOST.match(host):
        raise _refused(text, f"{host!r} can't be a host name")
    return host, _port(text, port) if colon else None


def _port(text: str, port: str) -> str:
    if not PORT.match(port):
        raise _refused(text, f"{port!r} is not a port")
    return port


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not re.search(r"[^0-9A-Za-z:.%_-]", text)


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(
        message=f"{text!r} is not a host to connect to: {why}",
        state="nothing was touched",
        next="write it as [user@]host[:port], for example deploy@web1.example.com:2222",
    )


def ignore(event: Event) -> None:
    """A Reporter for those who do not listen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """How to connect, beside what ssh_config says.

    ``host_keys``: "config" does what StrictHostKeyChecking says (unknown keys are refused unless it is
    ``accept-new`` or ``no``), "strict" refuses unknown keys, "accept-new" records them. A changed or revoked
    key is refused whatever this says. ``connect_timeout`` (seconds) bounds each step of connecting; None is
    ssh_config's ConnectTimeout, or 15. ``password_prompt(question)`` may be called from several threads; None
    (or an answer of None) means that nobody can be asked. ``report`` gets a Warn for each recorded host key.
    ``doors`` bounds how many of those that share it log in to one sshd at the same time.
    """

    config_file: Path | None = None
    host_keys: HostKeys = "config"
    connect_timeout: float | None = None
    identities: tuple[Path, ...] = ()
    password: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    password_prompt: Callable[[str], str | None] | None = None
    report: Reporter = ignore
    doors: Doors = field(default_factory=Doors, repr=False, compare=False)


def ssh_command(target: Target, options: SshOptions) -> str:
    """The ``ssh`` command a person can type to reach the same host in the same way."""
    argv = ["ssh"]
    if options.config_file:
        argv += ["-F", str(options.config_file)]
    for identity in options.identities:
        argv += ["-i", str(identity)]
    if target.port:
        argv += ["-p", str(target.port)]
    return shlex.join([*argv, f"{target.user}@{target.host}" if target.user else target.host])

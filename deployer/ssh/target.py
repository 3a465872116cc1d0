"""A host, as it is named on the command line and in deploy.toml."""

from __future__ import annotations

import ipaddress
import re

from deployer.errors import ConfigError
from deployer.wire.advice import do
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Target"]

USER = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,63}\Z")
HOST = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")
PORT = pattern(r"[1-9][0-9]{0,4}\Z")


@dataclass(frozen=True, kw_only=True)
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
        if at and not USER.fullmatch(user):
            raise _refused(text, f"{user!r} can't be a user name")
        host, port = _split_port(text, rest)
        if port is not None and int(port) > 65535:
            raise _refused(text, f"port {port} is above 65535")
        return cls(host=host, user=user or None, port=int(port) if port else None, name=text)

    @property
    def address(self) -> str:
        """``[user@]host[:port]``, which parses to the same place."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def _split_port(text: str, rest: str) -> tuple[str, str | None]:
    if rest.startswith("["):
        inner, bracket, tail = rest[1:].partition("]")
        if not bracket or not _is_ipv6(inner) or (tail and not tail.startswith(":")):
            raise _refused(text, "the brackets must hold an IPv6 address")
        return inner, _port(text, tail[1:]) if tail else None
    if _is_ipv6(rest):
        return rest, None
    host, colon, port = rest.partition(":")
    if not HOST.fullmatch(host):
        raise _refused(text, f"{host!r} can't be a host name")
    return host, _port(text, port) if colon else None


def _port(text: str, port: str) -> str:
    if not PORT.fullmatch(port):
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
        next=do("write it as [user@]host[:port], for example deploy@web1.example.com:2222"),
    )

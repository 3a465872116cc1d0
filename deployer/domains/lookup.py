"""The names of a site, looked up beside the work of a command: nobody waits for the DNS."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from deployer.domains import network
from deployer.domains.verdict import Answer, Place, line, sentence
from deployer.wire.lazydata import dataclass
from deployer.wire.site import ProxySite

__all__ = ["Lookup", "Wanted"]

SECONDS = 2.0
"""For all names together."""
_MOST_NAMES = 16
_MOST_PLACES = 8
"""Addresses of one name that are asked."""

_SHARE = 0.45
"""Of the time that is left, for each of the two ways to ask at an address: silence is an answer, too."""

Address = Callable[[], str]
"""The name or address at which this machine reaches a host; empty where it does not reach it by itself (a jump host).
May take a while; what it raises is taken for not knowing."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The ``site`` whose names should lead to ``hosts``: all that may serve it, with the way to each."""

    site: ProxySite
    hosts: Mapping[str, Address]

    @property
    def names(self) -> tuple[str, ...]:
        """Names to look up: not a ``*``, which stands for no name in particular."""
        return tuple(name for name in self.site.domains if "*" not in name)[:_MOST_NAMES]


class Lookup:
    """Looks the names up in a thread. ``told`` is asked when the work is done."""

    def __init__(self, wanted: Wanted | None, *, seconds: float = SECONDS) -> None:
        self._wanted, self._seconds = wanted, seconds
        self._line = ""
        self._done = threading.Event()
        if wanted is None or not wanted.names:
            self._done.set()
        else:
            threading.Thread(target=self._look, daemon=True, name="domains").start()

    def told(self) -> str:
        """What is wrong, in one line; empty when nothing is known to be. Waits no longer than the questions may take.

        What looked wrong is looked at again: the command may have mended it, and so may its user.
        """
        if not self._done.wait(self._seconds):
            return ""
        if self._line:
            self._look()
        return self._line

    def _look(self) -> None:
        try:
            self._line = line(_sentences(self._wanted, self._seconds)) if self._wanted else ""
        finally:
            self._done.set()


def _sentences(wanted: Wanted, seconds: float) -> Sequence[str]:
    deadline = time.monotonic() + seconds
    front = wanted.site.tls == "front"
    asked: dict[tuple[str, str], Callable[[], tuple[str, ...] | None]] = {}
    asked.update({("host", host): functools.partial(_addresses_of, way) for host, way in wanted.hosts.items()})
    asked.update({("name", name): functools.partial(network.addresses, name) for name in wanted.names})
    found = network.all_within(seconds, asked)
    hosts = {host: found.get(("host", host)) or () for host in wanted.hosts}
    owner = {address: host for host, ones in hosts.items() for address in ones}
    names = {name: found.get(("name", name)) for name in wanted.names}
    open_ = [
        (name, one)
        for name, ones in names.items()
        for one in (ones or ())[:_MOST_PLACES]
        if one not in owner and not front
    ]
    left = max(deadline - time.monotonic(), 0.0)
    each = left * _SHARE
    answers = network.all_within(
        left, {(name, one): functools.partial(network.ask, name, one, wanted.site, each) for name, one in open_}
    )
    return [
        sentence(name, None if ones is None else _places(name, ones, owner, answers), hosts, front=front)
        for name, ones in names.items()
    ]


def _places(
    name: str, ones: Sequence[str], owner: Mapping[str, str], answers: Mapping[tuple[str, str], Answer]
) -> list[Place]:
    unknown = Answer(known=False)
    return [
        Place(address=one, host=owner.get(one, ""), answer=answers.get((name, one), unknown))
        for one in ones[:_MOST_PLACES]
    ]


def _addresses_of(way: Address) -> tuple[str, ...] | None:
    host = way()
    return network.addresses(host) if host else None

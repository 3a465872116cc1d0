"""Refuse, before anything is touched, a site whose port another server of this host has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.lazyre import pattern
from deployer.wire.site import Address, ProxySite

PORT_TAKEN = Cause(
    "port-taken",
    "another server of the host listens where the proxy is to",
    "{program} has {address} of this host: {kind} could not listen there",
    do("stop {program}, or let it be the proxy: [proxy] kind in deploy.toml (or none, with a site of your own)")
    + do("or set listen and listen_tls under [proxy] to other ports"),
)
_USER = pattern(r'\("((?:[^"\\]|\\.)*)",pid=')
_EVERY = ("*", "0.0.0.0", "[::]")  # noqa: S104  (compared with, not bound)


class Listener(NamedTuple):
    """A socket that listens, and the program that has it (empty: not known)."""

    address: Address
    program: str


def check(kind: str, site: ProxySite) -> None:
    """Raises HostError naming the program that has a port of the site. What cannot be asked is not refused."""
    try:
        shown = runner.run(["ss", "-Hlntp"])
    except HostError:  # no ss yet: setup installs it
        return
    for one in occupied(parse(shown.out), (*site.http, *site.https), kind):
        told = PORT_TAKEN.told(program=one.program, address=one.address, kind=kind)
        raise HostError(**told, state="nothing was touched")


def parse(shown: str) -> Iterator[Listener]:
    """The sockets that ``ss -Hlntp`` shows. Odd lines are skipped."""
    for line in shown.splitlines():
        words = line.split(None, 5)
        host, _, port = words[3].rpartition(":") if len(words) > 3 else ("", "", "")
        if port.isdecimal():
            user = _USER.search(words[5]) if len(words) > 5 else None
            yield Listener(Address(host.partition("%")[0], int(port)), user[1] if user else "")


def occupied(found: Iterable[Listener], wanted: Iterable[Address], kind: str) -> Iterator[Listener]:
    """Those that keep ``kind`` from listening at the addresses that are ``wanted``. Pure.

    A socket whose program is not shown is another container's: it is in the way only where the proxy would say so.
    """
    wanted = list(wanted)
    for one in found:
        if one.program in ("", kind):
            continue
        if any(one.address.port == two.port and _meet(one.address.host, two.host) for two in wanted):
            yield one


def _meet(taken: str, wanted: str) -> bool:
    """Whether two sockets of one port could not both listen. An empty ``wanted`` is every address."""
    if taken in _EVERY or wanted in ("", *_EVERY):
        return wanted in ("", "*") or taken == "*" or taken.startswith("[") == wanted.startswith("[")
    return taken == wanted

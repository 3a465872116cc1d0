"""Which address a host gets: one of its own in 127.0.0.0/8, so that every host has its own port 22 and 80."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable

from deployer.sandbox.errors import SandboxError

FIRST = ipaddress.IPv4Address("127.0.10.1")
LAST = ipaddress.IPv4Address("127.0.10.254")


def lowest_free(taken: Iterable[str], *, in_use: Callable[[str], bool] = lambda _: False) -> str:
    """The lowest address that is neither `taken` by a host nor `in_use` by a stranger.

    Raises SandboxError when every address is taken.
    """
    known = set(taken)
    for number in range(int(FIRST), int(LAST) + 1):
        address = str(ipaddress.IPv4Address(number))
        if address not in known and not in_use(address):
            return address
    raise SandboxError(
        f"All addresses from {FIRST} to {LAST} are taken by sandbox hosts.",
        hint="deployer sandbox list, then deployer sandbox down NAME",
    )


def lowest_name(taken: Iterable[str]) -> str:
    """The lowest free one of box1, box2 …"""
    known = set(taken)
    number = 1
    while f"box{number}" in known:
        number += 1
    return f"box{number}"


def answers(address: str, port: int = 22) -> bool:
    """Whether anything accepts connections there already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Reservations:
    """Addresses this process has picked for hosts that do not answer yet; a context manager.

    A claim holds on the whole machine, against hosts that another sandbox directory boots at the same
    moment, and the kernel drops it when this process ends. Linux only.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def __enter__(self) -> Reservations:
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:
            self._held.pop().close()

    def in_use(self, address: str) -> bool:
        """Whether a stranger uses or has claimed `address`; if not, it is claimed now."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0deployer-sandbox/{address}")
        except OSError:
            claim.close()
            return True
        if answers(address):
            claim.close()
            return True
        self._held.append(claim)
        return False


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1, all different, that are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]

"""Every host has an address and a name of its own, the lowest that is free."""

from __future__ import annotations

import socket

import pytest

from deployer.sandbox.backends.addresses import Reservations, answers, free_ports, lowest_free, lowest_name
from deployer.sandbox.errors import SandboxError


def test_the_lowest_free_address_is_taken() -> None:
    """Gaps are filled first."""
    assert lowest_free([]) == "127.0.10.1"
    assert lowest_free(["127.0.10.1", "127.0.10.3"]) == "127.0.10.2"


def test_an_address_that_a_stranger_uses_is_passed_over() -> None:
    """An address on which something answers already is not given to a host."""
    assert lowest_free(["127.0.10.2"], in_use=lambda address: address == "127.0.10.1") == "127.0.10.3"


def test_running_out_of_addresses_is_said() -> None:
    """The 255th host is refused with what to do about it."""
    with pytest.raises(SandboxError, match="sandbox down"):
        lowest_free([f"127.0.10.{number}" for number in range(1, 255)])


def test_the_lowest_free_name_is_taken() -> None:
    """Names count up from box1 and fill gaps."""
    assert lowest_name([]) == "box1"
    assert lowest_name(["box1", "web", "box3"]) == "box2"


def test_a_listener_is_noticed() -> None:
    """A port answers while somebody listens there, and not afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert answers("127.0.0.1", port)
    assert not answers("127.0.0.1", port)


def test_free_ports_are_different() -> None:
    """Ports asked for together never collide."""
    assert len(set(free_ports(5))) == 5


def test_a_claim_holds_until_it_is_dropped() -> None:
    """Two sandboxes that boot hosts at the same moment never pick the same address."""
    address = "127.0.10.254"
    with Reservations() as first, Reservations() as second:
        assert not first.in_use(address)
        assert second.in_use(address)
    with Reservations() as third:
        assert not third.in_use(address)

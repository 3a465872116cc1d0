"""Which server of a host is in the way of a site."""

from __future__ import annotations

import pytest

from deployer.host.errors import HostError
from deployer.host.proxy import ports
from deployer.host.proxy.ports import Listener
from deployer.host.system import runner
from deployer.wire.site import Address, ProxySite

SHOWN = """\
LISTEN 0      128       0.0.0.0:2024 0.0.0.0:*
LISTEN 0      128    127.0.10.5:22   0.0.0.0:* users:(("sshd",pid=61,fd=6))
LISTEN 0      511          [::]:80      [::]:* users:(("nginx",pid=9,fd=8),("nginx",pid=8,fd=8))
LISTEN 0      4096   127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=3,fd=1))
LISTEN 0      4096         *:443         *:*    users:(("apache2",pid=7,fd=1))
odd
"""


def test_what_ss_shows_is_read() -> None:
    """Each socket with its program; what is another container's has none; odd lines are skipped."""
    assert list(ports.parse(SHOWN)) == [
        Listener(Address("0.0.0.0", 2024), ""),
        Listener(Address("127.0.10.5", 22), "sshd"),
        Listener(Address("[::]", 80), "nginx"),
        Listener(Address("127.0.0.53", 53), "systemd-resolve"),
        Listener(Address("*", 443), "apache2"),
    ]


@pytest.mark.parametrize(
    ("taken", "wanted", "meet"),
    [
        ("0.0.0.0", "", True),
        ("[::]", "", True),
        ("*", "10.0.0.1", True),
        ("*", "[::1]", True),
        ("0.0.0.0", "10.0.0.1", True),
        ("[::]", "10.0.0.1", False),
        ("0.0.0.0", "[::1]", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "", True),
        ("10.0.0.1", "0.0.0.0", True),
        ("[::1]", "0.0.0.0", False),
    ],
)
def test_two_sockets_meet_at_one_address_or_at_all(taken: str, wanted: str, meet: bool) -> None:
    """The kernel refuses the second of two sockets that would get the same connections, and no other."""
    found = [Listener(Address(taken, 80), "apache2")]
    assert bool(list(ports.occupied(found, [Address(wanted, 80)], "nginx"))) is meet
    assert not list(ports.occupied(found, [Address(wanted, 81)], "nginx"))
    assert not list(ports.occupied([Listener(Address(taken, 80), "nginx")], [Address(wanted, 80)], "nginx"))


@pytest.mark.cause("port-taken")
def test_a_port_of_another_server_is_refused_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx where Caddy is to be, or the reverse, or Apache: named with its address, and what to do."""
    monkeypatch.setattr(runner, "run", lambda _: runner.CommandResult(0, SHOWN, ""))
    ports.check("nginx", ProxySite())
    with pytest.raises(HostError) as caught:
        ports.check("caddy", ProxySite())
    assert caught.value.message == "nginx has [::]:80 of this host: caddy could not listen there"
    assert (caught.value.state, "kind" in str(caught.value.next)) == ("nothing was touched", True)
    with pytest.raises(HostError, match="apache2 has"):
        ports.check("nginx", ProxySite(domains=("a.example",), tls="auto"))

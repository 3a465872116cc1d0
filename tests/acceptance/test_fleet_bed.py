"""The ground on which fleets are tested: the accidents bite where they should, and the bed mends them all."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.accident import behind_proxy, frozen
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance


def test_every_host_serves_the_same_and_nothing_else(fleet: FleetBed) -> None:
    """Side by side, each by itself: one release everywhere, under load, and no leftovers."""
    before = fleet.serving
    version = fleet.change()
    with fleet.under_load():
        fleet.alone("deploy")
    assert len(set(before.values())) == 1
    assert set(fleet.versions.values()) == {version}
    fleet.comes_to_rest()


FAULTS = {
    "unhealthy": (5, "503"),
    "dies-at-start": (5, "no licence for this host"),
    "no-build": (5, "no-build"),
    "no-migration": (5, 'relation "orders" does not exist'),
    "sick-in-service": (6, "503"),
}


@pytest.mark.parametrize("kinds", [list(FAULTS)[:3], list(FAULTS)[3:]])
def test_a_fault_bites_on_its_host_alone(fleet: FleetBed, kinds: list[str]) -> None:
    """A fault on each host: the same commit fails there in the way that was asked for, and no request with it."""
    before = fleet.serving
    fleet.change(migrate=True, timeout=8, watch=2)
    broken = dict(zip(fleet.names, kinds, strict=False))
    for name, kind in broken.items():
        fleet[name].break_app(kind)
    with fleet.under_load():
        ended = fleet.each(lambda member: fleet.fab("deploy", "--json", hosts=[member.name]), list(broken))
    for name, kind in broken.items():
        exit, says = FAULTS[kind]
        failed = ended[name].event("failed")
        assert failed["exit"] == exit
        assert says in failed["message"] + "\n".join(failed["logs"])
    assert fleet.serving == before
    fleet.comes_to_rest()


def test_a_process_that_dies_in_service_costs_requests(fleet: FleetBed) -> None:
    """The load notices them, on that host, and the release before serves again."""
    good, bad = fleet.names[:2]
    before = fleet.serving
    fleet.change(watch=2)
    fleet[bad].break_app("dies-in-service")
    with fleet.under_load(but=[bad]) as load:
        fleet.deploy(expect=6, hosts=[bad])
    assert load.stop()[bad].failed > 0 and load.stop()[good].failed == 0
    assert fleet.serving == before


def test_a_disk_is_full_on_its_host_alone(fleet: FleetBed) -> None:
    """What fits elsewhere does not fit on the small disk."""
    fleet.change(build=["head -c 8000000 /dev/zero > zeros"])
    fleet[fleet.small].fill_disk(leave=4)
    assert "the disk is full" in fleet.deploy(expect=5, hosts=[fleet.small]).event("failed")["message"]
    fleet.deploy(hosts=[fleet.names[0]])


def test_a_frozen_host_accepts_connections_and_says_nothing(fleet: FleetBed) -> None:
    """Its app goes on serving; its sshd greets again when it is thawed."""
    host = fleet[fleet.names[1]].host
    with frozen(host), socket.create_connection((host.address, host.ssh_port), timeout=5) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(4)
        assert fleet.serving
    assert host.run("echo alive").stdout == "alive\n"


def test_a_host_without_power_serves_again_when_it_is_back(fleet: FleetBed) -> None:
    """It is off in the meantime, and what served before serves again."""
    name = fleet.names[1]
    before = fleet.serving
    with fleet.under_load(but=[name]):
        fleet[name].host.pull_plug()
        with pytest.raises(OSError):
            fleet[name].get(timeout=2)
        fleet[name].host.boot()
        wait_until(lambda: fleet.serving == before, "it serves again")


def test_a_cut_network_is_between_the_laptop_and_one_host(fleet: FleetBed, tmp_path: Path) -> None:
    """The way through the proxy works until it is cut."""
    name = fleet.names[1]
    with behind_proxy(fleet[name].host, tmp_path) as (proxy, config):
        with fleet.by_way_of(config):
            fleet.alone("status", among=fleet.names[:2])
        assert proxy.bytes_up > 0

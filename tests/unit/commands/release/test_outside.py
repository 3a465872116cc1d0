"""Where the domains lead is told at the end of a command, before its last event."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer import events
from deployer.commands.release import outside
from deployer.fleet.hosts import Fleet
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.site import ProxySite

LINE = "seen from this machine, shop.example.com has no address in the DNS"
TOLD = f"{LINE}; look at its DNS records; fab doctor asks again"


class Wants:
    """What a command looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wanted: Any = "nothing yet"
        monkeypatch.setattr(outside, "Lookup", self._look)

    def _look(self, wanted: Any) -> Any:
        self.wanted = wanted
        return SimpleNamespace(told=lambda: LINE)


@pytest.fixture
def wants(monkeypatch: pytest.MonkeyPatch) -> Wants:
    return Wants(monkeypatch)


def fleet(heard: list[Any], *hosts: str, web: bool = True) -> Fleet:
    proxy = SimpleNamespace(chosen="nginx", site=lambda: ProxySite(domains=("shop.example.com",)))
    config: Any = SimpleNamespace(runs_web=web, proxy=proxy, hosts=("web1", "web9"), target=Target.parse)
    sites = tuple(
        Site(root=Path(), config=config, target=Target.parse(host), ssh=SshOptions(), report=heard.append)
        for host in hosts
    )
    return Fleet(sites=sites, config=config, report=heard.append)


def texts(heard: list[Any]) -> list[str]:
    return [event.text if isinstance(event, events.Warn) else type(event).__name__ for event in heard]


@pytest.mark.parametrize(
    ("exit", "always", "told"),
    [(0, False, [TOLD, "Finished"]), (5, False, ["Finished"]), (2, True, [TOLD, "Finished"])],
)
def test_one_host_is_told_before_its_end(wants: Wants, exit: int, always: bool, told: list[str]) -> None:
    """A release that failed has other troubles; a set-up that failed may have failed for that."""
    heard: list[Any] = []
    found = outside.told_at_end(fleet(heard, "deploy@web1"), always=always)
    found.sites[0].report(events.Finished(host="deploy@web1", exit=exit))
    assert texts(heard) == told


def test_a_fleet_is_told_once(wants: Wants) -> None:
    """At the end of all, and not for each host; the hosts of deploy.toml count, too."""
    heard: list[Any] = []
    found = outside.told_at_end(fleet(heard, "deploy@web1", "deploy@web2"))
    for site in found.sites:
        site.report(events.Finished(host=site.host, exit=0))
    found.report(events.FleetFinished(exit=0, hosts=(), seconds=1.0, summary="done"))
    assert texts(heard) == ["Finished", "Finished", TOLD, "FleetFinished"]
    assert sorted(wants.wanted.hosts) == ["web1", "web2", "web9"]


def test_hosts_without_a_site_look_nothing_up(wants: Wants) -> None:
    """Workers alone: no visitor asks for them."""
    outside.told_at_end(fleet([], "deploy@web1", web=False))
    assert wants.wanted is None

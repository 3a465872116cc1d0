"""Real systemd hosts for the acceptance tests: booted once, set up once, wiped between tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost, sweep
from tests.support.fleet import FleetBed, fleet_bed
from tests.support.ready import shop_host
from tests.support.site import Site, make_site
from tests.support.tiny import TinySite, make_tiny

if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 6 << 30:
    os.environ.setdefault("DEPLOYER_SANDBOX_DISK", "memory")

_SHARED: list[SandboxHost] = []
"""Hosts that the tests of several files use one after the other."""


@pytest.fixture(scope="session", autouse=True)
def _swept() -> Iterator[None]:
    """Remove what an earlier run that was killed has left."""
    sweep()
    yield
    sweep()


@pytest.fixture(scope="session", autouse=True)
def _warm(warm_fab: None) -> None:
    """All tests here run ``fab``."""


@pytest.fixture(scope="session")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxHost]:
    """A Debian 12 host on which ``fab setup`` has been run for the app ``shop``."""
    with shop_host(tmp_path_factory.mktemp("setup")) as host:
        _SHARED.append(host)
        yield host
        _SHARED.remove(host)


@pytest.fixture(autouse=True)
def _shared_hosts_are_on() -> None:
    """A test that fails while a host is off must not take those after it with it."""
    for host in _SHARED:
        if not host.is_on():
            host.boot()


@pytest.fixture
def site(bookworm: SandboxHost, tmp_path: Path) -> Iterator[Site]:
    """A fresh project, set up but not deployed on a clean host."""
    made = make_site(bookworm, tmp_path / "shop")
    made.wipe()
    yield made


@pytest.fixture
def deployed(site: Site) -> Site:
    """A project whose version 1 serves."""
    site.deploy()
    assert site.get()["version"] == "1"
    return site


@pytest.fixture(scope="session")
def two_apps(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinySite, TinySite]:
    """Two tiny apps on one host, each with a deploy user of its own; both are set up, and serve."""
    path = tmp_path_factory.mktemp("apps")
    mini = make_tiny(bookworm, path / "mini")
    blog = make_tiny(bookworm, path / "blog", app="blog")
    for site in (mini, blog):
        site.expect(0, "setup", user="root")
        site.expect(0, "deploy")
    return mini, blog


@pytest.fixture
def mini(two_apps: tuple[TinySite, TinySite], tmp_path: Path) -> TinySite:
    """A fresh project for a tiny app that serves already."""
    return make_tiny(two_apps[0].host, tmp_path / "mini")


@pytest.fixture(scope="session")
def _fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBed]:
    with fleet_bed(3, tmp_path_factory.mktemp("fleet") / "project") as bed:
        yield bed


@pytest.fixture
def fleet(_fleet: FleetBed) -> FleetBed:
    """Three hosts that serve the same good release, and hold nothing else; a change is committed."""
    return _fleet.ready()


@pytest.fixture(scope="session")
def _five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBed]:
    with fleet_bed(5, tmp_path_factory.mktemp("five") / "project") as bed:
        yield bed


@pytest.fixture
def five(_five: FleetBed) -> FleetBed:
    """As ``fleet``, but five hosts."""
    return _five.ready()

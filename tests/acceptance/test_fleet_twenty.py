"""Twenty hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fleet import FleetBed, fleet_bed
from tests.support.fleet.verdict import all_done

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
HOSTS = 20


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBed]:
    """Twenty hosts that are set up; nothing was deployed yet."""
    with fleet_bed(HOSTS, tmp_path_factory.mktemp("twenty") / "project", injectable=False, small_disk=False) as bed:
        yield bed


def test_twenty_hosts_deploy_under_light_load(twenty: FleetBed) -> None:
    """A first deploy, then one under load: every host has the new release under the same number, no request fails."""
    first = all_done(twenty, twenty.deploy())
    twenty.change()
    with twenty.under_load(pause=0.2):
        second = all_done(twenty, twenty.deploy())
    assert (first, second) == ("v1", "v2")

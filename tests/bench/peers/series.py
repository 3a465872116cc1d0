"""Which peers there are in a run."""

from __future__ import annotations

from tests.bench.bed import Bed
from tests.bench.peers.ansible import Ansible
from tests.bench.peers.fabric_stock import StockFabric
from tests.bench.peers.fujin import Fujin
from tests.bench.peers.place import Place
from tests.bench.projects import LARGE, SMALL
from tests.bench.series import Command, Series
from tests.bench.show import say
from tests.support.site import FAB


def peers(bed: Bed, *, quick: bool) -> list[Series]:
    """The floor (connect, run one command) and the same deploy by other tools."""
    small = Place(app=SMALL)
    small.prepare(bed)
    found = [
        Series("floor: ssh HOST true", _ssh_true(bed), peer=True),
        Series("floor: stock fab -- true", _fab_true(bed), peer=True),
        Series("stock Fabric, small app", StockFabric(bed=bed, project=bed.small(), place=small), peer=True),
    ]
    if quick:
        return found
    large = Place(app=LARGE)
    large.prepare(bed)
    whole = StockFabric(bed=bed, project=bed.large(), place=large, whole=True)
    found += [
        Series("stock Fabric, 5,000 files", StockFabric(bed=bed, project=bed.large(), place=large), peer=True),
        Series("stock Fabric, whole tar", whole, rtts=(50,), peer=True),
    ]
    for name, peer in {
        "Ansible": Ansible.installed(bed, bed.small(), small),
        "Fujin": Fujin.installed(bed, bed.small(), SMALL),
    }.items():
        if peer is None:
            say(f"{name} could not be installed: left out")
        else:
            found.append(Series(f"{name}, small app", peer, peer=True))
    return found


def _ssh_true(bed: Bed) -> Command:
    return lambda way: way.run(["ssh", "-F", str(way.config), way.name, "true"], bed.directory)


def _fab_true(bed: Bed) -> Command:
    argv = [FAB, "-S"]
    return lambda way: way.run([*argv, str(way.config), "-H", way.name, "--", "true"], bed.directory)

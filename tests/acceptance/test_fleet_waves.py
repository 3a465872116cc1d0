"""Five hosts in batches: some go first, the others follow when those are good; and a balancer is told."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Sequence

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.verdict import all_back, all_done, one_after_the_other

pytestmark = pytest.mark.acceptance
HOOK = """\
#!/bin/sh
echo "$1 $2 $(date +%s.%N)" >> "$0.log"
test ! -e "$0.fails-$1-$2"
"""


def waves(fleet: FleetBed, sizes: Sequence[int]) -> list[list[str]]:
    """The hosts in the order in which they are named, in waves of those sizes."""
    left = iter(fleet.names)
    return [list(itertools.islice(left, size)) for size in sizes]


@pytest.mark.parametrize(
    ("batch", "sizes"), [("2", [2, 2, 1]), ("40%", [2, 2, 1]), ("10%", [1, 1, 1, 1, 1]), ("100%", [5])]
)
def test_hosts_switch_some_at_a_time(five: FleetBed, batch: str, sizes: list[int]) -> None:
    """Each wave switches when the one before it was found good; all are prepared before the first."""
    five.change(watch=0.2)
    with five.under_load():
        ended = five.deploy("--batch", batch)
    all_done(five, ended)
    one_after_the_other(ended, waves(five, sizes))
    ready = [ended.at("ready", name, phase="switch") for name in five.names]
    assert max(ready) < min(ended.at("switched", name) for name in five.names)


def test_a_balancer_is_told_of_each_host(hooked: FleetBed) -> None:
    """drain comes before a host's switch, undrain when it is good; no wave is drained before the last is undrained."""
    with hooked.under_load():
        ended = hooked.deploy("--batch", "2")
    all_done(hooked, ended)
    said = balancer(hooked)
    assert sorted((what, host) for what, host, _ in said) == sorted(
        (what, name) for what in ("drain", "undrain") for name in hooked.names
    )
    at = {(what, host): when for what, host, when in said}
    for name in hooked.names:
        assert at["drain", name] < ended.at("switched", name)
        assert ended.at("ready", name, phase="keep") < at["undrain", name]
    for before, after in itertools.pairwise(waves(hooked, [2, 2, 1])):
        assert max(at["undrain", name] for name in before) < min(at["drain", name] for name in after)


def test_a_balancer_is_left_alone_where_all_switch_at_once(hooked: FleetBed) -> None:
    """To drain all hosts would be an outage."""
    with hooked.under_load():
        all_done(hooked, hooked.deploy())
    assert balancer(hooked) == []


def test_a_balancer_that_does_not_drain_a_host(hooked: FleetBed) -> None:
    """The host does not switch, what had switched goes back, and whatever was drained is undrained."""
    bad, before = hooked.names[3], hooked.serving
    (hooked.project.path.parent / f"lb.fails-drain-{bad}").touch()
    with hooked.under_load():
        ended = hooked.deploy("--batch", "2", expect=6)
        all_back(hooked, ended, before, bad, switched=hooked.names[:2])
        hooked.comes_to_rest()
    said = balancer(hooked)
    drained = {host for what, host, _ in said if what == "drain"}
    assert {host for what, host, _ in said if what == "undrain"} == drained == set(hooked.names[:4])


def test_a_wave_that_fails_is_undrained(hooked: FleetBed) -> None:
    """Hosts that went back serve again, and the balancer is told so."""
    bad, before = hooked.names[2], hooked.serving
    hooked.change(watch=2, tables=hooks(hooked))
    hooked[bad].break_app("sick-in-service")
    with hooked.under_load():
        ended = hooked.deploy("--batch", "2", expect=6)
        all_back(hooked, ended, before, bad, switched=hooked.names[:4])
    said = [(what, host) for what, host, _ in balancer(hooked)]
    assert sorted(said) == sorted((what, name) for what in ("drain", "undrain") for name in hooked.names[:4])


def hooks(fleet: FleetBed) -> str:
    lb = fleet.project.path.parent / "lb"
    return f'[hooks]\ndrain = "{lb} drain {{host}}"\nundrain = "{lb} undrain {{host}}"\n'


def balancer(fleet: FleetBed) -> list[tuple[str, str, float]]:
    """What it was told: drain or undrain, the host, and when (seconds since 1970)."""
    log = fleet.project.path.parent / "lb.log"
    words = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(what, host, float(when)) for what, host, when in words]


@pytest.fixture
def hooked(five: FleetBed) -> FleetBed:
    """Hosts behind a balancer that writes down what it is told."""
    lb = five.project.path.parent / "lb"
    for file in lb.parent.glob("lb*"):
        file.unlink()
    lb.write_text(HOOK)
    lb.chmod(lb.stat().st_mode | stat.S_IXUSR)
    five.change(watch=0.2, tables=hooks(five))
    return five

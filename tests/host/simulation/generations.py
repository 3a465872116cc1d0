"""What may be up of several releases at a time, and what it must have as long as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deployer.host.state.paths import UnitName, parse_unit, unit_name
from deployer.host.state.releases import ROLLING_BACK

from .service import read
from .units import Unit

if TYPE_CHECKING:
    from .host import SimulatedHost


def unit_files(host: SimulatedHost, number: int, spec: dict[str, Any]) -> Iterator[str]:
    """The units that a release has."""
    if spec["web"]:
        yield from (host.web.socket(number), host.web.service(number))
    yield from (unit_name("shop", one, number, "service") for one in instances(spec))
    for timer in spec["timers"]:
        yield from (unit_name("shop", timer["name"], number, kind) for kind in ("timer", "service"))


def instances(spec: dict[str, Any]) -> Iterator[str]:
    """What the units of its processes are named by."""
    for process in spec["processes"]:
        yield process["name"]
        yield from (f"{process['name']}.{index}" for index in range(2, process["count"] + 1))


def may_start(host: SimulatedHost, name: str) -> Iterator[str]:
    """No two releases take jobs at a time, nor do two runs of a timer; without overlap nothing of them is up at once.

    Told when a unit of the background starts.
    """
    number = parsed(name).number
    for other in host.background.running:
        if parsed(other).number == number or kind(other) != kind(name):
            continue
        alone = _is_alone(host, name) or _is_alone(host, other)
        if alone or host.table.units[other].active != "deactivating":
            yield f"{name} starts, and {other} still is {host.table.units[other].active}"
    yield from has_all_it_needs(host, name)


def _is_alone(host: SimulatedHost, name: str) -> bool:
    """A timer's run always is; a process when its release says so."""
    spec = _record(host, parsed(name).number)["spec"]
    overlap = {one["name"]: one["overlap"] for one in spec["processes"]}
    return not overlap.get(kind(name), False)


def has_all_it_needs(host: SimulatedHost, name: str) -> Iterator[str]:
    """Its code, its environment and its unit file are there from its start to its end."""
    needed = host.background.running[name]
    if needed.lacks or not os.path.exists(f"{host.units}/{name}"):
        yield f"{name} starts without {needed.lacks or 'its unit file'}"
    found = read(host.table.units[name].directives)
    if found.lacks:
        yield f"{name} was running, and {found.lacks} is gone"


def may_be_cut_off(host: SimulatedHost, name: str) -> Iterator[str]:
    """What is in hand is finished, unless an admin stops the app. A release that is taken back has nothing that is
    worth it: a run of its timers ends with it."""
    taken_back = _record(host, parsed(name).number)["result"] == ROLLING_BACK
    if not host.systemd.stopping and not (taken_back and host.table.units[name].is_oneshot):
        yield f"{name} was ended before its time"


def _record(host: SimulatedHost, number: int) -> dict[str, Any]:
    return dict(json.loads((host.paths.release(number) / "release.json").read_bytes()))


def parsed(name: str) -> UnitName:
    unit = parse_unit("shop", name)
    assert unit is not None, name
    return unit


def kind(name: str) -> str:
    """The process or timer that a unit is of, whatever instance it is."""
    return parsed(name).process.partition(".")[0]


def finishes(unit: Unit) -> bool:
    """Whether it comes to its end by itself."""
    return unit.active == "deactivating" or (unit.is_oneshot and unit.active == "activating")

"""What must be true of a host: at every moment, and once it has had its time to put itself right."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.host.state.content.store import Store
from deployer.host.state.lease import PERIOD
from deployer.host.state.paths import parse_unit, unit_name
from deployer.host.state.releases import UNFINISHED

from .builds import hashed
from .generations import finishes, instances, kind, parsed, unit_files
from .service import NEVER_HEALTHY, OF_WEB, OF_WORKERS, read
from .units import ALIVE

if TYPE_CHECKING:
    from .host import Outcome, SimulatedHost


def record(host: SimulatedHost, number: int) -> dict[str, Any]:
    """A release's record; empty when it has none that can be read."""
    try:
        return dict(json.loads((host.paths.release(number) / "release.json").read_bytes()))
    except (OSError, ValueError):
        return {}


def at_every_moment(host: SimulatedHost) -> Iterator[str]:
    """``current`` names a sealed release that is all there; and one that may have traffic.

    This is looked at some hundred times in a deploy: hence the plain strings, and no look without need.
    """
    try:
        target = os.readlink(f"{host.home}/current")
    except FileNotFoundError:
        if host.last_current and record(host, host.last_current).get("previous"):
            yield "current is gone"
        host.last_current = 0
        return
    if not re.fullmatch(r"releases/v[1-9][0-9]*(/maintenance)?", target):
        yield f"current leads to {target}"
        return
    number = int(target[10:].partition("/")[0])
    if number == host.last_current and not host.may_have_lost_something():
        return
    found = _known(host, number)
    if not found.get("sealed"):
        yield f"current is v{number}, which is not sealed"
        return
    if not os.path.isdir(f"{host.home}/trees/{found['tree']}") or not os.path.isdir(
        f"{host.home}/venvs/{found['venv']}"
    ):
        yield f"current is v{number}, whose content is gone"
    for name in unit_files(host, number, found["spec"]):
        if not os.path.exists(f"{host.units}/{name}"):
            yield f"current is v{number}, and {name} is not there"
    if number != host.last_current:
        host.last_current = number
        yield from _assets(host, number)
        yield from _may_have_traffic(host, number, found)


def _known(host: SimulatedHost, number: int) -> dict[str, Any]:
    """A release's record, read again when its file is another one."""
    try:
        status = os.stat(f"{host.home}/releases/v{number}/release.json")
    except FileNotFoundError:
        return {}
    key = (number, status.st_ino, status.st_mtime_ns)
    if host.seen[0] != key:
        host.seen = (key, record(host, number))
    return host.seen[1]


def _may_have_traffic(host: SimulatedHost, number: int, found: dict[str, Any]) -> Iterator[str]:
    has_web = found["spec"]["web"] and found["spec"]["overlap"]
    unit = host.table.load(host.web.service(number)) if has_web else None
    program = read(unit.directives) if unit else None
    if program is not None and program.behaviour in NEVER_HEALTHY:
        yield f"v{number} has traffic, and was never healthy"


def so_far(host: SimulatedHost) -> Iterator[str]:
    """What was wrong at any moment until now."""
    yield from dict.fromkeys(re.sub(r"^at change \d+: ", "at some moment ", text) for text in host.broken)
    yield from dict.fromkeys(host.web.failed)
    yield from host.programs.bugs
    for event in host.said:
        if "a bug of deployer" in event["message"] or not event["message"].strip():
            yield f"this was told: {event}"


def in_the_end(host: SimulatedHost, *, served: bool = True, tidy: bool = True, swept: bool = True) -> Iterator[str]:
    """After the host has had its time. ``served``: there is a release that must serve. ``tidy``: what a laptop's
    session that died has left is gone, too. ``swept``: so is what the disk once refused to remove. The next release
    sees to both.
    """
    yield from so_far(host)
    number = host.web.current()
    if served and not number:
        yield "nothing is current"
    if number:
        yield from _serves(host, number)
        yield from _assets(host, number)
    yield from _unfinished(host)
    if swept:
        yield from _units(host, number)
        yield from _leftovers(host, tidy)
    yield from _ledger(host)
    yield from _promises(host, number)


def told_right(host: SimulatedHost, outcome: Outcome, before: int, *, switches: bool = True) -> Iterator[str]:
    """The exit code says what serves now, in words for people. ``before`` served before."""
    serving = host.web.current()
    if outcome.exit is None:
        return
    if outcome.exit == 0 and serving == before and switches:
        yield f"exit 0, and v{before} serves as before"
    if outcome.exit in (2, 4, 5, 6) and serving != before:
        yield f"{outcome}, and v{serving} serves, not v{before}"
    if outcome.exit not in (0, 2, 4, 5, 6, 7):
        yield f"told: {outcome}"
    if outcome.exit and not (outcome.failure.get("message") and outcome.failure.get("state")):
        yield f"exit {outcome.exit} without words: {outcome}"
    told = f"{outcome}"
    if "Traceback" in told or "Error(" in told or "object has no" in told:
        yield f"told: {outcome}"


def _serves(host: SimulatedHost, number: int) -> Iterator[str]:
    spec = record(host, number).get("spec") or {"web": None, "processes": [], "timers": []}
    services = [unit_name("shop", one, number, "service") for one in instances(spec)]
    services += [host.web.service(number)] if spec["web"] else []
    running = {**host.web.running, **host.background.running}
    for name in services:
        if name not in running:
            yield f"v{number} is current and {name} does not run"
            continue
        if running[name].release != number:
            yield f"{name} runs the code of v{running[name].release}"
        if running[name].behaviour in (OF_WEB if kind(name) == "web" else OF_WORKERS):
            yield f"v{number} serves, and it {running[name].behaviour}"
    for timer in spec["timers"]:
        unit = host.table.known(unit_name("shop", timer["name"], number, "timer"))
        if unit is None or unit.active != "active":
            yield f"v{number} is current and its timer {timer['name']} does not run"
    if record(host, number).get("result") != "good":
        yield f"v{number} serves, and is {record(host, number).get('result')}"


def _assets(host: SimulatedHost, number: int) -> Iterator[str]:
    """Pages of the release, and of the one before it, find their hashed assets."""
    for one in {number, record(host, number).get("previous", 0)} - {0}:
        code = host.paths.release(one) / "code"
        if code.is_dir() and not (host.paths.assets / "static" / hashed(code)).is_file():
            yield f"v{number} is current, and the assets of v{one} are not kept"


def held(host: SimulatedHost, release: dict[str, Any], ago: float = 0.0) -> bool:
    """Whether it has a lease; with ``ago``, whether it had one so many seconds ago."""
    lease = release.get("held") or {}
    return bool(lease.get("boot") == f"boot {host.boots}" and lease.get("until", 0.0) > host.clock.now - ago)


def lease_has_just_ended(host: SimulatedHost) -> bool:
    """The watchdog, which looks twice a minute, may have yet to see it."""
    releases = [record(host, number) for number in release_numbers(host)]
    return any(held(host, one, ago=2 * PERIOD) and not held(host, one) for one in releases)


def _unfinished(host: SimulatedHost) -> Iterator[str]:
    for number in release_numbers(host):
        found = record(host, number)
        if found.get("result") in UNFINISHED and not held(host, found):
            yield f"v{number} is still {found['result']}"
    job = host.table.known(f"deployer-{host.paths.app}.service")
    if job is not None and job.active in ALIVE:
        yield "the lock is held"


def release_numbers(host: SimulatedHost) -> list[int]:
    names = (path.name for path in host.paths.releases.iterdir())
    return sorted(int(name[1:]) for name in names if re.fullmatch(r"v[0-9]+", name))


def _units(host: SimulatedHost, current: int) -> Iterator[str]:
    kept = {number for number in release_numbers(host) if held(host, record(host, number))} | {current}
    finishing = {one.name for one in host.table.matching("shop-*@v*") if finishes(one)}
    for path in sorted([*host.paths.units.iterdir(), *host.paths.stamps.iterdir()]):
        found = parse_unit("shop", path.name.removeprefix("stamp-"))
        if path.name.startswith(".") or (found and found.number not in kept and path.name not in finishing):
            yield f"{path.name} is left among the unit files"
    for unit in host.table.matching("shop-*@v*"):
        number = parsed(unit.name).number
        if unit.active in ALIVE and number not in kept and unit.name not in finishing:
            yield f"{unit.name} still is {unit.active}"
        if unit.active in ALIVE and number != current and kind(unit.name) != "web" and not finishes(unit):
            yield f"{unit.name} is {unit.active}, and v{current} serves"
    for unit in host.table.matching("deployer-*"):
        open_ = len(kept) > 1 or finishing
        if unit.active in ALIVE and not (unit.name.endswith("-lease.timer") and open_):
            yield f"{unit.name} still is {unit.active}"


def _leftovers(host: SimulatedHost, tidy: bool) -> Iterator[str]:
    paths = host.paths
    records = {number: record(host, number) for number in release_numbers(host)}
    living = [one for number, one in records.items() if one.get("result") == "good" or held(host, one)]
    clone = Store(paths.trees).clone(records.get(host.web.current() or 0, {}).get("tree", ""))
    for directory, what in ((paths.trees, "tree"), (paths.venvs, "venv")):
        wanted = {one[what] for one in living}
        for path in sorted(directory.iterdir()):
            if path != clone and path.name.split(".")[0] not in wanted:
                yield f"{path.relative_to(host.root)} is named by no release"
    named = {hashed(paths.trees / one["tree"]) for one in living}
    for path in sorted(paths.assets.glob("static/*")):
        if path.name not in named:
            yield f"{path.relative_to(host.root)} is named by no release"
    for path in [*(paths.incoming.iterdir() if tidy else ()), *paths.private.glob("*.env"), *paths.tickets.iterdir()]:
        if not path.name.endswith(".part"):
            yield f"{path.relative_to(host.root)} is left"
    for path in _hidden([paths.home, paths.private]):
        if paths.jobs not in path.parents and path != clone and clone not in path.parents:
            yield f"{path.relative_to(host.root)} is left"
    for number, found in records.items():
        if not found:
            yield f"v{number} has no record"
        elif found["result"] in ("failed", "rolled back", "interrupted"):
            rest = [path.name for path in paths.release(number).iterdir() if path.name != "release.json"]
            if rest:
                yield f"v{number} is {found['result']} and still has {rest}"


def _hidden(places: list[Path]) -> Iterator[Path]:
    for place in places:
        for directory, _, names in os.walk(place):
            yield from (Path(directory) / name for name in names if name.startswith(".") or name.endswith(".tmp"))
        yield from (path for path in place.glob("*/.*") if path.is_dir())
        yield from (path for path in place.glob(".*") if path.is_dir())


def ledger_entries(host: SimulatedHost) -> list[dict[str, Any]]:
    found = []
    for line in host.ledger.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def begun(host: SimulatedHost) -> list[int]:
    """The numbers of all attempts there were, in their order."""
    return [int(one["release"][1:]) for one in ledger_entries(host) if one["what"] == "begun"]


def _ledger(host: SimulatedHost) -> Iterator[str]:
    """One line when an attempt begins, one when it ends; numbers only grow."""
    numbers = begun(host)
    ended = [int(one["release"][1:]) for one in ledger_entries(host) if one["what"] == "ended"]
    if numbers != sorted(set(numbers)):
        yield f"release numbers in the ledger: {numbers}"
    open_ = {number for number in numbers if number not in ended}
    open_ -= {number for number in open_ if held(host, record(host, number))}
    if open_:
        yield f"the ledger does not say how {sorted(open_)} ended"
    if len(ended) != len(set(ended)):
        yield f"ended more than once: {ended}"
    for one in ledger_entries(host):
        found = record(host, int(one["release"][1:])) if one["what"] == "ended" else {}
        if found and found["result"] != one["result"]:
            yield f"the ledger says {one['release']} is {one['result']}, its record {found['result']}"


def _promises(host: SimulatedHost, current: int) -> Iterator[str]:
    """What a good release has is all there, so that one can go back to it."""
    for number in release_numbers(host):
        found = record(host, number)
        if found.get("result") != "good":
            continue
        directory = host.paths.release(number)
        for name in ("env", "env.json", "secret.json", "code/app.py", "code/static/out.txt", "venv/bin/gunicorn"):
            if not (directory / name).exists():
                yield f"v{number} is good, and lacks {name}"


def kept(host: SimulatedHost, keep: int) -> Iterator[str]:
    """The newest good releases are all there, what serves and its standby among them."""
    good = [int(one["release"][1:]) for one in ledger_entries(host) if one.get("result") == "good"]
    current = record(host, host.web.current()) if host.web.current() else {}
    standby = {current["previous"]} & set(good) if current else set()
    for number in {*good[-keep:], *standby}:
        if record(host, number).get("result") != "good":
            yield f"v{number} was good, and is {record(host, number).get('result', 'gone')}"

"""For all tests."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("deployer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deployer")

# A test run that a script put into the background ignores Ctrl-C, and so would every command it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # so does one under nohup with a terminal that closes
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

SPREAD = ("test_every_write_fails.py", "test_processes.py", "test_any_interleaving.py")
"""Files whose tests share nothing and take long: each test goes to whichever worker is free."""
FLEETS = (
    "test_fleet_bed.py",
    "test_fleet_commit.py",
    "test_fleet_edges.py",
    "test_fleet_lost.py",
    "test_fleet_batches.py",
)
BEDS = 2
"""The tests of those files are dealt out to so many workers, each with three hosts of its own: one bed for all of them
would be the last to be done with, and one for each file would be as many hosts again."""
LONG = (
    "fleet_waves", "fleet_commit", "fleet_bed", "fleet_lost", "fleet_edges", "fleet_batches", "fleet_tasks",
    "fleet_twenty", "pythons", "setup", "https", "layouts", "bare_server", "cli", "failures_code",
    "host_accidents", "workers", "faults_sample", "browser", "timers", "security", "distributions", "handover",
    "recovery", "interrupt", "failures_build", "failures_input", "docker", "run", "sandbox", "proxy", "dry", "roles",
    "systemctl", "websockets", "console",
)  # fmt: skip
"""What takes longest begins first, so that the others fill the gaps at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which work is handed out."""
    items.sort(key=lambda item: _rank(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadgroup`` the tests of a group stay together, on the hosts that the first of them has booted.

    pytest-xdist's own scheduler hides the group in a private attribute of pytest's items, at which pytest 9.2 no longer
    looks: every test was a group of its own, and every worker booted every host.
    """
    if config.option.dist != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid, self.collection)

    config.option.loadscopereorder = False
    return ByGroup(config, log)


def _group(nodeid: str, all_of_them: Sequence[str]) -> str:
    """What a test stays together with."""
    if _file(nodeid) in FLEETS:
        fleets = [one for one in all_of_them if _file(one) in FLEETS]
        return f"fleet {fleets.index(nodeid) * BEDS // len(fleets)}"
    return nodeid if _file(nodeid) in SPREAD else nodeid.partition("::")[0]


def _file(nodeid: str) -> str:
    return Path(nodeid.partition("::")[0]).name


def _rank(path: Path) -> int:
    """Where a file comes: acceptance tests, those that take longest first, then the rest, then single tests."""
    name = path.stem.removeprefix("test_")
    if path.parent.name != "acceptance":
        return len(LONG) + 1 + (path.name in SPREAD)
    return LONG.index(name) if name in LONG else len(LONG)

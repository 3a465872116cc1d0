"""For all tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.warmfab import Popen, Server

# How long an example takes says how busy the machine is.
settings.register_profile(
    "deployer",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("DEPLOYER_EXAMPLES", "100")),
)
settings.load_profile("deployer")

# Each worker of a run would compile all tests anew, and each fab that they start our code.
sys.dont_write_bytecode = False

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
    "fleet_lost", "fleet_commit", "fleet_bed", "fleet_edges", "fleet_batches", "pythons", "distributions",
    "host_accidents", "setup", "workers", "handover", "fleet_waves", "websockets", "fleet_twenty", "failures_code",
    "faults_sample", "cli", "recovery", "browser", "https", "bare_server", "layouts", "timers", "security",
    "fleet_tasks", "interrupt", "failures_build", "failures_input", "docker", "run", "sandbox", "proxy", "dry",
    "roles", "systemctl", "maintenance", "preview", "operate", "destroy", "environment", "console", "deploy_lock",
)  # fmt: skip
"""What takes longest begins first, so that the others fill the gaps at the end; before it what needs another
distribution, so that a first run builds the images side by side."""


@pytest.fixture(scope="session")
def warm_fab() -> Iterator[None]:
    """``fab`` does not import everything again for each of its calls; it is a process of its own all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Popen)
        patch.setattr(Popen, "server", server := Server())
        yield
    server.stop()


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

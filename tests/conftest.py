"""For all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("deployer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deployer")

# A test run that a script put into the background ignores Ctrl-C, and so would every command it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SPREAD = ("test_every_write_fails.py", "test_processes.py", "test_any_interleaving.py")
"""Files whose tests share nothing and take long: each test goes to whichever worker is free."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``--dist loadgroup`` the tests of a file stay together, on the hosts that the first of them has booted."""
    for item in items:
        if item.config.pluginmanager.hasplugin("xdist") and item.path.name not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(item.config.rootpath))))

"""What a deploy, a reload and a rollback cost on the host does not grow with the project."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import pytest

from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are root's")
SMALL, LARGE = 60, 1060
SLACK = 12
"""Files more or less: a queue's ticket, a poll of a record."""


class Watch:
    """Counts files that are opened and links that are made, in this process (Python's audit events)."""

    def __init__(self) -> None:
        self.counts: Counter[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.counts is None:
            return
        if event == "open" and isinstance(arguments[2], int) and not arguments[2] & os.O_DIRECTORY:
            self.counts["written" if arguments[2] & (os.O_WRONLY | os.O_RDWR) else "read"] += 1
        elif event == "os.link":
            self.counts["linked"] += 1


WATCH = Watch()


def counted(act: Any) -> Counter[str]:
    WATCH.counts = counts = Counter()
    try:
        assert act().exit == 0
    finally:
        WATCH.counts = None
    return counts


def costs(host: SimulatedHost, count: int, name: str = "") -> dict[str, Counter[str]]:
    """What commands cost on a project with so many files, of which one has changed."""
    files = {f"big/p{number % 30}/m{number}.{'py' if number % 2 else 'txt'}": f"{number}\n" for number in range(count)}

    def deploy(text: str) -> Any:
        return host.deploy(text=f"{text} {name}", build=[], files=files)

    assert deploy("one").exit == 0
    assert deploy("two").exit == 0
    return {
        "deploy": counted(lambda: deploy("three")),
        "reload": counted(lambda: host.reload(env={"NEW": str(count)})),
        "rollback": counted(host.rollback),
    }


def test_a_thousand_more_files_cost_links(host: SimulatedHost) -> None:
    """None of them is read or written; a deploy links each, and nothing else makes as many as one."""
    costs(host, SMALL)  # a host with a history: each kept release is looked at
    small, large = (costs(host, count, f"{count} again") for count in (SMALL, LARGE))
    for command in small:
        for what in ("read", "written"):
            told = f"{command}: {small[command]}, {large[command]}"
            assert abs(large[command][what] - small[command][what]) <= SLACK, told
    assert large["deploy"]["linked"] - small["deploy"]["linked"] >= LARGE - SMALL
    assert max(large[command]["linked"] for command in ("reload", "rollback")) <= 1, "a hashed asset"

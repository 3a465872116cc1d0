"""Deploys that wait for each other: one after the other, and nobody who has gone holds up the rest."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.failures import Running, running
from tests.support.site import Ended, wait_until
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

FOR_EVER = "until [ -e $HOME/go ]; do sleep 0.1; done"


@pytest.fixture
def busy(mini: TinySite) -> Iterator[Running]:
    """A deploy that is at its build until :func:`go` says so."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=[FOR_EVER])
    with running(mini, "deploy", "--json") as first:
        first.until("phase.started", phase="build")
        try:
            yield first
        finally:
            go(mini)
            wait_until(lambda: not is_busy(mini), "the host has ended what it began")


def is_busy(site: TinySite) -> bool:
    shown = site.host.run("systemctl is-active deployer-mini.service", check=False).stdout.strip()
    return shown in ("active", "activating", "deactivating")


def go(site: TinySite) -> None:
    site.host.run("mkdir -p /var/cache/deployer-mini; touch /var/cache/deployer-mini/go")


def at_work(ended: Ended) -> tuple[float, float]:
    """When the host was at work for a command, by its own clock: from its first phase to the last event."""
    times = [
        event["at"]
        for event in ended.events
        if event["event"] in ("phase.started", "finished") and event.get("phase") != "upload"
    ]
    return times[0], times[-1]


def test_three_deploys_come_one_after_the_other(mini: TinySite, busy: Running) -> None:
    """Each waits for those before it, gets through, and builds on what the one before has made."""
    with ExitStack() as stack:
        second = stack.enter_context(running(mini, "deploy", "--json", "--wait"))
        told = second.until("waiting")
        assert (told["kind"], told["phase"], told["ahead"]) == ("deploy", "build", 0)
        third = stack.enter_context(running(mini, "reload", "--json", "--wait"))
        assert third.until("waiting")["ahead"] == 1
        with mini.under_load("/", clients=2):
            go(mini)
            ends = [command.end() for command in (busy, second, third)]
    assert [ended.exit for ended in ends] == [0, 0, 0]
    numbers = [int(ended.event("finished")["release"][1:]) for ended in ends]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    spans = [at_work(ended) for ended in ends]
    assert spans[0][1] <= spans[1][0] and spans[1][1] <= spans[2][0]
    assert mini.serving == f"v{numbers[2]}"
    assert ends[2].event("phase.done", phase="wait")["detail"] == f"v{numbers[1]} serves now"


def test_a_rollback_waits_and_goes_by_what_serves_then(mini: TinySite, busy: Running) -> None:
    """What it goes back from is the release that it waited for, and not what served when it was typed."""
    before = mini.serving
    with running(mini, "rollback", "--json", "--wait") as waiting:
        waiting.until("waiting")
        go(mini)
        deployed = busy.end()
        ended = waiting.end()
    assert (deployed.exit, ended.exit) == (0, 0)
    row = rows(mini)[0]
    assert (row["kind"], row["state"]) == ("rollback", "current")
    assert row["of"] in {before, row["of"]} and row["of"] != deployed.event("finished")["release"]


def rows(site: TinySite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.expect(0, "releases", "--json").out)["releases"]
    return found


def test_who_leaves_the_line_touches_nothing_and_holds_nobody_up(mini: TinySite, busy: Running) -> None:
    """Ctrl-C while waiting: exit 130; a laptop that is gone without a word is passed by as well."""
    with ExitStack() as stack:
        line = []
        for place in range(3):
            line.append(stack.enter_context(running(mini, "deploy", "--json", "--wait")))
            line[place].until("waiting", ahead=place)
        leaving, vanishing, last = line
        leaving.process.send_signal(signal.SIGINT)
        left = leaving.end()
        last.until("waiting", ahead=1)
        vanishing.kill()
        last.until("waiting", ahead=0)
        go(mini)
        assert busy.end().exit == 0
        assert last.end().exit == 0
    assert left.exit == 130
    failed = left.event("failed")
    assert (failed["message"], failed["state"]) == (
        "interrupted while waiting for another deploy",
        "nothing was touched",
    )
    assert " --wait" in failed["next"]
    assert "Traceback" not in left.text


def test_without_wait_it_is_said_how_to(mini: TinySite, busy: Running) -> None:
    """Exit 4 names both ways on: to follow the one that runs, and to wait for it."""
    for command in (["deploy"], ["reload"], ["rollback", "--to", "v1"]):
        failed = mini.expect(4, *command, "--json").event("failed")
        assert failed["next"].startswith("fab attach -H ")
        assert f"fab {command[0]} -H " in failed["next"] and " --wait" in failed["next"]


def test_the_one_that_is_waited_for_is_followed_by_its_phases(mini: TinySite, busy: Running) -> None:
    """People read a line whenever it gets on; then the deploy goes its way."""
    with running(mini, "deploy", "--wait") as waiting:
        assert waiting.process.stderr is not None
        lines = iter(waiting.process.stderr.readline, "")
        wait_until(lambda: "at build" in next(lines), "it says at which phase the other one is")
        go(mini)
        rest = list(lines)
        assert waiting.process.wait(60) == 0
    assert any(line.startswith("✓ wait (") and "serves now" in line for line in rest)

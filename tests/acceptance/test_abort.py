"""A deploy that somebody ends: it undoes what it did, whatever it was at, and the old release serves on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support.failures import FOOTPRINT, running
from tests.support.site import wait_until
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

FOR_EVER = "until [ -e $HOME/go ]; do sleep 0.1; done"


def footprint(site: TinySite) -> list[str]:
    return site.host.run(FOOTPRINT.format(app=site.app), check=False).stdout.splitlines()


@pytest.mark.parametrize(
    ("phase", "exit", "config"),
    [
        ("build", 5, {"build": [FOR_EVER]}),
        ("migrate", 5, {"release": f'migrate = "{FOR_EVER}"'}),
        ("check", 5, {"health": "settle = 60, timeout = 90"}),
        ("watch", 6, {"watch": 60}),
    ],
)
def test_a_deploy_is_aborted_wherever_it_is(mini: TinySite, phase: str, exit: int, config: dict[str, Any]) -> None:
    """Not one request fails, nothing of the release stays, who ended it is told, and the next deploy gets through."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    before, serving = footprint(mini), mini.serving
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(**config)
    with mini.under_load("/", clients=2), running(mini, "deploy", "--json") as deploying:
        release = deploying.until("phase.started", phase=phase)["release"]
        aborting = mini.expect(0, "abort", "--json")
        ended = deploying.end()
    finished = aborting.event("finished")
    assert (finished["exit"], finished["summary"]) == (0, f"aborted: {serving} serves")
    assert not [event for event in aborting.events if event["event"] == "failed"]
    assert ended.exit == exit
    assert ended.event("failed")["message"].startswith("aborted by ")
    assert mini.serving == serving
    assert footprint(mini) == before
    assert mini.host.run("systemctl list-units --failed --plain --no-legend 'deployer-*'").stdout == ""
    row = next(one for one in releases(mini) if one["number"] == release)
    assert row["state"] == ("failed" if exit == 5 else "rolled back")
    mini.configure()
    assert mini.deploy().event("finished")["serving"] == mini.serving != serving


def releases(site: TinySite) -> list[dict[str, Any]]:
    """What ``fab releases --all --json`` tells."""
    rows: list[dict[str, Any]] = json.loads(site.expect(0, "releases", "--all", "--json").out)["releases"]
    return rows


def test_an_abort_reads_as_what_happened(mini: TinySite) -> None:
    """People see whose deploy it is and how it is undone, and no failure at the end."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    serving = mini.serving
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=[FOR_EVER])
    with running(mini, "deploy", "--json") as deploying:
        deploying.until("phase.started", phase="build")
        said = mini.expect(0, "abort").err
        deploying.end()
    assert "told to abort: a deploy by " in said
    assert "at build" in said
    assert f"{serving} serves, uninterrupted" in said
    assert said.splitlines()[-1].startswith(f"✓ aborted: {serving} serves")


def test_without_a_deploy_there_is_nothing_to_abort(mini: TinySite) -> None:
    """Exit 2, and nothing was touched."""
    before = footprint(mini)
    failed = mini.expect(2, "abort", "--json").event("failed")
    assert (failed["message"], failed["state"]) == ("no deploy is running", "nothing was touched")
    assert footprint(mini) == before


def test_an_abort_ends_the_one_that_runs_and_not_the_next_in_line(mini: TinySite) -> None:
    """Who waits for its end gets their turn, and is not ended with it."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=[FOR_EVER])
    with running(mini, "deploy", "--json") as first:
        first.until("phase.started", phase="build")
        with running(mini, "reload", "--json", "--wait") as second:
            second.until("waiting")
            mini.expect(0, "abort")
            assert first.end().exit == 5
            ended = second.end()
    assert ended.exit == 0
    wait_until(lambda: mini.serving == ended.event("finished")["serving"], "the one that waited serves")

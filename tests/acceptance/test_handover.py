"""Handovers under load, through nginx, on a real host: no request is lost, none reaches a release out of its time."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost
from deployer.sandbox.load import Load, Report
from tests.support.site import Ended, Site, make_site, wait_until
from tests.support.traffic import Change, across, change, strays

pytestmark = pytest.mark.acceptance

BODY = bytes(range(256)) * 80
"""20 KiB: more than a socket's buffers and nginx's header buffers hold at once."""
QUICK = {"settle": 0, "watch": 0, "workers": 1}


def deploy(site: Site, version: str) -> Change:
    """Commit and deploy a version."""
    site.project.change(version=version)
    return change(site.deploy(), version)


def rollback(site: Site, version: str, *arguments: str) -> Change:
    """Roll back to a release whose version is known."""
    return change(site.expect(0, "rollback", "--json", *arguments), version)


def pids(site: Site) -> set[int]:
    """The processes of the app's own user."""
    return {int(word) for word in site.host.run(f"pgrep -u {site.app}", check=False).stdout.split()}


def test_sixty_four_clients_on_four_workers(site: Site) -> None:
    """Overloaded, through a deploy, a reload and a rollback: queues are emptied before sockets close."""
    site.configure(workers=4)
    first = number(site.deploy())
    with site.under_load(clients=64) as load:
        changes = [
            deploy(site, "2"),
            change(site.expect(0, "reload", "--json"), "2"),
            rollback(site, "1", "--to", f"v{first}"),
        ]
    assert strays(load.stop(), "1", changes) == []
    note(load.stop(), "64 clients on 4 workers, 3 changes")


@pytest.mark.parametrize("args", [[], ["--threads", "4"]], ids=["sync", "gthread"])
def test_keep_alive_clients_and_posts(site: Site, args: list[str]) -> None:
    """Clients that keep their connections, and bodies of 20 KiB whose digest is checked, under both kinds of worker."""
    site.configure(web=f"args = {json.dumps(args)}")
    site.deploy()
    with site.under_load(clients=8, keepalive=True) as kept, site.under_load("/echo", clients=4, method="POST", body=BODY) as posts:
        changes = [deploy(site, "2"), rollback(site, "1")]
    for load in (kept, posts):
        assert strays(load.stop(), "1", changes) == []
        note(load.stop(), f"{args} {'keep-alive' if load is kept else 'POST'}, 2 changes")


def test_slow_requests_are_finished_by_the_release_that_has_them(site: Site) -> None:
    """Requests in flight at the switch, and those that wait in the old socket, are answered by the old release."""
    site.configure(workers=2)
    site.deploy()
    with site.under_load("/slow?s=1.5", clients=4) as load:
        switch = deploy(site, "2")
    report = load.stop()
    caught = across(report, switch.at)
    assert len(caught) == 4
    assert {one.version for one in caught} == {"1"}
    assert strays(report, "1", [switch]) == []
    note(report, "1.5 s requests across a switch")


def test_thirty_changes_in_a_row(site: Site) -> None:
    """Thirty releases one after the other: numbers rise by one, and each serves from its own switch to the next."""
    site.configure(**QUICK)
    first = number(site.deploy())
    with site.under_load(clients=4) as load, site.under_load(clients=4, keepalive=True) as kept:
        changes, numbers = [deploy(site, "2")], []
        for step in range(2, 31):
            ended = site.expect(0, "rollback", "--json", "--to", f"v{first + step - 2}")
            changes.append(change(ended, "21"[step % 2]))
            numbers.append(number(ended))
    assert numbers == list(range(first + 2, first + 31))
    for one in (load, kept):
        assert strays(one.stop(), "1", changes) == []
        note(one.stop(), "30 changes in a row")


def number(ended: Ended) -> int:
    """The number of the release that a command made."""
    return int(ended.event("finished")["release"][1:])


def test_recycled_workers_are_no_crash(site: Site) -> None:
    """Workers that end after so many requests, as ``--max-requests`` asks: no request fails, nothing is rolled back."""
    site.configure(web='args = ["--max-requests", "20"]', watch=4)
    site.deploy()
    with site.under_load(clients=4) as load:
        switch = deploy(site, "2")
        recycled = site.host.run(f"journalctl -u 'shop-web@{site.serving}.service' -o cat").stdout
    assert recycled.count("Autorestarting worker") > 5, recycled[-2000:]
    assert strays(load.stop(), "1", [switch]) == []
    note(load.stop(), "recycled workers")


def note(report: Report, what: str) -> None:
    """Figures for people: pytest -rP shows them."""
    print(f"{what}: {report.sent} sent, {report.failed} failed, {report.retried} retried, {report.latencies}")

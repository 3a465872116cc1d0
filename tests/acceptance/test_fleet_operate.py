"""Hands on an app that runs on three hosts: a restart, another scale, a page in its place, a lock, a stop."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.verdict import none_switched, one_after_the_other

pytestmark = pytest.mark.acceptance

WORKER = """\
[processes.worker]
command = "/usr/bin/python3 -c 'import time; time.sleep(9999)'"
"""
NOBODY = "nobody.invalid"


def workers(fleet: FleetBed) -> dict[str, int]:
    """How many of them run on each host."""
    listed = "systemctl list-units --plain --no-legend --state=active 'fleet-worker*@*.service' | wc -l"
    return fleet.each(lambda member: int(member.host.run(listed).stdout))


def visits(fleet: FleetBed) -> list[int]:
    """The status that a visitor of each host gets."""

    def visit(url: str) -> int:
        try:
            with urllib.request.urlopen(url, timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    return [visit(member.url) for member in fleet.members.values()]


def told(fleet: FleetBed, *arguments: str, hosts: Sequence[str] | None = None, exit: int = 0) -> str:
    return fleet.expect(exit, *arguments, hosts=hosts).text


def test_a_restart_goes_from_wave_to_wave_without_loss(fleet: FleetBed) -> None:
    """New processes of the same code everywhere, under one number; what was committed meanwhile stays here."""
    before, versions = fleet.serving, fleet.versions
    with fleet.under_load():
        ended = fleet.expect(0, "restart", "--batch", "1", "--json")
    one_after_the_other(ended, [[name] for name in fleet.names])
    assert fleet.versions == versions
    assert set(fleet.serving.values()) == {ended.fleet["release"]} and fleet.serving != before
    fleet.comes_to_rest()


def test_a_restart_that_fails_on_one_host_is_none_anywhere(fleet: FleetBed) -> None:
    """The same code may not come up again: what serves goes on serving on all hosts."""
    bad, before = fleet.names[1], fleet.serving
    fleet[bad].break_app("dies-at-start", version=1)
    with fleet.under_load():
        ended = fleet.expect(5, "restart", "--json")
    none_switched(fleet, ended, before, bad, result="failed")
    fleet.comes_to_rest()


def test_a_scale_is_that_of_all_hosts_or_of_none(fleet: FleetBed) -> None:
    """In waves, without loss; where one host does not get there, each has as many as before."""
    fleet.change(tables=WORKER)
    fleet.deploy()
    with fleet.under_load():
        ended = fleet.expect(0, "scale", "worker=2", "--batch", "1", "--json")
        one_after_the_other(ended, [[name] for name in fleet.names])
        assert set(workers(fleet).values()) == {2}
        bad, before = fleet.names[2], fleet.serving
        fleet[bad].break_app("unhealthy")
        none_switched(fleet, fleet.expect(5, "scale", "worker=3", "--json"), before, bad, result="failed")
    fleet.comes_to_rest()
    assert set(workers(fleet).values()) == {2}


def test_a_page_takes_the_place_of_the_app_on_all_hosts(fleet: FleetBed) -> None:
    """A host out of reach is told and keeps no other from it; a deploy stays behind the page; off ends it."""
    some = fleet.names[:2]
    assert NOBODY in told(fleet, "maintenance", "on", hosts=[*some, NOBODY], exit=3)
    assert visits(fleet) == [503, 503, 200]
    told(fleet, "maintenance", "on")
    assert visits(fleet) == [503] * 3
    release = fleet.deploy().fleet["release"]
    assert visits(fleet) == [503] * 3
    shown = json.loads(fleet.expect(0, "status", "--json").out.splitlines()[-1])["hosts"]
    assert [(one["current"], bool(one["maintenance"])) for one in shown] == [(release, True)] * 3
    told(fleet, "maintenance", "off")
    assert visits(fleet) == [200] * 3
    assert set(fleet.serving.values()) == {release}
    fleet.comes_to_rest()


def test_a_lock_on_one_host_keeps_a_deploy_from_all(fleet: FleetBed) -> None:
    """Who, why and where; nothing was touched anywhere."""
    before, locked = fleet.serving, fleet.names[1]
    told(fleet, "lock", "-m", "an audit", hosts=[locked])
    try:
        for command in ("deploy", "restart"):
            text = told(fleet, command, exit=4)
            assert "an audit" in text and locked in text
    finally:
        told(fleet, "unlock")
    assert fleet.serving == before
    assert fleet.leftovers() == {}
    fleet.deploy()


def test_a_stop_and_a_start_of_all_hosts(fleet: FleetBed) -> None:
    """Each tells how it went; what is stopped already is no failure."""
    before = fleet.serving
    told(fleet, "stop", hosts=fleet.names[:1])
    text = told(fleet, "stop")
    assert "was stopped already" in text
    assert set(visits(fleet)) <= {502, 503}
    told(fleet, "start")
    assert fleet.serving == before

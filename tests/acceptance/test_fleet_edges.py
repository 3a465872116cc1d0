"""Fleets where others are at work, too: who shares hosts with whom, whose job is killed, whose hook says too much."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.fleet import FleetBed
from tests.support.fleet.accident import behind_proxy
from tests.support.fleet.verdict import all_back, all_done, none_switched

pytestmark = pytest.mark.acceptance


def test_who_comes_while_a_fleet_waits_is_told_so(fleet: FleetBed) -> None:
    """Exit 4, and not the phase that the host has been through long ago; the fleet goes on as if nobody had come."""
    slow, asked = fleet.names[0], fleet.names[1]
    fleet[slow].faults.boundary("phase.started check", "pause")
    with fleet.running("deploy", "--json") as command:
        command.until_all("ready", [name for name in fleet.names if name != slow], phase="switch")
        ended = fleet.fab("deploy", hosts=[asked])
        status = fleet.fab("status", hosts=[asked])
        fleet[slow].faults.go_on()
        all_done(fleet, command.end())
    assert ended.exit == 4, ended.text
    assert "waiting for its fleet before switch" in ended.text
    assert "waiting for its fleet before switch" in status.text


def test_a_job_that_is_killed_at_a_barrier(fleet: FleetBed) -> None:
    """Its host discards the candidate by itself, and that is heard: no other host switches."""
    slow, killed, before = fleet.names[0], fleet.names[2], fleet.serving
    fleet[slow].faults.boundary("phase.started check", "pause")
    with fleet.under_load(), fleet.running("deploy", "--json") as command:
        command.until_all("ready", [name for name in fleet.names if name != slow], phase="switch")
        fleet[killed].host.run(["systemctl", "kill", "--signal=KILL", f"deployer-{fleet[killed].app}.service"])
        command.until("finished", host=killed)
        fleet[slow].faults.go_on()
        none_switched(fleet, command.end(), before, killed, result="failed")
        fleet.comes_to_rest()


@pytest.mark.parametrize("wait", [False, True])
def test_two_fleets_that_share_some_hosts(fleet: FleetBed, wait: bool) -> None:
    """Where each has another first host, too: never half of one and half of the other, and nobody hangs."""
    first, second, shared = fleet.names[:2], fleet.names[1:], fleet.names[1]
    before = fleet.serving
    with fleet.under_load(), ExitStack() as stack:
        options = ("--json", "--wait") if wait else ("--json",)
        commands = [stack.enter_context(fleet.running("deploy", *options, hosts=names)) for names in (first, second)]
        ended = [command.end() for command in commands]
    exits = [one.exit for one in ended]
    assert exits == [0, 0] if wait else set(exits) <= {0, 4, 5}, [one.text for one in ended]
    for one in ended:
        results = set(one.results.values())  # exit code 5: some had begun by then; nothing but the other was in the way
        assert results == {"done"} if one.exit == 0 else "busy" in results <= {"busy", "untouched", "discarded"}
    for names, one in zip((first, second), ended, strict=True):
        serving = {fleet.serving[name] for name in names if name != shared}
        wanted = {one.fleet["release"]} if one.exit == 0 else {before[name] for name in names}
        assert serving == wanted, one.text
    fleet.comes_to_rest()


def test_a_hook_that_has_much_to_say(fleet: FleetBed) -> None:
    """What it printed is the reason that all hosts are told, who take one line of it: they go back, and at once."""
    bad, before = fleet.names[2], fleet.serving
    hook = fleet.project.path.parent / "talkative"
    hook.write_text(f'#!/bin/sh\nseq 300\nprintf "\\033[31mno\\n"\ntest "$1" != {bad}\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    fleet.change(watch=0.2, tables=f'[hooks]\ndrain = "{hook} {{host}}"\n')
    with fleet.under_load():
        ended = fleet.deploy("--batch", "2", expect=6)
        all_back(fleet, ended, before, bad, switched=fleet.names[:2])
        fleet.comes_to_rest()
    assert max(one["seconds"] for one in ended.hosts.values()) < 60  # nobody waited for a lease


MANY = 8_000
IDS = MANY * 5 * 4 // 3
"""Bytes of the ids of so many files, as a host tells them."""


@contextmanager
def counted(fleet: FleetBed, place: Path) -> Iterator[Callable[[], int]]:
    """What gives the bytes between this machine and the hosts since it was last asked."""
    with ExitStack() as stack:
        ways = []
        for name in fleet.names:
            (place / name).mkdir(parents=True)
            ways.append(stack.enter_context(behind_proxy(fleet[name].host, place / name)))
        own = fleet.hosts[0].ssh_config.read_text()
        (place / "ssh_config").write_text("".join(path.read_text().removesuffix(own) for _, path in ways) + own)
        seen = 0

        def since() -> int:
            nonlocal seen
            before, seen = seen, sum(proxy.bytes_up + proxy.bytes_down for proxy, _ in ways)
            return seen - before

        with fleet.by_way_of(place / "ssh_config"):
            yield since


def test_what_a_host_is_sent_does_not_grow_with_the_project(
    fleet: FleetBed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8,000 more files that stay nothing is told, to or by any host; where this machine has not sent them itself, it
    asks one host of the fleet for their ids."""

    def change() -> int:
        fleet.change()
        assert set(fleet.deploy().results.values()) == {"done"}
        return bytes_since()

    with counted(fleet, tmp_path) as bytes_since:
        change()
        small = change()
        for number in range(MANY):
            fleet.project.write(f"many/d{number % 50}/f{number}.txt", f"{number}\n")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
        change()
        large = change()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another's"))
        asks = change()
        shutil.rmtree(fleet.project.path / "many")
        fleet.change()
        all_done(fleet, fleet.deploy())
    assert large - small < IDS // 4
    assert IDS // 2 < asks - large < IDS * 3 // 2

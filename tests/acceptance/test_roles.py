"""Hosts that differ: web processes on two, workers on a third, and what is to run once runs on one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.background import table, timer, worker
from tests.support.fleet import FleetBed, FleetEnded, fleet_bed
from tests.support.jobs import Facts, Jobs
from tests.support.programs import SOURCES
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance
HOSTS = 3


def roles(names: list[str], *tables: str) -> str:
    """Web and news on the first two, the worker on the third; ``tables`` are of the processes and timers."""
    web = [table(f'hosts."{name}"', {"processes": ["web", "news"]}) for name in names[:-1]]
    return "\n".join([*web, table(f'hosts."{names[-1]}"', {"processes": ["worker"]}), *tables])


@dataclass
class Crew:
    """The fleet; ``web`` are the names of the hosts that serve, ``back`` is the one that works."""

    bed: FleetBed

    @property
    def web(self) -> list[str]:
        return self.bed.names[:-1]

    @property
    def back(self) -> str:
        return self.bed.names[-1]

    def ask_for(self, *tables: str, **settings: Any) -> None:
        """The roles as they are; ``tables`` of processes and timers."""
        self.bed.change(tables=roles(self.bed.names, *tables), **{"watch": 1, **settings})

    def deploy(self, *arguments: str, expect: int = 0) -> FleetEnded:
        return self.bed.deploy(*arguments, expect=expect)

    def there(self, name: str) -> list[str]:
        """The unit files on a host, and what of them is active, without the app's name."""
        script = (
            "cd /etc/systemd/system; for one in $(ls -1 | grep '^fleet-.*@'); do "
            'echo "${one#fleet-} $(systemctl is-active $one)"; done'
        )
        return str(self.bed[name].host.run(script, check=False).stdout).splitlines()

    def units(self, name: str) -> set[str]:
        """The unit files on a host, without the app's name."""
        return {one.split()[0] for one in self.there(name)}

    def comes_to(self, release: str, once: str = "", worker: str = "worker") -> None:
        """Wait until each host has its own of that release, and nothing else; ``once`` has the timer."""
        wanted = {
            name: {f"web@{release}.service active", f"web@{release}.socket active"}
            | ({f"news@{release}.timer active"} if name == once else set())
            for name in self.web
        }
        wanted[self.back] = {f"{worker}@{release}.service active"}
        found: dict[str, set[str]] = {}

        def holds() -> bool:
            for name in self.bed.names:  # the timer's service comes and goes
                found[name] = {one for one in self.there(name) if not one.startswith(f"news@{release}.service")}
            return found == wanted

        try:
            wait_until(holds, "each host has its own")
        except AssertionError:
            raise AssertionError(f"{found}, wanted: {wanted}") from None

    def has_site(self, name: str) -> bool:
        """Whether the host's proxy knows the app."""
        script = "nginx -T 2>/dev/null | grep -q /srv/fleet/"
        return self.bed[name].host.run(script, check=False).returncode == 0

    def serving(self) -> Mapping[str, str]:
        return {name: str(self.bed[name].get()["release"]) for name in self.web}

    def facts(self, name: str) -> Facts:
        return Jobs(self.bed[name].host, "fleet").facts()

    def runs(self) -> dict[str, int]:
        """How many runs of the timer each host has made."""
        return {name: len(self.facts(name).runs) for name in self.bed.names}


@pytest.fixture(scope="module")
def _crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    path = tmp_path_factory.mktemp("roles") / "project"

    def tables(names: Any) -> str:
        return roles(list(names), worker(), timer("news"))

    with fleet_bed(HOSTS, path, injectable=False, small_disk=False, tables=tables) as bed:
        for name, text in SOURCES.items():
            bed.project.write(name, text)
        yield Crew(bed)


@pytest.fixture
def crew(_crew: Crew) -> Crew:
    """A good release everywhere, of a worker and a timer."""
    _crew.bed.each(lambda member: member.wipe())
    _crew.ask_for(worker(), timer("news"))
    _crew.deploy()
    return _crew


def test_each_host_has_its_own(crew: Crew) -> None:
    """Through a deploy and a rollback under load; the host without web has no socket, no site and no check of it."""
    first, _ = crew.web
    sites = {
        name: crew.bed[name]
        .host.run("ls /etc/nginx/sites-enabled /etc/nginx/conf.d | grep -c fleet", check=False)
        .stdout
        for name in crew.bed.names
    }
    assert [sites[name].strip() for name in crew.bed.names] == ["1", "1", "0"]
    with crew.bed.under_load(among=crew.web):
        crew.ask_for(worker("worker", count=1, mark="2"), timer("news"))
        ended = crew.deploy()
        release = str(ended.fleet["release"])
        assert set(ended.results.values()) == {"done"}
        crew.comes_to(release, once=first)
        assert set(crew.serving().values()) == {release}
        back = str(crew.bed.expect(0, "rollback", "--json").fleet["release"])
        crew.comes_to(back, once=first)
        assert set(crew.serving().values()) == {back}
    marks = {one["release"]: one["mark"] for one in crew.facts(crew.back).lives}
    assert (marks[release], marks[back]) == ("2", "")


def test_what_is_to_run_once_runs_on_one_host(crew: Crew) -> None:
    """Whichever hosts are deployed to: the timer stays where deploy.toml has it."""
    first, second = crew.web
    wait_until(lambda: crew.runs()[first] > 1, "it runs")
    for name in (second, crew.back, first):
        crew.bed.deploy(hosts=[name])
        timers = {host: [one for one in crew.there(host) if ".timer" in one] for host in crew.bed.names}
        assert [len(timers[host]) for host in crew.bed.names] == [1, 0, 0], timers
    before = crew.runs()
    wait_until(lambda: crew.runs()[first] > before[first] + 1, "it runs")
    assert [count for name, count in crew.runs().items() if name != first] == [0, 0]


def test_a_worker_that_crashes_takes_all_hosts_back(crew: Crew) -> None:
    """Also those that serve well: they have switched, and go back; no request fails."""
    first, _ = crew.web
    before = crew.serving()
    (release,) = set(before.values())
    with crew.bed.under_load(among=crew.web):
        crew.ask_for(worker(mood="crashes"), timer("news"), watch=4)
        ended = crew.deploy(expect=6)
        crew.comes_to(release, once=first)
    assert crew.serving() == before
    assert ended.results == {name: "failed" if name == crew.back else "rolled back" for name in crew.bed.names}
    assert crew.back in ended.fleet["summary"] + ended.fleet["state"], ended.fleet
    assert "Traceback" not in ended.text


def test_a_host_without_web_is_a_host_like_others(crew: Crew) -> None:
    """Its handle stops, starts and reloads it, and after a power cut its worker runs again."""
    (release,) = set(crew.serving().values())
    host = crew.bed[crew.back].host
    host.run("systemctl stop fleet")
    assert crew.there(crew.back) == [f"worker@{release}.service inactive"]
    host.run("systemctl start fleet")
    crew.comes_to(release, once=crew.web[0])
    host.run("systemctl reload fleet")
    reloaded = f"v{int(release[1:]) + 1}"
    wait_until(lambda: crew.there(crew.back) == [f"worker@{reloaded}.service active"], "the reloaded one works")
    host.pull_plug()
    host.boot()
    wait_until(lambda: crew.there(crew.back) == [f"worker@{reloaded}.service active"], "it works again")
    crew.ask_for(worker(mood="crashes"), timer("news"))
    ended = crew.bed.deploy(hosts=[crew.back], expect=6)
    assert "no broker to be found" in "\n".join(ended.event("failed")["logs"])
    wait_until(lambda: crew.there(crew.back) == [f"worker@{reloaded}.service active"], "the old one works")


def test_a_check_that_fails_on_one_host_refuses_it_for_all(crew: Crew) -> None:
    """Nobody has switched."""
    before = crew.serving()
    with crew.bed.under_load(among=crew.web):
        crew.ask_for(worker(check="echo no queue called jobs; exit 3"), timer("news"))
        ended = crew.deploy(expect=5)
    assert ended.named("switched") == []
    assert ended.results[crew.back] == "failed"
    assert "no queue called jobs" in ended.text
    assert crew.serving() == before


def test_roles_can_change(crew: Crew) -> None:
    """With a deploy they move from host to host, with a rollback back again."""
    first, second = crew.web
    old = {name: crew.units(name) for name in crew.bed.names}
    moved = {first: ["web"], second: ["web", "worker"], crew.back: ["news"]}
    tables = [table(f'hosts."{name}"', {"processes": found}) for name, found in moved.items()]
    with crew.bed.under_load(among=crew.web):
        crew.bed.change(tables="\n".join([*tables, worker(), timer("news")]), watch=1)
        release = str(crew.deploy().fleet["release"])
        web = {f"web@{release}.service", f"web@{release}.socket"}
        assert crew.units(first) == web
        assert crew.units(second) == web | {f"worker@{release}.service"}
        assert crew.units(crew.back) == {f"news@{release}.service", f"news@{release}.timer"}
        back = str(crew.bed.expect(0, "rollback", "--json").fleet["release"])
        crew.comes_to(back, once=first)
    (was,) = {one.partition("@")[2].partition(".")[0] for one in old[first]}
    assert {name: {one.replace(was, back) for one in found} for name, found in old.items()} == {
        name: crew.units(name) for name in crew.bed.names
    }


def test_a_status_tells_what_runs_where(crew: Crew) -> None:
    """For people and as JSON: the host without web is healthy when its worker is up, and is not when it is stopped."""
    (release,) = set(crew.serving().values())
    (answer,) = [json.loads(line) for line in crew.bed.expect(0, "status", "--json").out.splitlines()]
    told = {one["host"].rpartition("@")[2]: one for one in answer["hosts"]}
    processes = {name: sorted(unit["process"] for unit in told[name]["units"]) for name in crew.bed.names}
    assert processes == {**{name: ["web"] for name in crew.web}, crew.back: ["worker"]}
    assert [len(told[name]["timers"]) for name in crew.bed.names] == [1, 0, 0]
    assert all(one["healthy"] and one["current"] == release for one in told.values()), told
    shown = crew.bed.expect(0, "status").text
    assert all(word in shown for word in (*crew.bed.names, release, "worker")), shown
    for name, word in ((crew.web[0], "news"), (crew.back, "worker")):
        assert word in (shown := crew.bed.expect(0, "status", hosts=[name]).text), shown
    crew.bed[crew.back].host.run(f"systemctl stop fleet-worker@{release}.service")
    (answer,) = [json.loads(line) for line in crew.bed.fab("status", "--json").out.splitlines()]
    assert [one["healthy"] for one in answer["hosts"]] == [True, True, False]
    assert crew.bed.fab("doctor", "--fix", hosts=[crew.back]).exit == 0
    crew.comes_to(release, once=crew.web[0])

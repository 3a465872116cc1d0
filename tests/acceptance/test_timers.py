"""Timers on a real host: each run that is due is made once, whatever the releases do that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deployer.sandbox import SandboxHost
from tests.support.background import PERIOD, BackgroundSite, make_background, often, timer, worker
from tests.support.faults.accident import running
from tests.support.faults.install import faults
from tests.support.jobs import HELD, not_once
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def _site(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundSite]:
    site = make_background(bookworm, tmp_path_factory.mktemp("clock"), app="clock")
    yield site
    site.wipe()


@pytest.fixture
def site(_site: BackgroundSite) -> BackgroundSite:
    """Set up; nothing is deployed, and nothing has run."""
    if not _site.host.is_on():
        _site.host.boot()
    _site.wipe()
    _site.jobs.clean()
    return _site


def change(site: BackgroundSite) -> str:
    """Deploy another version of the same; the release."""
    site.project.change(version=site.project.git("rev-list", "--count", "HEAD"))
    return site.release()


def has_run(site: BackgroundSite, release: str, name: str = "tick", times: int = 1) -> None:
    """Wait until the release has made so many runs of the timer."""
    site.jobs.until(lambda facts: sum(run["release"] == release for run in facts.runs_of(name)) >= times, "it runs")


def test_no_run_is_lost_or_doubled(site: BackgroundSite) -> None:
    """Through two deploys and a rollback: one run each time, by the release that serves then."""
    site.ask_for(often())
    releases = [site.release()]
    for command in ("deploy", "deploy", "rollback"):
        has_run(site, releases[-1])
        site.project.change(version=command)
        releases.append(site.expect(0, command, "--json").event("finished")["release"])
    has_run(site, releases[-1])
    runs = site.jobs.facts().runs_of("tick")
    assert not_once(runs, PERIOD) == []
    assert [run["release"] for run in runs] == sorted((run["release"] for run in runs), key=releases.index)
    assert {run["release"] for run in runs} == set(releases)
    site.comes_to(releases[-1], timers=["tick"])
    assert site.out("ls /var/lib/systemd/timers | grep stamp-clock-") == f"stamp-clock-tick@{releases[-1]}.timer"


def test_no_run_is_lost_or_doubled_by_a_release_that_goes_back(site: BackgroundSite) -> None:
    """The timers go forth and back again within seconds, three times."""
    site.ask_for(often())
    good = site.release()
    for mood in ("crashes", "ends", "crashes"):
        site.ask_for(often(), worker(mood=mood), watch=5)
        site.deploy(expect=6)
    runs = len(site.jobs.facts().runs)
    site.jobs.until(lambda facts: len(facts.runs) > runs + 1, "it runs")
    assert not_once(site.jobs.facts().runs_of("tick"), PERIOD) == []
    site.comes_to(good, timers=["tick"])


def ran_last(site: BackgroundSite, release: str, when: str) -> None:
    """Have systemd believe, from the next start of the timer on, that its last run was then."""
    site.host.run(f"touch -d '{when}' /var/lib/systemd/timers/stamp-clock-tick@{release}.timer")


def test_a_run_that_fell_due_meanwhile_is_made_up_for(site: BackgroundSite) -> None:
    """Once, by the release that serves then: each timer knows when the one before it ran last."""
    site.ask_for(timer(calendar="daily"))
    ran_last(site, site.release(), "2 days ago")
    second = change(site)
    has_run(site, second)
    third = change(site)
    site.comes_to(third, timers=["tick"])
    assert [run["release"] for run in site.jobs.facts().runs] == [second]


@pytest.mark.parametrize("persistent", [True, False])
def test_a_run_that_was_missed_while_the_host_was_off(site: BackgroundSite, persistent: bool) -> None:
    """It is made up for, unless deploy.toml says otherwise."""
    site.ask_for(timer(calendar="daily", persistent=persistent), worker())
    release = site.release()
    if persistent:
        ran_last(site, release, "2 days ago")
    site.host.power_off()
    site.host.boot()
    site.comes_to(release, "worker", timers=["tick"])
    if persistent:
        has_run(site, release)
    assert len(site.jobs.facts().runs) == persistent


def test_the_power_goes_before_the_timers_change_hands(site: BackgroundSite) -> None:
    """Right after the rename: a run that was missed meanwhile is made up for by the new release."""
    site.ask_for(timer(calendar="daily"))
    ran_last(site, old := site.release(), "2 days ago")
    site.project.change(version="2")
    with faults(site.host, site.app) as accidents:
        accidents.boundary("switched", "pause")
        with running(site, "deploy", "--json"):
            accidents.wait_until_reached()
            site.host.pull_plug()
        site.host.boot()
    new = site.out("basename $(readlink /srv/clock/current)")
    assert new != old
    site.comes_to(new, timers=["tick"], seconds=60)
    has_run(site, new)
    assert len(site.jobs.facts().runs) == 1


def test_a_run_in_progress_is_let_finish(site: BackgroundSite) -> None:
    """It goes on with the code that it began with, longer than the deploy if need be, and is told of meanwhile."""
    site.ask_for(timer("long", seconds=HELD), drain=1)
    old = site.release()
    (run,) = site.jobs.until(lambda facts: facts.runs, "it runs").runs
    site.ask_for(timer("long"), drain=1)
    new = site.release()
    (lingering,) = site.status()["lingering"]
    assert (lingering["process"], lingering["release"]) == ("long", old)
    site.jobs.let_go("long")
    first = site.jobs.until(lambda facts: facts.runs_of("long")[0]["ended"], "it has finished").runs_of("long")[0]
    assert (first["release"], first["pid"]) == (old, run["pid"])
    has_run(site, new, "long")
    wait_until(lambda: not site.status()["lingering"], "it ends")
    site.ask_dead_mans_switch()
    site.comes_to(new, timers=["long"], seconds=5)


def test_what_is_no_longer_asked_for_runs_no_more(site: BackgroundSite) -> None:
    """A timer that is taken out of deploy.toml, while another's calendar changes."""
    site.ask_for(timer("tick"), timer("other", calendar="daily"))
    old = site.release()
    site.comes_to(old, timers=["tick", "other"])
    has_run(site, old)
    new = site.ask_for(timer("other")).release()
    site.comes_to(new, timers=["other"])
    last = site.jobs.facts().runs_of("tick")[-1]
    has_run(site, new, "other", times=3)
    assert site.jobs.facts().runs_of("tick")[-1] == last


def test_a_run_that_fails_says_nothing_about_the_release(site: BackgroundSite) -> None:
    """It is not taken back; status tells of the failure, and the next run is made all the same."""
    site.ask_for(timer())
    site.release()
    site.ask_for(timer(more="0 fails", seconds=0), worker(), watch=4.5)
    release = site.release()
    assert site.serving == release
    has_run(site, release, times=2)
    seen: list[dict[str, Any]] = []
    wait_until(lambda: seen.extend(site.status()["timers"]) or not seen[-1]["ok"], "its failure is told of")
    told = seen[-1]  # while the next run is made, nothing is wrong
    assert (told["process"], told["name"], told["result"]) == ("tick", f"clock-tick@{release}.timer", "exit-code")
    assert told["last"] > 0
    site.jobs.until(lambda facts: max(run["began"] for run in facts.runs) >= told["last"], "it was told of a run")
    assert told["next"] == 0 or told["last"] < told["next"]  # none is known while a run is made
    assert "tick" in (shown := site.expect(0, "status").text), shown
    site.ask_for(timer())
    mended = site.release()
    has_run(site, mended)
    wait_until(lambda: site.status()["timers"][0]["ok"], "the run went well")


def test_a_run_that_takes_too_long_is_ended(site: BackgroundSite) -> None:
    """After its ``timeout``; the next is made when it is due."""
    site.ask_for(timer(seconds=60, timeout=1))
    release = site.release()
    has_run(site, release, times=2)
    first = site.jobs.facts().runs_of("tick")[0]
    assert first["ended"] == 0
    assert site.host.run(["kill", "-0", str(first["pid"])], check=False).returncode != 0


def test_a_run_every_second(site: BackgroundSite) -> None:
    """Where systemd would take a service that starts so often for one that crashes, and start it no more."""
    site.ask_for(timer(calendar="*:*:*"))
    release = site.release()
    has_run(site, release, times=12)
    assert "start-limit-hit" not in site.out(f"journalctl -o cat -u 'clock-tick@{release}.service'")
    assert site.status()["timers"][0]["result"] in ("success", "")  # while one runs nothing is said of it


def test_a_run_that_an_admin_stops_has_not_failed(site: BackgroundSite) -> None:
    """With the app: afterwards nothing is to be seen among the host's failed units, or in the app's status."""
    site.ask_for(timer(seconds=HELD))
    release = site.release()
    has_run(site, release)
    site.host.run("systemctl stop clock")
    assert site.out("pgrep -u clock") == ""
    assert site.out("systemctl list-units --plain --no-legend --state=failed 'clock-*'") == ""
    site.jobs.let_go("tick")
    site.host.run("systemctl start clock")
    assert site.status()["timers"][0]["ok"]


@pytest.mark.parametrize("calendar", ["every full moon", "*-13-01", "daily\nOnCalendar=hourly"])
def test_a_calendar_that_is_none(site: BackgroundSite, calendar: str) -> None:
    """It is refused by the name of its key, before anything is switched to."""
    site.ask_for(timer())
    site.release()
    site.ask_for(timer(calendar=calendar))
    before = site.unit_files(), site.serving
    ended = site.fab("deploy", "--json")
    assert ended.exit in (2, 5), ended.text
    assert "timers.tick.calendar" in ended.event("failed")["message"]
    assert (site.unit_files(), site.serving) == before
    site.comes_to(site.serving, timers=["tick"], seconds=5)

"""Workers on a real host: no job is lost or done twice, whatever the releases do that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from deployer.sandbox import SandboxHost
from tests.support.background import LOOK, BackgroundSite, make_background, timer, worker
from tests.support.faults.accident import running
from tests.support.faults.install import Faults, faults
from tests.support.jobs import TICK, never_two_at_a_time
from tests.support.site import wait_until
from tests.support.traffic import SLACK

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def _site(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundSite]:
    site = make_background(bookworm, tmp_path_factory.mktemp("crew"))
    yield site
    site.wipe()


@pytest.fixture
def site(_site: BackgroundSite) -> BackgroundSite:
    """Set up; nothing is deployed, and there are no jobs."""
    if not _site.host.is_on():
        _site.host.boot()
    _site.wipe()
    _site.jobs.clean()
    return _site


# From one release to the next


def test_every_job_is_done_once_across_a_deploy(site: BackgroundSite) -> None:
    """The job in hand is finished by the release that has it; what comes after the switch is done by the new one."""
    site.ask_for(worker(count=2), drain=60)
    old = site.release()
    with site.under_load(), site.jobs.feeding():
        site.jobs.until(lambda facts: len(facts.done) > 10, "jobs are done")
        site.jobs.put_in_hand("long")
        with running(site, "deploy", "--json") as deploy:
            wait_until(lambda: site.serving != old, "it has switched")
            site.jobs.let_go("long")
            assert deploy.end() == 0, deploy.said
            new = deploy.event("finished")["release"]
            switched = deploy.event("phase.done", phase="switch")["at"]
        site.jobs.until(
            lambda facts: sum(one["put"] > switched for one in facts.done) > 10, "jobs put in since are done"
        )
    facts = site.jobs.facts()
    assert {one["release"] for one in facts.done if one["put"] > switched} == {new}
    assert {one["release"] for one in facts.done} == {old, new}
    long = facts.job("long")
    assert (long["release"], long["ended"] > switched - SLACK) == (old, True)
    assert len({one["pid"] for one in facts.done if one["release"] == new}) == 2
    site.comes_to(new, "worker", "worker.2")


def test_a_job_that_takes_longer_than_the_deploy(site: BackgroundSite) -> None:
    """It is left to finish, with all it needs; who deploys does not wait for it, and status tells of it."""
    site.ask_for(worker(stop=60), drain=1, keep=2)
    old = site.release()
    site.jobs.put_in_hand("long")
    pid, tree = site.pid(f"worker@{old}"), site.out(f"readlink -f /srv/crew/releases/{old}/code")
    for _ in range(2):
        site.project.change(version="2")
        new = site.release()
        assert site.jobs.facts().taken == [f"long.{old}.{pid}"], "it is no longer at work, or was not left alone"
    (lingering,) = site.status()["lingering"]
    assert (lingering["process"], lingering["release"]) == ("worker", old)
    assert lingering["name"] == f"crew-worker@{old}.service"
    assert f"worker of {old}" in (told := site.expect(0, "status").text), told
    site.expect(0, "doctor", "--fix")
    site.ask_dead_mans_switch()
    assert site.pid(f"worker@{old}") == pid
    unit = f"/etc/systemd/system/crew-worker@{old}.service"
    assert site.out(f"ls -d {tree} /srv/crew/releases/{old}/env {unit} | wc -l") == "3"
    site.jobs.let_go("long")
    facts = site.jobs.until(lambda facts: facts.done, "the job is done")
    assert facts.job("long")["release"] == old
    wait_until(lambda: not site.pid(f"worker@{old}"), "it ends")
    site.ask_dead_mans_switch()
    site.comes_to(new, "worker", seconds=5)
    wait_until(lambda: not site.out(f"ls -d {tree} /srv/crew/releases/{old}/env"), "its code and environment go")
    assert site.status()["lingering"] == []


def test_a_worker_that_does_not_listen(site: BackgroundSite) -> None:
    """What ignores SIGTERM is killed when its ``stop`` is over, and the deploy ends well."""
    site.ask_for(worker(mood="stays", stop=2), drain=20)
    old = site.release()
    pid = site.pid(f"worker@{old}")
    site.ask_for(worker(), drain=20)
    new = site.release()
    assert site.host.run(["kill", "-0", str(pid)], check=False).returncode != 0
    site.comes_to(new, "worker")


@pytest.mark.parametrize("job", [0.7, 5.0], ids=["a short job", "a job that takes longer than the deploy"])
def test_never_two_at_a_time(site: BackgroundSite, job: float) -> None:
    """With ``overlap = false`` the new one begins when the old one has ended, in a deploy and in a rollback."""
    site.ask_for(worker(overlap=False), drain=2)
    site.release()
    for command in ("deploy", "rollback"):
        site.jobs.put_in_hand(command, job)
        site.project.change(version="2")
        release = site.expect(0, command, "--json").event("finished")["release"]
        site.jobs.until(lambda facts, release=release: facts.lives_of("worker", release), "the new one begins")
        site.comes_to(release, "worker", seconds=5)
    facts = site.jobs.until(lambda facts: len(facts.done) == 2, "both jobs are done")
    assert len(facts.lives) == 3
    never_two_at_a_time(facts.lives)


def test_a_deploy_is_ended_while_its_worker_waits_for_its_turn(site: BackgroundSite) -> None:
    """What waited never works; the old one finishes its job, and works on."""
    site.ask_for(worker(overlap=False, stop=60), drain=1)
    old = site.release()
    site.jobs.put_in_hand("long")
    site.project.change(version="2")
    with running(site, "deploy", "--json") as deploy:
        wait_until(lambda: site.serving != old, "it has switched")
        site.expect(0, "abort")
        assert deploy.end() == 6, deploy.said
    site.jobs.let_go("long")
    site.jobs.put("next", 0)
    facts = site.jobs.until(lambda facts: len(facts.done) == 2, "both jobs are done")
    assert {one["release"] for one in facts.lives} == {old}
    site.comes_to(old, "worker")


def test_how_many_and_which(site: BackgroundSite) -> None:
    """What runs is what deploy.toml asks for: more, fewer, one added, one renamed, one removed."""
    for tables, wanted in (
        ([worker()], ["worker"]),
        ([worker(count=3)], ["worker", "worker.2", "worker.3"]),
        ([worker(count=2), worker("mailer")], ["worker", "worker.2", "mailer"]),
        ([worker("courier"), worker("worker")], ["courier", "worker"]),
        ([worker("courier")], ["courier"]),
        ([], []),
    ):
        release = site.ask_for(*tables).release()
        site.comes_to(release, *wanted)
        units = [one["name"] for one in site.status()["units"] if one["process"] != "web"]
        assert sorted(units) == sorted(f"crew-{one}@{release}.service" for one in wanted)


def test_a_rollback_and_a_reload_bring_their_own(site: BackgroundSite) -> None:
    """A reload takes the commands and counts of today's deploy.toml, a rollback those of back then."""
    site.ask_for(worker(mark="first"))
    site.release()
    site.ask_for(worker(mark="second", count=2), mark="1")
    reloaded = site.expect(0, "reload", "--json").event("finished")["release"]
    site.comes_to(reloaded, "worker", "worker.2")
    back = site.expect(0, "rollback", "--json").event("finished")["release"]
    site.comes_to(back, "worker")
    facts = site.jobs.facts()
    assert [(one["mark"], one["env"]) for one in facts.lives_of("worker", reloaded)] == [("second", "1")] * 2
    assert [(one["mark"], one["env"]) for one in facts.lives_of("worker", back)] == [("first", "0")]


# A release that is bad


@pytest.mark.parametrize(("mood", "said"), [("crashes", "no broker to be found"), ("ends", "nothing to do")])
def test_a_worker_that_does_not_stay_up(site: BackgroundSite, mood: str, said: str) -> None:
    """Whatever its exit status: the release is taken back, the old worker works again, and no request has failed."""
    site.ask_for(worker(count=2))
    old = site.release()
    with site.under_load(), site.jobs.feeding():
        site.ask_for(worker(mood=mood), watch=4)
        ended = site.deploy(expect=6)
        site.comes_to(old, "worker", "worker.2")
        site.jobs.until(lambda facts: len(facts.done) > 10, "jobs are done")
    failed = ended.event("failed")
    assert "worker" in failed["message"], failed
    assert said in "\n".join(failed["logs"]), failed
    assert {one["release"] for one in site.jobs.facts().done} == {old}
    assert site.serving == old


@pytest.mark.parametrize("overlap", [True, False])
def test_a_release_that_goes_back_while_a_job_is_in_hand(site: BackgroundSite, overlap: bool) -> None:
    """The old worker was told to stop, and has its job still: it finishes that, and works on."""
    site.ask_for(worker(overlap=overlap), drain=1)
    old = site.release()
    site.jobs.put_in_hand("long", 6)
    site.ask_for(worker(mood="crashes", overlap=overlap), drain=1, watch=15)
    site.deploy(expect=6)
    site.jobs.put("next", 0)
    facts = site.jobs.until(lambda facts: len(facts.done) == 2, "both jobs are done")
    assert [facts.job(name)["release"] for name in ("long", "next")] == [old, old]
    site.comes_to(old, "worker")
    if not overlap:
        assert facts.job("long")["ended"] <= min(one["began"] for one in facts.lives if one["release"] != old) + TICK


def test_a_release_that_goes_back_finishes_the_job_in_hand(site: BackgroundSite) -> None:
    """Nobody waits for it, and it has all that it needs until then; meanwhile one may deploy."""
    site.ask_for(worker(stop=60), drain=1)
    old = site.release()
    site.ask_for(worker(stop=60), drain=1, watch=60, mark="1")
    with running(site, "deploy", "--json") as deploy:
        wait_until(lambda: site.serving != old, "it has switched")
        failed = site.serving
        wait_until(lambda: site.show(f"worker@{old}.service", "ActiveState") != "active", "the old worker is stopped")
        site.jobs.put_in_hand("long")
        site.expect(0, "abort")
        assert deploy.end() == 6, deploy.said
        assert "finishes" in deploy.event("failed")["state"]
    pid = site.pid(f"worker@{failed}")
    (lingering,) = site.status()["lingering"]
    assert (lingering["process"], lingering["release"]) == ("worker", failed)
    site.ask_for(worker(stop=60), drain=1, mark="2")
    new = site.release()
    site.ask_dead_mans_switch()
    assert site.pid(f"worker@{failed}") == pid, "it is no longer at work"
    tree = site.out(f"readlink -f /srv/crew/releases/{failed}/code")
    assert site.out(f"ls -d {tree} /srv/crew/releases/{failed}/env | wc -l") == "2"
    site.jobs.let_go("long")
    site.jobs.until(lambda facts: facts.done and facts.job("long")["release"] == failed, "the job is done")
    wait_until(lambda: not site.pid(f"worker@{failed}"), "it ends")
    site.ask_dead_mans_switch()
    site.comes_to(new, "worker")
    wait_until(lambda: not site.out(f"ls -d {tree} /srv/crew/releases/{failed}/env"), "its code and environment go")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([worker(check="echo no queue called jobs; exit 3")], ["worker", "no queue called jobs"]),
        ([worker(command="nonesuch --queue jobs")], ["worker", "nonesuch"]),
        ([worker(command="./bin/nonesuch")], ["worker", "bin/nonesuch"]),
        ([worker(), timer(command="nonesuch")], ["tick", "nonesuch"]),
    ],
    ids=["its check fails", "no such program", "no such program in the code", "no such program for a timer"],
)
def test_what_can_be_known_before_the_switch(site: BackgroundSite, tables: Sequence[str], words: Sequence[str]) -> None:
    """A worker that cannot run is refused: the old one goes on, nothing was touched."""
    site.ask_for(worker())
    old = site.release()
    with site.under_load(), site.jobs.feeding():
        site.ask_for(*tables)
        ended = site.refuses(*words)
        assert not [event for event in ended.events if event["event"] == "switched"]
        site.jobs.until(lambda facts: len(facts.done) > 10, "jobs are done")
    assert {one["release"] for one in site.jobs.facts().done} == {old}
    assert len(site.jobs.facts().lives) == 1


# The host


def test_the_handle_is_about_all_of_it(site: BackgroundSite) -> None:
    """``systemctl stop``, ``start`` and ``restart`` of the app: its processes and timers, too."""
    site.ask_for(worker(count=2), timer())
    release = site.release()
    before = site.pid(f"worker@{release}")
    site.host.run("systemctl stop crew")
    assert site.runs() == []
    assert site.host.run("pgrep -u crew", check=False).stdout == ""
    site.host.run("systemctl start crew")
    site.comes_to(release, "worker", "worker.2", timers=["tick"], seconds=5)
    started = site.pid(f"worker@{release}")
    site.host.run("systemctl restart crew")
    site.comes_to(release, "worker", "worker.2", timers=["tick"], seconds=5)
    assert len({before, started, site.pid(f"worker@{release}")}) == 3
    runs = len(site.jobs.facts().runs)
    site.jobs.until(lambda facts: len(facts.runs) > runs, "the timer runs", 10)


def test_the_handle_stops_what_finishes_for_an_older_release(site: BackgroundSite) -> None:
    """``systemctl stop`` waits for its job, too; ``start`` is about what serves, and nothing else."""
    site.ask_for(worker(stop=60), drain=1)
    old = site.release()
    site.jobs.put_in_hand("long")
    site.project.change(version="2")
    new = site.release()
    site.host.run("systemctl stop --no-block crew")
    wait_until(lambda: site.runs() == [f"worker@{old}.service"], "all has stopped but for the job")
    assert site.out("systemctl is-active crew") == "deactivating"
    site.jobs.let_go("long")
    wait_until(lambda: site.out("systemctl is-active crew") == "inactive", "the handle has stopped")
    assert site.runs() == []
    assert site.jobs.facts().job("long")["release"] == old
    site.host.run("systemctl start crew")
    site.host.run(f"{LOOK} crew")
    site.comes_to(new, "worker", seconds=5)


def test_what_waits_to_be_started_again_is_not_down(site: BackgroundSite) -> None:
    """After ``systemctl restart`` a worker first finishes its job: status and doctor say that it is queued."""
    site.ask_for(worker(stop=60))
    release = site.release()
    site.jobs.put_in_hand("long")
    site.host.run("systemctl restart crew")
    wait_until(lambda: site.show(f"worker@{release}.service", "ActiveState") == "deactivating", "it is told to stop")
    (unit,) = [one for one in site.status()["units"] if one["process"] == "worker"]
    assert (unit["ok"], unit["sub"]) == (True, "queued")
    site.expect(0, "doctor")
    site.jobs.let_go("long")
    site.comes_to(release, "worker")


def test_phase_by_phase(site: BackgroundSite) -> None:
    """Up to the switch the old ones work, and nobody else; from then on the new ones do."""
    site.ask_for(worker(), timer(calendar="daily"))
    old = site.release()
    site.ask_for(worker(count=2), timer(calendar="daily"))
    with site.under_load(), site.jobs.feeding():
        new = str(site.expect(0, "phase.upload", "--json").event("finished")["release"])
        for phase in ("build", "install", "start", "migrate", "check"):
            site.expect(0, f"phase.{phase}")
        site.expect(0, "doctor")
        active = site.runs()
        assert {f"worker@{old}.service", f"tick@{old}.timer"} <= set(active)
        assert [one for one in active if one.endswith((f"@{new}.service", f"@{new}.timer")) and "web" not in one] == []
        for phase in ("switch", "drain", "watch"):
            site.expect(0, f"phase.{phase}")
        site.comes_to(new, "worker", "worker.2", timers=["tick"])
    assert len(site.jobs.facts().lives) == 3


def test_a_killed_worker_is_started_again(site: BackgroundSite) -> None:
    """systemd sees to it, and what runs in its place does the jobs that wait."""
    site.ask_for(worker())
    release = site.release()
    site.host.run(f"kill -9 {site.pid(f'worker@{release}')}")
    site.jobs.put("next", 0)
    facts = site.jobs.until(lambda facts: facts.done, "the job is done")
    assert facts.job("next")["release"] == release
    assert site.show(f"worker@{release}.service", "NRestarts") == "1"


def test_after_a_reboot_all_of_it_runs(site: BackgroundSite) -> None:
    """The processes and the timers of the release that serves."""
    site.ask_for(worker(count=2), timer())
    site.release()
    site.project.change(version="2")
    release = site.release()
    site.host.power_off()
    site.host.boot()
    site.comes_to(release, "worker", "worker.2", timers=["tick"])
    site.jobs.put("next", 0)
    facts = site.jobs.until(lambda facts: facts.done, "a job is done")
    assert facts.job("next")["release"] == release
    site.jobs.until(lambda now: len(now.runs) > len(facts.runs), "the timer runs", 10)


@pytest.fixture
def accidents(site: BackgroundSite) -> Iterator[Faults]:
    with faults(site.host, site.app) as ordered:
        yield ordered


@pytest.mark.parametrize("at", ["switched", "phase.done switch", "phase.started drain"])
def test_the_host_program_is_killed_while_they_change_hands(site: BackgroundSite, accidents: Faults, at: str) -> None:
    """Right after the rename, or while the old one's job is waited for: no job is lost, and the new release runs."""
    site.ask_for(worker(count=2), timer())
    site.release()
    with site.under_load(), site.jobs.feeding():
        site.jobs.put_in_hand("long", 3)
        accidents.boundary(at, "kill")
        new = site.release()
        assert accidents.was_reached()
        site.comes_to(new, "worker", "worker.2", timers=["tick"], seconds=60)
    assert len(site.jobs.facts().lives) == 4


@pytest.mark.parametrize("at", ["switched", "phase.started drain"])
def test_the_power_goes_while_they_change_hands(site: BackgroundSite, accidents: Faults, at: str) -> None:
    """Afterwards exactly the release that ``current`` names runs, all of it."""
    site.ask_for(worker(count=2), timer(), drain=20)
    old = site.release()
    site.jobs.put_in_hand("long")
    accidents.boundary(at, "pause")
    with running(site, "deploy", "--json"):
        accidents.wait_until_reached()
        site.host.pull_plug()
    site.host.boot()
    new = site.out("basename $(readlink /srv/crew/current)")
    assert new != old
    site.comes_to(new, "worker", "worker.2", timers=["tick"], seconds=60)
    site.jobs.put("next", 0)
    assert site.jobs.until(lambda facts: facts.done, "a job is done").job("next")["release"] == new

"""Hands on a running app: restart, stop, start, timers, prune. On a real host, with a worker, a timer and load."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.background import BackgroundSite, make_background, timer, worker
from tests.support.faults.accident import running
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance

RARELY = "*-01-01"


@pytest.fixture(scope="module")
def _site(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundSite]:
    site = make_background(bookworm, tmp_path_factory.mktemp("crew"))
    site.wipe()
    site.jobs.clean()
    site.ask_for(worker(count=2), timer(calendar=RARELY, persistent=False))
    site.release()
    yield site
    site.wipe()


@pytest.fixture
def site(_site: BackgroundSite) -> BackgroundSite:
    """A release serves, with two workers and a timer that never runs by itself."""
    if not _site.host.is_on():
        _site.host.boot()
    return _site


def test_a_restart_loses_no_request_and_takes_nothing_new(site: BackgroundSite) -> None:
    """New processes, the same code, settings and environment: what changed in the project meanwhile stays there."""
    old, pid = site.release(), site.pid("worker@" + site.serving)
    site.project.write("VERSION.txt", "not released\n")
    site.ask_for(worker(count=1), mark="not released")
    with site.under_load():
        made = site.expect(0, "restart", "--json").event("finished")["release"]
    site.comes_to(made, "worker", "worker.2", timers=["tick"])
    assert (site.serving, site.get()["version"] != "not released", made != old) == (made, True, True)
    assert site.pid(f"worker@{made}") not in (0, pid)
    rows = json.loads(site.expect(0, "releases", "--json").out)["releases"]
    assert (rows[0]["kind"], rows[0]["of"]) == ("restart", old)
    site.ask_for(worker(count=2), timer(calendar=RARELY, persistent=False))


def test_a_worker_is_restarted_alone_and_finishes_its_job(site: BackgroundSite) -> None:
    """Both instances come back as new processes; the job in hand is done, by the old one; web is not touched."""
    serving = site.serving
    before = [site.pid(f"{name}@{serving}") for name in ("worker", "worker.2", "web")]
    site.jobs.put_in_hand("inhand")
    with running(site, "restart", "--process", "worker", "--json") as restart:
        wait_until(lambda: "then starts anew" in restart.said, "it has been told")
        site.jobs.let_go("inhand")
        assert restart.end() == 0, restart.said
    after = [site.pid(f"{name}@{serving}") for name in ("worker", "worker.2", "web")]
    assert site.jobs.facts().job("inhand")["ended"]
    assert after[2] == before[2] and 0 not in after
    assert after[0] != before[0] and after[1] != before[1]


def test_a_worker_that_does_not_come_back_is_told(site: BackgroundSite) -> None:
    """It crashes at each start: that is an error with what it said, and not a job that is still in hand."""
    unit = f"crew-worker@{site.serving}.service"
    site.host.run(
        f"mkdir -p /run/systemd/system/{unit}.d && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
        f"> /run/systemd/system/{unit}.d/broken.conf && systemctl daemon-reload"
    )
    try:
        ended = site.fab("restart", "--process", "worker")
        assert ended.exit not in (0, 130) and "worker" in ended.text and "ended by itself" in ended.text, ended.text
    finally:
        site.host.run(f"rm -r /run/systemd/system/{unit}.d; systemctl daemon-reload")
    site.expect(0, "restart", "--process", "worker")
    site.comes_to(site.serving, "worker", "worker.2", timers=["tick"])


def test_a_scale_stays_through_deploys_and_rollbacks_until_it_is_given_back(site: BackgroundSite) -> None:
    """The host keeps the count; plan says so; ``worker=`` takes deploy.toml's again; 0 stops a process."""
    with site.under_load():
        scaled = site.expect(0, "scale", "worker=3", "--json").event("finished")["release"]
    site.comes_to(scaled, "worker", "worker.2", "worker.3", timers=["tick"])
    site.project.write("VERSION.txt", "scaled\n")
    site.project.commit("scaled")
    assert "worker=3" in site.expect(0, "plan").text
    deployed = site.release()
    site.comes_to(deployed, "worker", "worker.2", "worker.3", timers=["tick"])
    back = site.expect(0, "rollback", "--json").event("finished")["release"]
    site.comes_to(back, "worker", "worker.2", "worker.3", timers=["tick"])
    none = site.expect(0, "scale", "worker=0", "--json").event("finished")["release"]
    site.comes_to(none, timers=["tick"])
    assert "worker as deploy.toml says" in site.expect(0, "--dry", "scale", "worker=").text
    usual = site.expect(0, "scale", "worker=", "--json").event("finished")["release"]
    site.comes_to(usual, "worker", "worker.2", timers=["tick"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["scale", "nobody=2"], "there are: worker"),
        (["scale", "worker=65"], "0 to 64"),
        (["scale", "worker=two"], "NAME=NUMBER"),
        (["scale", "worker=1", "worker=2"], "twice"),
        (["scale", "web=2"], "there are: worker"),
        (["restart", "--process", "web"], "fab restart"),
        (["restart", "--process", "tick"], "fab timer.run"),
        (["restart", "--process", "nobody"], "there are: worker"),
        (["timer.run", "worker"], "there are: tick"),
        (["timer.run", "nobody"], "there are: tick"),
        (["prune", "--keep", "1"], "from 2 to"),
        (["prune", "--keep", "many"], "from 2 to"),
    ],
)
def test_what_there_is_not_touches_nothing(site: BackgroundSite, words: list[str], told: str) -> None:
    """It ends with 2 and says what there is."""
    before = site.runs()
    ended = site.expect(2, *words)
    assert told in " ".join(ended.text.split()) and "nothing was touched" in ended.text
    assert site.runs() == before


def test_a_timer_runs_now_and_is_followed_to_its_end(site: BackgroundSite) -> None:
    """What the run prints is shown; its exit status is the command's; the list shows how it went."""
    runs = len(site.jobs.facts().runs_of("tick"))
    ended = site.expect(0, "timer.run", "tick")
    assert "ended well" in ended.text
    assert len(site.jobs.facts().runs_of("tick")) == runs + 1
    (row,) = json.loads(site.expect(0, "timer.list", "--json").out)["timers"]
    assert (row["process"], row["result"]) == ("tick", "success")
    assert "tick" in site.expect(0, "timer.list").out
    assert "would run tick" in site.expect(0, "--dry", "timer.run", "tick").text


def test_a_stopped_app_stays_down_at_a_reboot_and_comes_back_by_start(site: BackgroundSite) -> None:
    """Nothing of it runs, not even after a reboot; doctor says who wanted that; start brings the same release back."""
    serving = site.serving
    site.expect(0, "stop")
    assert [name for name in site.runs() if not name.endswith(".socket")] == []
    assert "already" in site.expect(0, "stop").text
    assert "fab start" in site.expect(0, "status").text
    site.host.boot()
    assert site.runs() == []
    assert "fab start" in site.expect(7, "doctor").text
    assert site.expect(0, "start").text.count("healthy")
    assert site.serving == serving
    site.comes_to(serving, "worker", "worker.2", timers=["tick"])
    site.host.boot()
    wait_until(lambda: site.get()["release"] == serving, "it comes back at a boot")


def test_a_deploy_brings_a_stopped_app_back_for_good(site: BackgroundSite) -> None:
    """Who deploys wants it to serve, also after the next reboot."""
    site.expect(0, "stop")
    site.project.write("VERSION.txt", "back\n")
    site.project.commit("back")
    made = site.release()
    assert site.serving == made
    assert site.out(f"systemctl is-enabled {site.app}") == "enabled"
    assert site.out(f"systemctl is-active {site.app}") == "active"


def test_prune_removes_what_a_deploy_would_have_kept(site: BackgroundSite) -> None:
    """The dry run names the same releases, and what serves and its standby stay."""
    for _ in range(2):
        site.expect(0, "restart")
    rows = json.loads(site.expect(0, "releases", "--json").out)["releases"]
    told = site.expect(0, "--dry", "prune", "--keep", "2").text
    ended = site.expect(0, "prune", "--keep", "2", "--json")
    assert ended.event("finished")["release"] == "", "it makes none"
    left = json.loads(site.expect(0, "releases", "--json").out)["releases"]
    gone = [row["number"] for row in rows if row["number"] not in [one["number"] for one in left]]
    assert gone and all(name in told and name in ended.text for name in gone), (gone, told, ended.text)
    assert [row["state"] for row in left][:2] == ["current", "standby"]
    assert "no release had to go" in site.expect(0, "prune", "--keep", "2").text


def test_nothing_of_this_begins_while_a_deploy_runs(site: BackgroundSite) -> None:
    """It ends with 4 and says whose deploy it is; the deploy is not disturbed."""
    site.ask_for(worker(count=2), timer(calendar=RARELY, persistent=False), watch=20)
    with running(site, "deploy", "--json") as deploy:
        wait_until(lambda: '"phase": "watch"' in deploy.said, "it watches")
        for words in (["stop"], ["start"], ["restart", "--process", "worker"], ["timer.run", "tick"], ["prune"]):
            ended = site.expect(4, *words)
            assert "busy" in ended.text, words
        assert deploy.end() == 0, deploy.said


def test_before_the_first_deploy(site: BackgroundSite) -> None:
    """There is nothing to act on, and it is said what to do."""
    site.wipe()
    for words in (["stop"], ["start"], ["restart"], ["restart", "--process", "worker"], ["timer.run", "tick"]):
        ended = site.expect(2, *words)
        assert "fab deploy" in ended.text, ended.text
    assert "nothing serves yet" in site.expect(0, "timer.list").text
    site.expect(0, "prune")

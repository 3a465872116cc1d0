"""An admin on the host, and accidents: start, stop, reload, restart, kill -9, reboot and a pulled plug."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
from collections.abc import Iterator

import pytest

from deployer.host.state.paths import stop_unit
from deployer.sandbox import SandboxHost
from tests.support.site import Site, make_site, wait_until
from tests.support.tiny import TinySite
from tests.support.traffic import note

pytestmark = pytest.mark.acceptance


def unit(release: str) -> str:
    return f"shop-web@{release}.service"


def show(site: Site, what: str, name: str) -> str:
    """One property of a unit, as systemd has it now."""
    return site.host.run(f"systemctl show -p {what} --value {name}").stdout.strip()


def units_of(release: str) -> list[str]:
    return [f"shop-web@{release}.service", f"shop-web@{release}.socket"]


def following(release: str) -> str:
    return f"v{int(release[1:]) + 1}"


def active(site: Site) -> str:
    """What of the app runs or listens, and its processes; nothing when it is stopped."""
    return site.host.run(
        "systemctl list-units --plain --no-legend --state=active 'shop-web@*'; pgrep -u shop", check=False
    ).stdout


@contextlib.contextmanager
def deploying(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A deploy under way; it is killed at the end of the block if it is still there."""
    with subprocess.Popen(
        site.argv("deploy", "--json"), cwd=site.project.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that serves, for the tests that leave it as they find it; they come first."""
    site = make_site(bookworm, tmp_path_factory.mktemp("running") / "shop")
    site.wipe()
    site.deploy()
    return site


def test_stop_and_start(running: Site) -> None:
    """``stop`` ends every process and closes the socket; ``start`` brings the same release back."""
    release = running.serving
    running.host.run("systemctl stop shop")
    assert active(running) == ""
    with pytest.raises(urllib.error.HTTPError, match="502"):
        running.get()
    running.host.run("systemctl start shop")
    assert running.serving == release


def test_reload_makes_a_release(running: Site) -> None:
    """``systemctl reload`` is a handover to a new release of the same parts, and ``status`` tells of it."""
    new = following(running.serving)
    with running.under_load() as load:
        running.host.run("systemctl reload shop")
        assert running.serving == new
        assert running.units() == units_of(new)
    note(load.stop(), "systemctl reload")
    status = running.host.run("systemctl status --no-pager shop").stdout
    assert "active (exited)" in status
    assert f"{new} serves (reload by systemctl reload)" in status


@pytest.mark.parametrize("name", ["shop.service", "shop-web@{}.service"])
def test_restart_only_stalls(running: Site, name: str) -> None:
    """A restart of the handle, or of the release's own unit: requests wait in the socket, which stays."""
    release = running.serving
    before = show(running, "MainPID", unit(release))
    with running.under_load() as load:
        running.host.run(f"systemctl restart {name.format(release)}")
        assert running.serving == release
        assert show(running, "MainPID", unit(release)) not in (before, "0")
    note(load.stop(), f"systemctl restart {name}")


def test_killed_main_process_costs_what_it_had_in_hand(running: Site) -> None:
    """``kill -9`` of gunicorn's master: at most one request a worker fails; all others wait until it is back."""
    release = running.serving
    with running.load(clients=8) as load:
        wait_until(lambda: load.snapshot().succeeded > 10, "the load is on")
        before = show(running, "MainPID", unit(release))
        running.host.run(f"kill -9 {before}")
        wait_until(lambda: show(running, "MainPID", unit(release)) not in (before, "0"), "it is started again")
        served = load.snapshot().succeeded
        wait_until(lambda: load.snapshot().succeeded > served + 20, "it serves again")
    report = load.stop()
    note(report, "kill -9 of gunicorn's main process, 2 workers")
    assert report.failed <= 2, report.examples
    assert show(running, "NRestarts", unit(release)) == "1"


def test_stop_ends_a_deploy_under_way(deployed: Site) -> None:
    """The admin's word counts: a deploy that builds is refused, and does not start the app again behind their back."""
    release = deployed.serving
    config = (deployed.project.path / "deploy.toml").read_text()
    deployed.project.change(version="2", files={"deploy.toml": config.replace("build = [", 'build = ["sleep 60", ')})
    with deploying(deployed) as deploy:
        wait_until(lambda: show(deployed, "ActiveState", "deployer-shop-build.service") == "activating", "it builds")
        deployed.host.run("systemctl stop shop", timeout=120)
        assert deploy.wait(60) == 5
    assert active(deployed) == ""
    assert deployed.units() == units_of(release)
    deployed.host.run("systemctl start shop")
    assert deployed.serving == release


def test_a_failed_reload_says_so(deployed: Site) -> None:
    """When the code on the disk does not import any more: exit status, journal, and the old release serves on."""
    release = deployed.serving
    deployed.host.run("echo 'raise RuntimeError(\"spoilt\")' >> /srv/shop/current/code/shop/wsgi.py")
    with deployed.under_load():
        done = deployed.host.run("systemctl reload shop", check=False)
        assert done.returncode != 0
        assert (deployed.serving, deployed.units()) == (release, units_of(release))
    journal = deployed.host.run("journalctl -u shop.service -o cat -n 60").stdout
    assert "RuntimeError: spoilt" in journal
    assert f"{following(release)} is not healthy" in journal
    assert f"{release} serves, uninterrupted" in journal
    assert show(deployed, "ActiveState", "shop.service") == "active"


@pytest.mark.parametrize("how", ["power_off", "pull_plug"])
def test_after_a_reboot_the_same_release_serves(deployed: Site, how: str) -> None:
    """Even when it happened in the middle of a deploy: its candidate does not come back, and the next deploy works.

    Whoever followed it connects again, and hears from the host how it ended.
    """
    release = deployed.serving
    deployed.configure(timeout=300)
    deployed.project.change(version="2", fault="slow-import:300")
    with deploying(deployed) as deploy:
        wait_until(lambda: active(deployed).count(".service") == 2, "the candidate starts")
        getattr(deployed.host, how)()
        deployed.host.boot()
        undone = deploy.wait(60)
    assert undone == 5
    assert deployed.serving == release
    wait_until(lambda: deployed.units() == units_of(release), "the candidate is cleared away")
    deployed.project.change(version="3", fault="")
    with deployed.under_load():
        deployed.deploy()
    assert deployed.get()["version"] == "3"


@pytest.mark.parametrize("how", ["power_off", "pull_plug"])
def test_the_host_goes_down_after_the_switch(site: Site, how: str) -> None:
    """What had been switched to serves after the reboot; the host watches it to the end, and finds it good."""
    site.configure(settle=0, watch=0)
    site.deploy()
    new = following(site.serving)
    site.configure(settle=0, watch=8)
    site.project.change(version="2")
    with deploying(site):
        wait_until(lambda: site.serving == new, "the new release is switched to")
        getattr(site.host, how)()
    site.host.boot()
    assert (site.serving, site.get()["version"]) == (new, "2")
    wait_until(lambda: site.units() == units_of(new), "the host has judged it")
    site.configure(settle=0, watch=0)
    site.project.change(version="3")
    site.deploy()
    listed = json.loads(site.expect(0, "releases", "--json").out)["releases"]
    assert {one["number"]: one["state"] for one in listed}[new] == "standby"
    assert "the host went down; the host found it healthy" in {one["number"]: one["reason"] for one in listed}[new]


# A start that does not get to its end.


WORKER = "[processes.w]\ncommand = \"python3 -c 'import time; time.sleep(999)'\"\n"


@pytest.fixture
def with_worker(mini: TinySite) -> TinySite:
    mini.configure(env=WORKER)
    mini.expect(0, "deploy")
    return mini


@contextlib.contextmanager
def before_web(site: TinySite, command: str) -> Iterator[None]:
    """The app is down, and this is what its web process begins with when it is started."""
    drop_in = f"/run/systemd/system/{site.app}-web@.service.d"
    site.host.run(f"systemctl stop {site.app}; mkdir -p {drop_in}")
    site.host.run(f"cat > {drop_in}/first.conf; systemctl daemon-reload", input=f"[Service]\n{command}\n".encode())
    try:
        yield
    finally:
        site.host.run(f"rm -rf {drop_in}; systemctl daemon-reload; systemctl -q enable {site.app}")
        site.host.run(f"systemctl restart {site.app}")


def up(site: TinySite) -> list[str]:
    """The units of the app that run, or will be started again."""
    states = "--state=active,activating,deactivating,auto-restart"
    shown = site.host.run(f"systemctl list-units --plain --no-legend {states} '{site.app}-*@v*'").stdout
    return sorted(line.split()[0].partition("@")[0] for line in shown.splitlines())


def is_down(site: TinySite) -> bool:
    return up(site) == [] and show(site, "ActiveState", f"{site.app}.service") == "inactive"


@pytest.mark.parametrize("how", ["systemctl stop", "fab stop", "systemctl restart", "systemctl start"])
def test_an_app_whose_start_has_failed_is_up_to_the_admin(with_worker: TinySite, how: str) -> None:
    """Its worker runs, its web process is tried again and again: all of that is stopped, and stays so; a restart and
    another start bring it back once the reason has gone."""
    site, unit = with_worker, f"{with_worker.app}.service"
    release = site.serving
    with before_web(site, "ExecStartPre=/bin/sh -c 'test -e /run/may-start'"):
        assert site.host.run(f"systemctl start {site.app}", check=False).returncode != 0
        assert show(site, "ActiveState", unit) == "failed"
        assert "mini-w" in up(site)
        if how in ("systemctl stop", "fab stop"):
            if how == "fab stop":
                site.expect(0, "stop")
                assert is_down(site)
            else:
                site.host.run(f"systemctl stop {site.app}")
            wait_until(lambda: is_down(site), "it is down")
            site.host.run("touch /run/may-start")
            time.sleep(2)
            assert is_down(site)
        else:
            site.host.run("touch /run/may-start")
            site.host.run(f"{how} {site.app}")
            assert site.serving == release
        site.host.run("rm -f /run/may-start", check=False)


def test_an_app_is_stopped_while_it_starts(with_worker: TinySite) -> None:
    """The start ends at once, what it has started is stopped, nothing comes back; and the next start starts all."""
    site = with_worker
    release = site.serving
    with before_web(site, "ExecStartPre=/bin/sh -c 'test -e /run/may-start || sleep 30'"):
        site.host.run(f"systemctl start --no-block {site.app}")
        wait_until(lambda: up(site).count("mini-web") == 2, "it starts")
        assert show(site, "ActiveState", f"{site.app}.service") == "activating"
        site.host.run(f"systemctl stop {site.app}")
        wait_until(lambda: is_down(site), "it is down")
        site.host.run("touch /run/may-start")
        site.host.run(f"systemctl start {site.app}")
        assert site.serving == release
        site.host.run("rm /run/may-start")


def test_a_start_that_is_killed_is_made_again(with_worker: TinySite) -> None:
    """Whoever sent the signal: nobody has asked for a stop."""
    site = with_worker
    with before_web(site, "ExecStartPre=/bin/sleep 2"):
        site.host.run(f"systemctl start --no-block {site.app}")
        wait_until(lambda: "mini-web" in up(site), "it starts")
        site.host.run(f"pkill -TERM -f 'deployer-host start {site.app}'")
        wait_until(lambda: show(site, "ActiveState", f"{site.app}.service") == "active", "it has started all the same")
        assert "mini-w" in up(site)


def test_a_setup_makes_what_stops_an_app_that_runs_already(with_worker: TinySite) -> None:
    """As on a host that was set up before there was such a unit."""
    site, unit = with_worker, stop_unit(with_worker.app)
    site.host.run(f"systemctl stop {unit}; rm /etc/systemd/system/{unit}; systemctl daemon-reload")
    assert (show(site, "LoadState", unit), len(up(site))) == ("not-found", 3)
    with site.under_load("/", clients=2):
        site.expect(0, "setup", user="root")
        assert (show(site, "ActiveState", unit), len(up(site))) == ("active", 3)

"""Handovers under load, through nginx, on a real host: no request is lost, none reaches a release out of its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deployer.sandbox import SandboxHost
from deployer.sandbox.load import Load
from tests.support.site import Ended, Site, make_site, wait_until
from tests.support.traffic import Change, across, change, note, strays

pytestmark = pytest.mark.acceptance

BODY = bytes(range(256)) * 80
"""20 KiB: more than a proxy's header buffers hold."""
QUICK = {"settle": 0, "watch": 0}
CALM = {"pause": 0.05}
"""Between two requests of a client, where overload is not the point: the hosts share this machine's processors."""
MIGRATION = """\
from django.db import migrations
class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = []
"""


def number(ended: Ended) -> int:
    """The number of the release that a command made."""
    return int(ended.event("finished")["release"][1:])


def deploy(site: Site, version: str) -> Change:
    """Commit and deploy a version."""
    site.project.change(version=version)
    return change(site.deploy(), version)


def rollback(site: Site, *arguments: str, expect: int = 0) -> Ended:
    return site.expect(expect, "rollback", "--json", *arguments)


# Under load


def test_sixty_four_clients_on_four_workers(site: Site) -> None:
    """Overloaded, through a deploy, a reload and a rollback: queues are emptied before sockets close."""
    site.configure(workers=4, **QUICK)
    first = number(site.deploy())
    with site.under_load(clients=64, pause=0) as load:
        changes = [deploy(site, "2"), change(site.expect(0, "reload", "--json"), "2")]
        changes.append(change(rollback(site, "--to", f"v{first}"), "1"))
    assert strays(load.stop(), "1", changes) == []
    note(load.stop(), "64 clients on 4 workers, 3 changes")


@pytest.mark.parametrize("args", [[], ["--threads", "4"]], ids=["sync", "gthread"])
def test_keep_alive_clients_and_posts(site: Site, args: list[str]) -> None:
    """Clients that keep their connections, and bodies whose digest is checked, under both kinds of gunicorn worker."""
    site.configure(web=f"args = {json.dumps(args)}", **QUICK)
    site.deploy()
    with (
        site.under_load(clients=8, keepalive=True, **CALM) as kept,
        site.under_load("/echo", clients=4, method="POST", body=BODY, **CALM) as posts,
    ):
        changes = [deploy(site, "2"), change(rollback(site), "1")]
    for load in (kept, posts):
        assert strays(load.stop(), "1", changes) == []
        note(load.stop(), f"{args} {'keep-alive' if load is kept else 'POST'}, 2 changes")


def test_slow_requests_are_finished_by_the_release_that_has_them(site: Site) -> None:
    """Requests in flight at the switch, and those that wait in the old socket, are answered by the old release."""
    site.configure(workers=2, **QUICK)
    site.deploy()
    with site.load("/slow?s=1.5", clients=4) as load:
        wait_until(lambda: load.snapshot().succeeded >= 4, "slow requests are under way")
        switch = deploy(site, "2")
        wait_until(lambda: load.snapshot().samples[-1].version == "2", "the new release answers slow requests")
    report = load.stop()
    note(report, "1.5 s requests across a switch")
    assert report.failed == 0, report.examples
    caught = [one.version for one in across(report, switch.at)]
    assert len(caught) >= 2
    assert set(caught) == {"1"}
    assert strays(report, "1", [switch]) == []


def test_thirty_changes_in_a_row(site: Site) -> None:
    """Thirty releases, asked for by laptop and host in turn: numbers rise by one, each serves for its own time only."""
    site.configure(workers=1, **QUICK)
    first = number(site.deploy())
    path, kind = "/work?ms=5", {"clients": 2, **CALM}
    with site.under_load(path, **kind) as load, site.under_load(path, keepalive=True, **kind) as kept:
        changes, served = [deploy(site, "2")], {"1": first, "2": first + 1}
        for step in range(29):
            version = "1122"[step % 4]
            if step % 2:
                site.host.run("systemctl reload shop")
            else:
                changes.append(change(rollback(site, "--to", f"v{served[version]}"), version))
            served[version] = first + 2 + step
            assert site.serving == f"v{served[version]}"
    for one in (load, kept):
        note(one.stop(), "30 changes in a row")
        assert strays(one.stop(), "1", changes) == []


def test_recycled_workers_are_no_crash(site: Site) -> None:
    """Workers that end after so many requests, as ``--max-requests`` asks: no request fails, nothing is rolled back."""
    site.configure(web='args = ["--max-requests", "20"]', settle=0, watch=6)
    site.deploy()
    with site.under_load(clients=4, **CALM) as load:
        switch = deploy(site, "2")
        journal = f"journalctl -u 'shop-web@{site.serving}.service' -o cat"
        wait_until(lambda: site.host.run(journal).stdout.count("Autorestarting worker") > 6, "workers are recycled")
    note(load.stop(), "recycled workers")
    assert strays(load.stop(), "1", [switch]) == []


PLAIN_SERVICE = """\
[Service]
Type=notify
User=shop
RuntimeDirectory=plain
WorkingDirectory=/srv/shop/current/code
EnvironmentFile=/srv/shop/current/env
Environment=STATE_DIRECTORY=/var/lib/shop
ExecStart=/srv/shop/current/venv/bin/gunicorn --workers 2 --umask 0 --bind unix:/run/plain/web.sock shop.wsgi
"""
PLAIN_SITE = """\
server {{
    listen {address}:8081;
    location / {{ proxy_pass http://unix:/run/plain/web.sock; }}
}}
"""


@pytest.fixture
def plain_service(deployed: Site) -> Iterator[str]:
    """The URL of the deployed app, run the textbook way beside ours: a service that binds its own socket."""
    host, unit, nginx = deployed.host, "/etc/systemd/system/plain.service", "/etc/nginx/sites-enabled/plain.conf"
    host.run(["tee", unit], input=PLAIN_SERVICE.encode())
    host.run(["tee", nginx], input=PLAIN_SITE.format(address=host.address).encode())
    host.run("systemctl daemon-reload && systemctl start plain && systemctl reload nginx")
    yield f"http://{host.address}:8081"
    host.run(f"systemctl stop plain; rm {unit} {nginx}; systemctl daemon-reload; systemctl reload nginx")


def test_a_plain_restart_does_lose_requests(deployed: Site, plain_service: str) -> None:
    """Negative control: the same app, proxy, host and clients see a plain service's restart lose what ours does not."""
    with deployed.under_load() as ours, Load(f"{plain_service}/work?ms=20") as plain:
        wait_until(lambda: plain.snapshot().succeeded > 10, "the plain service serves")
        before = plain.snapshot()
        deployed.host.run("systemctl restart shop-web@*.service")
        deployed.host.run("systemctl restart plain.service")
        wait_until(lambda: plain.snapshot().samples[-1].version == "1", "the plain service serves again")
    note(ours.stop(), "ours, restarted")
    note(plain.stop(), "plain service, restarted")
    assert before.failed == 0
    assert plain.stop().failed > 0


# After a handover


@dataclass(frozen=True)
class HandedOver:
    """A site after one deploy under load; ``before`` holds the processes of the release that served first."""

    site: Site
    old: str
    new: str
    before: frozenset[int]


@pytest.fixture(scope="module")
def handed_over(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> HandedOver:
    site = make_site(bookworm, tmp_path_factory.mktemp("handed-over") / "shop")
    site.wipe()
    site.configure(web='args = ["--access-logfile", "-"]')
    old = f"v{number(site.deploy())}"
    before = processes(site)
    with site.under_load(**CALM):
        site.project.change(version="2")
        new = f"v{number(site.deploy())}"
    return HandedOver(site, old, new, before)


def processes(site: Site) -> frozenset[int]:
    """The processes of the app's own user."""
    return frozenset(map(int, site.host.run("pgrep -u shop", check=False).stdout.split()))


def test_a_handover_leaves_one_release(handed_over: HandedOver) -> None:
    """Afterwards there are the units, the processes and the socket of the new release, and none of the old one."""
    site, old, new = handed_over.site, handed_over.old, handed_over.new
    names = [f"shop-web@{new}.service", f"shop-web@{new}.socket"]
    loaded = site.host.run("systemctl list-units --all --plain --no-legend 'shop-web@*'").stdout
    assert site.units() == names
    assert sorted(line.split()[0] for line in loaded.splitlines()) == names
    assert handed_over.before and not handed_over.before & processes(site)
    assert site.host.run("readlink /srv/shop/current").stdout.strip() == f"releases/{new}"
    assert site.host.run(f"ls /srv/shop/releases/{old}/run").stdout == ""
    assert site.serving == new


def test_the_health_check_reaches_a_candidate_before_any_client(handed_over: HandedOver) -> None:
    """In the new release's own access log the first requests are health checks; clients come after the switch."""
    site, unit = handed_over.site, f"shop-web@{handed_over.new}.service"
    run = site.host.run(f"systemctl show -p InvocationID --value {unit}").stdout.strip()
    log = site.host.run(f"journalctl -o cat _SYSTEMD_INVOCATION_ID={run}").stdout
    agents = [line.rsplit('"', 2)[1] for line in log.splitlines() if '"GET ' in line]
    first_client = agents.index("deployer-load")
    assert first_client > 1
    assert set(agents[:first_client]) == {"deployer-health"}


# Rollback


def test_a_rollback_goes_past_failures_and_further_back_each_time(site: Site) -> None:
    """From v3 (reloaded as it is) to v2's parts, then to v1's; an unknown or failed target is refused with a list."""
    site.configure(workers=1, **QUICK)
    first = number(site.deploy())
    for version in ("2", "3"):
        deploy(site, version)
    site.project.change(version="4", fault="import-error")
    failed = site.deploy(expect=5).event("finished")["release"]
    site.host.run("systemctl reload shop")
    with site.under_load(**CALM):
        assert rollback(site, "--to", "v987", expect=2).event("failed")["message"].count(f"v{first}")
        assert failed in rollback(site, "--to", failed, expect=2).event("failed")["message"]
        assert site.get()["version"] == "3"
        for version in ("2", "1"):
            rollback(site)
            assert site.get()["version"] == version
        rollback(site, expect=2)
        assert site.get()["version"] == "1"


def test_a_rollback_behind_a_migration_asks_first(site: Site) -> None:
    """It is refused with the file's name and leaves all as it is; ``--yes`` goes back, and the migration stays."""
    site.configure(workers=1, **QUICK)
    first = number(site.deploy())
    site.project.change(version="2", files={"catalog/migrations/0002_more.py": MIGRATION})
    site.deploy()
    with site.under_load(**CALM):
        refused = rollback(site, expect=2).event("failed")
        assert "catalog/migrations/0002_more.py" in refused["message"]
        assert f"--to v{first} --yes" in refused["next"]
        assert (site.serving, site.get()["version"]) == (f"v{first + 1}", "2")
        rollback(site, "--yes")
        assert (site.serving, site.get()["version"]) == (f"v{first + 2}", "1")


def test_a_rollback_brings_back_code_dependencies_environment_and_units(site: Site) -> None:
    """All four parts of a release change with a deploy, and all four are as before after a rollback."""
    site.configure(workers=1, web="unit = { Nice = 5 }", env='TEST_X = "one"', **QUICK)
    site.deploy()
    before = parts(site)
    requirements = (site.project.path / "requirements.txt").read_text()
    site.configure(workers=2, web="unit = { Nice = 7 }", env='TEST_X = "two"', **QUICK)
    site.project.change(version="2", files={"requirements.txt": requirements + "six\n"})
    site.deploy()
    assert before == Parts(version="1", six=False, variable="one", nice=5, workers=1)
    assert parts(site) == Parts(version="2", six=True, variable="two", nice=7, workers=2)
    rollback(site)
    assert parts(site) == before


@dataclass(frozen=True)
class Parts:
    """What tells one release of the test above from the other, as the running process has it."""

    version: str
    six: bool
    variable: str
    nice: int
    workers: int


def parts(site: Site) -> Parts:
    who, run = site.get("/whoami"), site.host.run
    return Parts(
        version=who["version"],
        six=run(f"cd {who['cwd']} && {who['prefix']}/bin/python -c 'import six'", check=False).returncode == 0,
        variable=site.get("/env?key=TEST_X")["value"],
        nice=int(run(f"ps -o ni= -p {who['pid']}").stdout),
        workers=len(run(f"pgrep -P {who['ppid']}").stdout.split()),
    )

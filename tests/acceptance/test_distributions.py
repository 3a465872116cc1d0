"""The oldest and the newest Debian that deployer knows: Python 3.9 and systemd 247; Python 3.13 and systemd 257."""

from __future__ import annotations

import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import up
from tests.support.background import PERIOD, make_background, often, worker
from tests.support.jobs import never_two_at_a_time, not_once
from tests.support.site import Site, make_site, wait_until
from tests.support.terminal import Terminal
from tests.support.tiny import make_tiny
from tests.support.traffic import change, note, strays

pytestmark = pytest.mark.acceptance

VERSIONS = {"bullseye": ("Python 3.9.", "systemd 247 "), "trixie": ("Python 3.13.", "systemd 257 ")}
IMPORT_ALL = """\
import glob, importlib, pkgutil, sys
sys.path[:0] = glob.glob("/usr/local/lib/deployer/*")
import deployer
for module in pkgutil.walk_packages(deployer.__path__, "deployer."):
    importlib.import_module(module.name)
    print(module.name)
"""


@pytest.fixture(scope="module", params=VERSIONS)
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host of that distribution, set up, on which version 1 serves. Each test leaves it like that."""
    with up(distribution=request.param) as host:
        site = make_site(host, tmp_path_factory.mktemp(request.param) / "shop")
        site.setup()
        site.deploy()
        yield site


def test_the_host_is_what_it_is_taken_for(serving: Site) -> None:
    """The image has the old, or new, Python and systemd that these tests are about; set-up there is idempotent."""
    python, systemd = VERSIONS[serving.host.distribution]
    told = serving.host.run("/usr/bin/python3 --version; systemctl --version").stdout
    assert told.startswith(python)
    assert systemd in told
    assert "no changes" in serving.setup().err


def test_what_was_built_is_compiled(serving: Site) -> None:
    """Environment and code, by the Python that runs them: a service cannot write into either."""
    serving.host.run("ls /srv/shop/current/venv/lib/python3.*/site-packages/gunicorn/__pycache__/config.*.pyc")
    serving.host.run("ls /srv/shop/current/code/shop/__pycache__/*.pyc")


def test_the_host_program_imports(serving: Site) -> None:
    """Every module of it, in the host's own Python: nothing in them is newer than that."""
    names = serving.host.run(["/usr/bin/python3", "-I", "-W", "error", "-c", IMPORT_ALL]).stdout.split()
    assert {"deployer.host.session.session", "deployer.host.setup.provision", "deployer.host.build.code.unpack"} <= set(
        names
    )


def test_deploy_reload_rollback_and_a_broken_release(serving: Site) -> None:
    """Each of them under overload, with eight clients for every worker: no request is lost."""
    site, first = serving, serving.serving
    with site.under_load(clients=16, pause=0.02) as load:
        site.project.change(version="2")
        changes = [change(site.deploy(), "2"), change(site.expect(0, "reload", "--json"), "2")]
        site.project.change(version="3", fault="import-error")
        refused = site.deploy(expect=5)
        changes.append(change(site.expect(0, "rollback", "--json", "--to", first), "1"))
    note(load.stop(), f"{site.host.distribution}: deploy, reload, broken release, rollback")
    assert "a_module_that_nobody_installed" in "\n".join(refused.event("failed")["logs"])
    assert strays(load.stop(), "1", changes) == []
    assert site.units() == [f"shop-web@{site.serving}.{kind}" for kind in ("service", "socket")]


def test_systemd_reads_every_line_of_the_units(serving: Site) -> None:
    """It would only log and carry on without a line it does not know; the exposure is as low as elsewhere."""
    unit = f"shop-web@{serving.serving}.service"
    verified = serving.host.run(f"systemd-analyze verify --man=no {unit} shop.service")
    ours = [line for line in (verified.stdout + verified.stderr).splitlines() if "shop" in line]
    assert ours == []
    last = serving.host.run(f"systemd-analyze security --no-pager {unit}").stdout.strip().splitlines()[-1]
    print(serving.host.distribution, last)
    assert float(last.rpartition(": ")[2].split()[0]) <= 1.5


def test_a_command_lives_as_long_as_its_session(serving: Site) -> None:
    """Its status is its own; killed with its session it leaves nothing."""
    host, project = serving.host, serving.project.path
    for script, status in (("exit 42", 42), ("kill -TERM $$", 143), ("python -c 'import django'", 0)):
        done = subprocess.run([*serving.argv("run"), "--", "sh", "-c", script], cwd=project, timeout=60, check=False)
        assert done.returncode == status, script
    words = [*serving.argv("run"), "--", "sh", "-c", "echo begun; sleep 600"]
    with subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            host.run("pkill -KILL -f 'deployer-host session shop'", check=False)
            assert process.wait(60) == 3
        finally:
            process.kill()
    listed = "systemctl list-units --all --plain --no-legend 'deployer-shop-run*'"
    wait_until(lambda: not host.run(listed).stdout, "the command has ended")


def test_a_command_has_a_terminal(serving: Site) -> None:
    """Its own, of the right size, with job control: without any of systemd's settings for terminals."""
    made = Terminal([*serving.argv("shell")], serving.project.path)
    termios.tcsetwinsize(made.descriptor, (24, 80))
    made.wait_for(b" $ ")
    made.type("sh -c 'stty size; echo be\"\"gun; exec sleep 1000'\r")  # one job, and what it prints is not its text
    made.wait_for(b"24 80")
    made.wait_for(b"begun")
    made.type("\x1a")
    made.wait_for(b"Stopped")
    made.type("kill -9 %1; python -c 'import getpass; print(len(getpass.getpass()))'\r")
    made.wait_for(b"Password: ")
    made.type("s3cret\r")
    made.wait_for(b"\r\n6\r\n")  # it drops what is typed ahead
    made.type("exit 4\r")
    assert made.end() == 4
    assert "s3cret" not in made.text


def test_systemctl_and_a_reboot(serving: Site) -> None:
    """A restart of the handle stalls and loses nothing, ``reload`` makes a release, and a reboot brings it back."""
    before = int(serving.serving[1:])
    with serving.under_load() as load:
        serving.host.run("systemctl restart shop")
        serving.host.run("systemctl reload shop")
    note(load.stop(), f"{serving.host.distribution}: systemctl restart and reload")
    serving.host.power_off()
    serving.host.boot()
    assert serving.serving == f"v{before + 1}"


def test_workers_and_timers_change_hands(serving: Site, tmp_path: Path) -> None:
    """No job and no run is lost or doubled; what must not overlap does not; no systemd has a word against the units."""
    site = make_background(serving.host, tmp_path / "crew")
    site.jobs.clean()
    asked = (worker(count=2), worker("lonely", "idles", overlap=False), often())
    site.ask_for(*asked)
    releases = [site.release()]
    with site.under_load(), site.jobs.feeding():
        for command in ("deploy", "rollback"):
            site.jobs.until(lambda facts: any(run["release"] == releases[-1] for run in facts.runs), "the timer runs")
            site.project.change(version=command)
            releases.append(site.expect(0, command, "--json").event("finished")["release"])
        site.ask_for(*asked, worker("bad", "crashes"), watch=5)
        site.deploy(expect=6)
        site.comes_to(releases[-1], "worker", "worker.2", "lonely", timers=["tick"])
    facts = site.jobs.facts()
    assert not_once(facts.runs_of("tick"), PERIOD) == []
    never_two_at_a_time([one for one in facts.lives if one["name"] == "lonely"])
    verified = site.host.run("systemd-analyze verify --man=no /etc/systemd/system/crew-*", check=False)
    assert [line for line in (verified.stdout + verified.stderr).splitlines() if "crew" in line] == []
    site.wipe()


VALKEY = "printf 'Package: redis*\\nPin: release *\\nPin-Priority: -1\\n' > /etc/apt/preferences.d/no-redis"
SERVICES = '[host]\npackages = ["gettext-base"]\n[host.postgresql]\n[host.redis]\n'
ASK = """
import os, socket
import psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    print(*connection.execute("select current_user, current_database()").fetchone())
with socket.socket(socket.AF_UNIX) as client:
    client.connect(os.environ["REDIS_URL"].removeprefix("unix://").removesuffix("?db=0"))
    client.sendall(b"PING\\r\\n")
    print(client.recv(100).decode().strip())
"""


def test_data_services_of_this_distribution(serving: Site) -> None:
    """Its own PostgreSQL, and Redis, or Valkey where there is none; the app reaches both, confined as it is."""
    if serving.host.distribution == "trixie":
        serving.host.run(VALKEY)
    serving.configure(release=SERVICES)
    requirements = (serving.project.path / "requirements.txt").read_text()
    serving.project.change(fault="", files={"requirements.txt": f"{requirements}\npsycopg[binary]\n"})
    server = "valkey" if serving.host.distribution == "trixie" else "redis"
    assert f"installed {server}-server" in serving.setup().err
    serving.deploy()
    assert serving.host.run("ss -Hltn 'sport = :6379'").stdout == ""  # the one for everybody does not run
    done = subprocess.run(
        [*serving.argv("run"), "--", "python", "-c", ASK], cwd=serving.project.path, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["shop shop", "+PONG"], done.stderr
    serving.host.run("systemctl start deployer-dump@shop")
    assert "unchanged" in serving.setup().err
    serving.expect(0, "doctor")


def test_uploads_are_served_by_an_older_nginx(serving: Site, tmp_path: Path) -> None:
    """Shown to it by a mount that follows no link, which an older systemd does not know; and again after a reload."""
    if serving.host.distribution != "bullseye":
        pytest.skip("newer ones are tried elsewhere")
    site = make_tiny(serving.host, tmp_path / "mini")
    site.configure(proxy='media = { "/media/" = "media" }')
    site.expect(0, "setup", user="root")
    site.expect(0, "deploy")
    site.uploads_are_served()
    site.expect(0, "reload")
    site.uploads_are_served()

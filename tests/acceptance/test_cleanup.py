"""Behind a deploy old trees go, and the code of a large project is cloned for the next one: nobody waits for either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost
from tests.support.site import wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

UNIT, CLONING = "deployer-tidy.cleanup.service", "deployer-tidy.clone.service"
CLONES = "ls -Ai /srv/tidy/trees | grep '[.]clone$'"
LARGE = {f"many/{number % 20}/m{number}.py": f"number = {number}\n" for number in range(2100)}
LISTED = "ls -A /srv/tidy/trees | grep -c '^[.].*[.]gone$'"
SLOW = "/etc/systemd/system/deployer-tidy.cleanup.service.d"
"""Settings of the admin's for the unit: it takes its time."""


@pytest.fixture(scope="module")
def tidy_host(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> SandboxHost:
    make_tiny(bookworm, tmp_path_factory.mktemp("tidy") / "tidy", app="tidy").expect(0, "setup", user="root")
    return bookworm


@pytest.fixture
def site(tidy_host: SandboxHost, tmp_path: Path) -> Iterator[TinySite]:
    """Only what serves, and what a rollback goes to, is kept."""
    made = make_tiny(tidy_host, tmp_path / "tidy", app="tidy")
    made.wipe()
    made.configure(release="keep = 2")
    yield made
    made.host.run(f"rm -rf {SLOW}; systemctl daemon-reload; systemctl stop {UNIT}", check=False)
    made.wipe()


def deploys(site: TinySite, count: int) -> None:
    for number in range(count):
        site.project.change(files={"new.txt": f"{number}"})
        site.expect(0, "deploy")


def gone(site: TinySite) -> int:
    return int(site.host.run(LISTED, check=False).stdout)


def test_nobody_waits_for_what_is_removed(site: TinySite) -> None:
    """While the removal of one tree takes minutes, deploys, reloads and rollbacks go on, and nothing is wrong."""
    site.host.run(f"mkdir -p {SLOW}")
    site.host.run(f"cat > {SLOW}/slow.conf", input=b"[Service]\nExecStart=\nExecStart=/bin/sleep 600\n")
    deploys(site, 4)
    assert gone(site) >= 1
    assert site.host.run(f"systemctl show -p ActiveState --value {UNIT}").stdout.strip() == "active"
    site.expect(0, "reload")
    site.expect(0, "rollback")
    assert "no problems found" in site.expect(0, "doctor").out
    site.host.run(f"rm -rf {SLOW}; systemctl daemon-reload; systemctl stop {UNIT}")
    deploys(site, 1)  # which finds what is left
    wait_until(lambda: not gone(site), "all of it goes")


def test_a_power_cut_leaves_nothing_for_good(site: TinySite) -> None:
    """What was renamed away is removed by the next deploy."""
    site.host.run("mkdir -p /srv/tidy/trees/.x.gone/inner && touch /srv/tidy/trees/.x.gone/inner/file")
    deploys(site, 1)
    wait_until(lambda: not gone(site), "it goes")
    assert site.get("/healthz")


def clones(site: TinySite) -> list[str]:
    """The inodes of those that lie ready."""
    return [line.split()[0] for line in site.host.run(CLONES, check=False).stdout.splitlines()]


def code_of(site: TinySite) -> str:
    """The inode of the code that serves."""
    return site.host.run("stat -Lc %i /srv/tidy/current/code").stdout.strip()


def test_the_code_of_a_large_project_lies_ready(site: TinySite) -> None:
    """The next deploy replaces in the clone what has changed; a rollback has another one made."""
    site.project.change(files=LARGE)
    deploys(site, 1)
    for _ in range(2):
        wait_until(lambda: clones(site), "a clone is made")
        (ready,) = clones(site)
        site.project.change(files={"many/1/m1.py": f"number = {ready}\n"})
        deploys(site, 1)
        assert code_of(site) == ready
        assert site.host.run("cat /srv/tidy/current/code/many/1/m1.py").stdout == f"number = {ready}\n"
        assert site.host.run("find /srv/tidy/current/code/many -name '*.pyc' | wc -l").stdout.strip() == "2100"
    wait_until(lambda: clones(site), "a clone is made")
    (before,) = clones(site)
    site.expect(0, "rollback")
    wait_until(lambda: clones(site) not in ([], [before]), "another clone is made")
    assert "no problems found" in site.expect(0, "doctor").out
    journal = site.host.run(f"journalctl -o cat -u {CLONING}").stdout
    assert "Traceback" not in journal and "Failed" not in journal, journal


def test_a_deploy_does_not_wait_for_a_clone_that_is_being_made(site: TinySite) -> None:
    """Its unit is stopped, and what it has made goes; ``fab doctor`` finds nothing wrong meanwhile."""
    site.project.change(files=LARGE)
    deploys(site, 1)
    wait_until(lambda: clones(site), "a clone is made")
    hold = "import fcntl, os, time; fcntl.flock(os.open('{}', os.O_RDONLY), fcntl.LOCK_SH); time.sleep(600)"
    (name,) = site.host.run("ls -A /srv/tidy/trees | grep '[.]clone$'").stdout.split()
    draft = f"/srv/tidy/trees/{name}.tmp"
    site.host.run(f"mv /srv/tidy/trees/{name} {draft}")
    site.host.run(["systemd-run", "--quiet", "--collect", f"--unit={CLONING}", "python3", "-c", hold.format(draft)])
    wait_until(lambda: site.host.run(f"! flock -n {draft} true", check=False).returncode == 0, "it holds its lock")
    assert "no problems found" in site.expect(0, "doctor").out
    site.project.change(files={"many/1/m1.py": "number = 0\n"})
    deploys(site, 1)
    wait_until(lambda: clones(site) and not gone(site), "the next one is made, and the draft is removed")
    assert not site.host.run(f"ls -d {draft}", check=False).stdout


def test_what_dies_while_it_clones_leaves_nothing_for_good(site: TinySite) -> None:
    """Its draft is removed by the next deploy."""
    site.host.run("mkdir -p /srv/tidy/trees/.x.clone.tmp/inner && touch /srv/tidy/trees/.x.clone.tmp/inner/file")
    deploys(site, 1)
    assert not site.host.run("ls -d /srv/tidy/trees/.x.clone.tmp", check=False).stdout

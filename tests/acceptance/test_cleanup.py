"""Old trees go behind a deploy: it does not wait for it, and neither does the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost
from tests.support.site import wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

UNIT = "deployer-tidy.cleanup.service"
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

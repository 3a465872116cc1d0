"""The same on every disk that a server has: what stays is shared, builds write to an overlay, a clone lies ready; and
what a disk says that can hold no more files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.plaindisk import give_plain_disk
from tests.support.site import wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

FILES = {f"many/{number % 20}/m{number}.py": f"number = {number}\n" for number in range(2100)}
CODE = "/srv/disks/current/code"
CLONE = "ls -Ai /srv/disks/trees | grep '[.]clone$'"
FEW = ["mkfs.ext4", "-q", "-N", "30000"]
"""About as many inodes again as a host's own files take."""
TAKE_ALL = """
import errno, itertools, os
os.makedirs("/taken", exist_ok=True)
try:
    for number in itertools.count():
        open(f"/taken/{number}", "x").close()
except OSError as error:
    assert error.errno == errno.ENOSPC, error
for number in range(LEFT):
    os.unlink(f"/taken/{number}")
"""


LINK_ALL = """
import errno, itertools, os
os.makedirs("/taken")
try:
    for number in itertools.count():
        os.link("PATH", f"/taken/{number}")
except OSError as error:
    assert error.errno == errno.EMLINK, error
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxHost]:
    """A host whose disk has a file system of that kind."""
    with up(distribution="bookworm") as made:
        give_plain_disk(made, request.param)
        make_tiny(made, tmp_path_factory.mktemp("disks") / "disks", app="disks").expect(0, "setup", user="root")
        yield made


@pytest.fixture
def site(host: SandboxHost, tmp_path: Path) -> Iterator[TinySite]:
    made = make_tiny(host, tmp_path / "disks", app="disks")
    made.wipe()
    yield made
    host.run("rm -rf /taken")
    made.wipe()


def inode(site: TinySite, name: str = "") -> str:
    return site.host.run(f"stat -Lc %i {CODE}/{name}").stdout.strip()


def clone(site: TinySite) -> str:
    """The inode of the clone that lies ready."""
    wait_until(lambda: site.host.run(CLONE, check=False).stdout, "a clone is made")
    return site.host.run(CLONE).stdout.split()[0]


@pytest.mark.parametrize(
    "host", [["mkfs.xfs", "-q"], ["mkfs.btrfs", "-q"]], ids=["xfs", "btrfs"], indirect=True, scope="module"
)
def test_what_stays_is_shared(site: TinySite) -> None:
    """From the clone, below a build that changes a file in place; and a rollback finds what it was."""
    site.configure(build=["cp many/1/m1.py seen.txt; echo more >> many/2/m2.py; rm many/3/m3.py"])
    site.project.change(files=FILES)
    site.expect(0, "deploy")
    kept, ready = inode(site, "many/4/m4.py"), clone(site)
    site.project.change(files={"many/1/m1.py": "number = 0\n"})
    site.expect(0, "deploy")
    assert inode(site) == ready
    assert inode(site, "many/4/m4.py") == kept
    assert site.host.run(
        f"cat {CODE}/seen.txt; tail -1 {CODE}/many/2/m2.py; ls {CODE}/many/3/m3.py || true"
    ).stdout == ("number = 0\nmore\n")
    assert site.host.run("grep -c /srv/disks /proc/mounts", check=False).stdout.strip() == "0"
    site.expect(0, "rollback")
    assert site.host.run(f"cat {CODE}/seen.txt").stdout == "number = 1\n"
    site.expect(0, "reload")
    clone(site)
    assert "no problems found" in site.expect(0, "doctor").out


@pytest.mark.parametrize("host", [FEW], ids=["few inodes"], indirect=True, scope="module")
def test_a_disk_that_can_hold_no_more_files(site: TinySite) -> None:
    """It is told as what it is, what serves goes on, and the next deploy goes well once there is room."""
    site.expect(0, "deploy")
    serving = site.serving
    for left, files in ((0, {"new.txt": "1"}), (300, FILES)):
        site.host.run(["python3", "-c", TAKE_ALL.replace("LEFT", str(left))])
        site.project.change(files=files)
        refused = site.fab("deploy")
        assert refused.exit != 0 and "inodes" in refused.text and "Traceback" not in refused.text, refused.text
        assert site.serving == serving and site.get("/healthz")
        assert "can hold" in site.fab("doctor").text
        site.host.run("rm -rf /taken")
    wait_until(lambda: site.fab("deploy").exit == 0, "the next one goes well")
    assert "no problems found" in site.expect(0, "doctor").out


@pytest.mark.parametrize("host", [FEW], ids=["ext4"], indirect=True, scope="module")
def test_a_file_that_can_have_no_more_names(site: TinySite) -> None:
    """ext4 gives a file 65,000. It becomes a copy, all others are shared as ever, and there is a clone again."""
    site.project.change(files=FILES)
    site.expect(0, "deploy")
    clone(site)
    full, other = inode(site, "many/4/m4.py"), inode(site, "many/5/m5.py")
    site.host.run(["python3", "-c", LINK_ALL.replace("PATH", f"{CODE}/many/4/m4.py")], timeout=120)
    for number in range(2):  # the first one takes the clone, which has one of the names
        site.project.change(files={"many/1/m1.py": f"number = {number}0\n"})
        site.expect(0, "deploy")
        assert inode(site, "many/5/m5.py") == other
    assert inode(site, "many/4/m4.py") != full
    assert site.host.run(f"cat {CODE}/many/4/m4.py").stdout == FILES["many/4/m4.py"]
    clone(site)
    site.expect(0, "rollback")
    assert inode(site, "many/4/m4.py") == full
    assert "no problems found" in site.expect(0, "doctor").out

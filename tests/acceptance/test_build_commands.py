"""Build commands change what they like, and nothing of the tree before: on a disk that can be part of an overlay, and
on one that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.failures import running
from tests.support.plaindisk import give_plain_disk
from tests.support.site import wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

CHANGES = (
    "echo more >> kept.txt; rm gone.txt; rm -r old",
    "mkdir -p made/deep; echo 1 > made/deep/1.txt; ln -s 1.txt made/l",
)
KEEPER = b"""
import glob, time
kept = {}
while True:
    for name in glob.glob("/srv/built/trees/*/kept.txt"):
        try:
            kept.setdefault(name, open(name, "a"))
        except OSError:
            pass
    time.sleep(0.05)
"""
"""Opens what it may write to, and keeps it open."""
FILES = {"kept.txt": "kept\n", "gone.txt": "gone\n", "old/a.txt": "a\n", "same/mod.py": "x = 1\n", "same/b.txt": "b\n"}
CODE = "/srv/built/current/code"


@pytest.fixture(scope="module", params=[True, False], ids=["an overlay", "a copy"])
def overlays(request: pytest.FixtureRequest) -> bool:
    """Whether the host's disk can be a part of an overlay."""
    return bool(request.param)


@pytest.fixture(scope="module")
def host(overlays: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxHost]:
    """A host with a plain disk; the disk of the other one is an overlay itself."""
    with up(distribution="bookworm") as made:
        if overlays:
            give_plain_disk(made)
        make_tiny(made, tmp_path_factory.mktemp("built") / "built", app="built").expect(0, "setup", user="root")
        yield made


@pytest.fixture
def site(host: SandboxHost, tmp_path: Path) -> Iterator[TinySite]:
    made = make_tiny(host, tmp_path / "built", app="built")
    made.wipe()
    made.project.change(files=FILES)
    yield made
    made.wipe()


def built(site: TinySite, *commands: str) -> None:
    site.configure(build=commands)


def inode(site: TinySite, name: str) -> str:
    return site.host.run(f"stat -c %i {CODE}/{name}").stdout.strip()


def nothing_is_left(site: TinySite) -> None:
    assert site.host.run("grep -c /srv/built /proc/mounts", check=False).stdout.strip() == "0"
    assert site.host.run("ls -A /srv/built/trees | grep '^[.]'", check=False).stdout == ""


def test_a_build_changes_what_it_likes(site: TinySite, overlays: bool) -> None:
    """In place, too; what it leaves alone is one file in both trees, where the host can have that."""
    built(site, *CHANGES)
    site.expect(0, "deploy")
    tree = site.host.run(f"readlink -f {CODE}").stdout.strip()
    sums = f"cd {tree} && find . -type f | sort | xargs sha256sum"
    before, mod = site.host.run(sums).stdout, inode(site, "same/mod.py")
    there = "for name in kept.txt gone.txt old made/deep/1.txt; do test -e $name && echo $name; done"
    assert site.host.run(f"cd {CODE}; {there}", check=False).stdout.split() == ["kept.txt", "made/deep/1.txt"]
    site.project.change(files={"new.txt": "new\n"})
    site.expect(0, "deploy")
    assert site.host.run(f"cat {CODE}/kept.txt").stdout == "kept\nmore\n"
    assert site.host.run(f"readlink {CODE}/made/l").stdout == "1.txt\n"
    assert (inode(site, "same/mod.py") == mod) is overlays
    assert site.host.run(f"ls {CODE}/same/__pycache__").stdout.startswith("mod.cpython-")
    assert site.host.run(sums).stdout == before
    owners = site.host.run(f"find {CODE}/ ! -user root -o -perm /022 ! -type l").stdout
    assert owners == ""
    site.expect(0, "rollback")
    assert "no problems found" in site.expect(0, "doctor").out
    nothing_is_left(site)


def test_a_shipped_directory_gets_another_name(site: TinySite) -> None:
    """With all that is in it."""
    built(site, "mv old new && python3 -c \"import os; os.rename('same', 'other')\"")
    site.expect(0, "deploy")
    assert site.host.run(f"cat {CODE}/new/a.txt {CODE}/other/b.txt").stdout == "a\nb\n"
    assert site.host.run(f"ls {CODE}/same", check=False).returncode != 0
    nothing_is_left(site)


def test_a_build_writes_where_the_app_does(site: TinySite) -> None:
    """What it leaves in a shared directory is what that begins with; a link is in its place in the code."""
    site.configure(
        build=["mkdir media/deep; echo 1 > media/one.txt; echo 2 > media/deep/two.txt; echo 'x = 1' > media/mod.py"],
        release='shared = {"media/" = "media"}',
    )
    site.project.change(files={"media/shipped.txt": "shipped\n", "media-of-mine.txt": "mine\n"})
    for number in range(2):
        site.project.change(files={"new.txt": f"{number}\n"})
        site.expect(0, "deploy")
        assert site.host.run(
            f"cd {CODE}; cat media/shipped.txt media/one.txt media/deep/two.txt media-of-mine.txt"
        ).stdout == ("shipped\n1\n2\nmine\n")
        assert site.host.run(f"readlink {CODE}/media").stdout.startswith("/var/lib/built/")
    assert "no problems found" in site.expect(0, "doctor").out
    nothing_is_left(site)


CHANGED = {
    "kept.txt": "echo more >> kept.txt",
    "gone.txt": "rm gone.txt",
    "old/a.txt": "rm -r old",
    "same/b.txt": "mv same other",
}


@pytest.mark.parametrize("path", [*CHANGED, "kept.txt, and the command fails for that"])
def test_what_was_changed_on_the_host_is_no_basis_for_a_build(site: TinySite, path: str) -> None:
    """Even when a command replaces it, or all that holds it: nobody could tell later. The next deploy brings it."""
    site.expect(0, "deploy")
    name, _, fails = path.partition(",")
    shipped = FILES[name]
    site.host.run(f"echo admin > {CODE}/{name}")
    built(site, f"grep -qx '{shipped.strip()}' {name} || exit 7" if fails else f"cp {name} seen.txt; {CHANGED[name]}")
    serving = site.serving
    refused = site.expect(5, "deploy").text
    assert f"{name} is no longer what was shipped" in refused, refused
    assert site.serving == serving
    nothing_is_left(site)
    site.expect(0, "deploy")
    if not fails:
        assert site.host.run(f"cat {CODE}/seen.txt").stdout == shipped
    nothing_is_left(site)


def test_a_failed_build_leaves_nothing(site: TinySite) -> None:
    """The next one begins with what was shipped."""
    site.expect(0, "deploy")
    built(site, "echo half >> kept.txt; rm same/mod.py; false")
    assert "failed" in site.expect(5, "deploy").text
    nothing_is_left(site)
    built(site, "true")
    site.expect(0, "deploy")
    assert site.host.run(f"cat {CODE}/kept.txt {CODE}/same/mod.py").stdout == "kept\nx = 1\n"


def test_a_build_whose_job_is_killed_leaves_nothing(site: TinySite) -> None:
    """What served goes on, and the host clears up by itself."""
    site.expect(0, "deploy")
    built(site, "echo half >> kept.txt; sleep 600")
    with running(site, "deploy", "--json") as command:
        wait_until(lambda: site.host.run("pgrep -f 'sleep 60[0]'", check=False).returncode == 0, "the build runs")
        site.host.run("systemctl kill -s KILL deployer-built.service")
        assert command.end().exit != 0
    assert site.get("/healthz")
    wait_until(lambda: "no problems found" in site.fab("doctor").text, "the host has recovered")
    nothing_is_left(site)
    built(site, "true")
    site.expect(0, "deploy")
    assert site.host.run(f"cat {CODE}/kept.txt").stdout == "kept\n"


def test_whoever_keeps_a_file_open_is_refused(site: TinySite, overlays: bool) -> None:
    """A process of the deploy user's, which is not the build's, could write to what is to be sealed."""
    site.expect(0, "deploy")
    built(site, "sleep 3")
    site.host.run("cat > /tmp/keeper.py", input=KEEPER)
    site.host.run("systemd-run --quiet --unit=keeper --uid=deploy-built python3 /tmp/keeper.py")
    try:
        ended = site.fab("deploy")
        assert ended.exit == 5
        assert "what was built is refused" in ended.text
        assert ("end that process" if overlays else "correct the build command") in ended.text
        assert not overlays or "(python3)" in ended.text
    finally:
        site.host.run("systemctl stop keeper.service", check=False)
    site.expect(0, "deploy")
    nothing_is_left(site)

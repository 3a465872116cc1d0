"""Laptops that vanish, laptops that meet, hosts that are too small: the host ends whole, and says what happened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.failures import Shop, running
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance
BUILD = "python manage.py collectstatic --noinput"
GATE = "/run/the-build-may-go-on"
INCOMING = "/var/lib/deployer/shop/incoming"
BLOB = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(bookworm, tmp_path_factory.mktemp("host") / "shop")
    shop.site.wipe()
    yield shop
    shop.site.wipe()


@pytest.fixture
def shop(_shop: Shop) -> Iterator[Shop]:
    _shop.host.run(["rm", "-f", GATE])
    yield _shop.ready()
    _shop.host.run(["touch", GATE])


def gated(shop: Shop) -> None:
    """Let the build wait until GATE exists."""
    shop.edit(BUILD, f"until test -e {GATE}; do sleep 0.1; done")


@pytest.mark.cause("no-memory-for-two")
def test_no_memory_for_two_generations(shop: Shop) -> None:
    """Told before anything starts, with all ways out named."""
    shop.configure(web='memory = "900G"')
    ended = shop.refuses("not memory enough for two generations", phase="start", next="overlap = false")
    unit = f"shop-web@{ended.event('finished')['release']}.service"
    assert shop.host.run(["journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit]).stdout == ""
    shop.recovers()


def test_one_generation_at_a_time(shop: Shop) -> None:
    """With overlap = false requests wait while one stops and the other starts; none is refused, even when it fails."""
    shop.configure(web="overlap = false")
    shop.project.change(version="2")
    with shop.site.under_load(clients=4):
        good = shop.site.deploy().event("finished")["serving"]
        shop.project.change(fault="import-error")
        bad = shop.site.deploy(expect=6)
    assert "the process ended by itself" in bad.event("failed")["message"]
    assert bad.event("failed")["state"] == f"{good} serves again; {bad.event('finished')['release']} is stopped"
    assert (shop.site.serving, shop.site.get()["version"]) == (good, "2")
    assert len(shop.site.units()) == 2
    shop.recovers()


def test_two_deploys_at_once(shop: Shop) -> None:
    """The second is sent away, told who deploys, since when and at which phase; the first takes no notice."""
    gated(shop)
    with shop.site.under_load(clients=2), running(shop.site, "deploy", "--json") as first:
        first.until("phase.started", phase="build")
        second = shop.site.deploy(expect=4)
        shop.host.run(["touch", GATE])
        ended = first.end()
    failed = second.event("failed")
    assert re.fullmatch(r"busy: a deploy by \S+@\S+ runs since \d\d:\d\d:\d\d.*, at build", failed["message"])
    assert failed["state"] == "nothing was touched"
    assert failed["next"].startswith("fab attach")
    assert ended.exit == 0
    assert shop.site.serving == ended.event("finished")["release"]


def test_a_laptop_that_vanishes_after_the_upload(shop: Shop) -> None:
    """The host finishes by itself, and tells all of it to whoever attaches."""
    gated(shop)
    with shop.site.under_load(clients=2):
        with running(shop.site, "deploy", "--json") as fab:
            release = fab.until("phase.started", phase="build")["release"]
            fab.kill()
        shop.host.run(["touch", GATE])
        wait_until(lambda: shop.site.serving == release, "the host finishes by itself")
        attached = shop.site.expect(0, "attach", "--json")
    assert attached.event("phase.started", phase="build")["release"] == release
    assert attached.event("finished")["serving"] == release


def interrupt(shop: Shop) -> int:
    """Have ``fab deploy`` killed in the middle of its upload; the number of bytes that have arrived."""
    (shop.project.path / "blob.bin").write_bytes(os.urandom(BLOB))
    shop.project.commit("a large file")
    with running(shop.site, "deploy", "--json") as fab:
        total = fab.until("progress", doing="sending")["total"]
        wait_until(lambda: arrived(shop) > 0, "something has arrived")
        fab.kill()
    wait_until(lambda: shop.host.run("pgrep -f '[s]ession shop'", check=False).returncode == 1, "the session ends")
    assert 0 < arrived(shop) < total
    return arrived(shop)


def arrived(shop: Shop) -> int:
    return int(shop.host.run(f"cat {INCOMING}/*.part 2>/dev/null | wc -c").stdout)


def test_an_interrupted_upload_goes_on_where_it_stopped(shop: Shop) -> None:
    """What has arrived is not sent again, and nothing of it stays behind."""
    with shop.site.under_load(clients=2):
        there = interrupt(shop)
        ended = shop.site.deploy("--no-migrate")
    sent = [event["done"] for event in ended.events if event.get("doing") == "sending"]
    assert there < sent[0] < there + 256 * 1024
    assert sent[-1] == ended.event("progress")["total"] > BLOB
    size = shop.host.run("stat -c %s /srv/shop/current/code/blob.bin").stdout
    assert int(size) == BLOB
    assert shop.host.run(["ls", INCOMING]).stdout == ""


def test_an_upload_that_was_damaged_is_found_by_its_digest(shop: Shop) -> None:
    """Bytes that changed on the host's disk meanwhile: refused, thrown away, and sent afresh by the next deploy."""
    with shop.site.under_load(clients=2):
        interrupt(shop)
        shop.host.run(f"printf damaged | dd of=$(echo {INCOMING}/*.part) bs=1 seek=10000 conv=notrunc status=none")
        failed = shop.site.deploy(expect=5).event("failed")
        afresh = shop.site.deploy("--no-migrate")
    assert failed["message"] == "the upload was damaged on the way: its digest differs"
    assert failed["state"] == "nothing was touched"
    assert next(event for event in afresh.events if event.get("doing") == "sending")["done"] < 256 * 1024


def test_failed_releases_do_not_use_up_what_is_kept(shop: Shop) -> None:
    """keep counts good releases: bad ones push none out and leave only their record; good ones do, content and all."""
    shop.edit("[release]", "[release]\nkeep = 2")
    kept = [shop.site.serving]
    for version in ("2", "3"):
        shop.project.change(version=version)
        kept.append(shop.site.deploy("--no-migrate").event("finished")["release"])
    trees = content(shop)
    assert len(trees) == 2
    shop.edit(BUILD, "false")
    bad = [shop.site.deploy(expect=5).event("finished")["release"] for _ in range(2)]
    assert content(shop) == trees
    assert listing(shop, bad[0]) == ["release.json"]
    assert "venv" in listing(shop, kept[1])
    assert listing(shop, kept[0]) == []
    back = shop.site.fab("rollback", "--json", "--to", kept[1])
    assert (back.exit, shop.site.get()["version"]) == (0, "2")
    shop.recovers()
    assert len(content(shop)) <= 3


def content(shop: Shop) -> list[str]:
    return str(shop.host.run("cd /srv/shop/trees && ls -d */").stdout).split()


def listing(shop: Shop, release: str) -> list[str]:
    return str(shop.host.run(["ls", f"/srv/shop/releases/{release}"], check=False).stdout).split()

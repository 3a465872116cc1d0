"""A disk that fills at each step of a deploy: it says where and how much is missing, and takes nothing down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.failures import Shop

pytestmark = pytest.mark.acceptance
BUILD = 'build = ["python manage.py collectstatic --noinput"]'
MOUNTS = {"shop": "/srv/shop", "records": "/var/lib/deployer"}
SIZE, BLOB = 400, 24
"""Megabytes: of the file system, and of a file that every release has."""


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop on a small file system, which holds its code, environments, records and uploads alike."""
    shop = Shop(bookworm, tmp_path_factory.mktemp("disk") / "shop")
    shop.site.wipe()
    shop.host.small_filesystem("/srv/small", SIZE)
    for name, path in MOUNTS.items():
        shop.host.run(f"mkdir /srv/small/{name} && mount --bind /srv/small/{name} {path}")
    try:
        shop.site.setup()
        (shop.project.path / "blob.bin").write_bytes(os.urandom(BLOB << 20))
        shop.project.commit("a large file")
        shop.keep()
        yield shop
    finally:
        shop.site.wipe()
        shop.host.run(["umount", "-l", *MOUNTS.values(), "/srv/small"])


@pytest.fixture
def shop(_shop: Shop) -> Shop:
    make_room(_shop)
    return _shop.ready()


def leave(shop: Shop, megabytes: int) -> None:
    """Fill the disk but for so much."""
    free = int(shop.host.run("df --output=avail -k /srv/shop | tail -1").stdout)
    shop.host.run(["fallocate", "-l", f"{free - megabytes * 1024}K", "/srv/small/filler"])


def make_room(shop: Shop) -> None:
    shop.host.run(["rm", "-f", "/srv/small/filler"])


def test_a_first_release_that_does_not_fit(_shop: Shop) -> None:
    """Where nothing served before, nothing serves afterwards: no link, no unit; and with more room it gets through."""
    leave(_shop, 2 * BLOB + 2)
    failed = _shop.site.deploy(expect=5).event("failed")
    assert failed["message"].startswith("the disk is full: installing the dependencies needs more than")
    assert re.fullmatch(r"nothing serves yet; v\d+ never got a request", failed["state"])
    assert _shop.host.run(["ls", "/srv/shop", "/srv/shop/venvs"]).stdout.split("\n\n")[1] == "/srv/shop/venvs:\n"
    assert not _shop.host.run(["find", "/srv/shop", "-name", "current"]).stdout
    assert _shop.site.units() == []
    make_room(_shop)
    _shop.recovers()


def test_code_larger_than_the_disk(shop: Shop) -> None:
    """The laptop asks for the room first: nothing is sent."""
    leave(shop, 10)
    (shop.project.path / "more.bin").write_bytes(os.urandom(12 << 20))
    shop.project.commit("another large file")
    failed = shop.refuses("MiB are free", exit=2, next="make room").event("failed")
    assert "is full: the code needs 24 MiB" in failed["message"]
    make_room(shop)
    shop.site.deploy("--no-migrate")


def test_no_room_for_the_upload(shop: Shop) -> None:
    """The host keeps some room for its own records: refused before a byte is taken."""
    leave(shop, 18)
    (shop.project.path / "more.bin").write_bytes(os.urandom(4 << 20))
    shop.project.commit("another large file")
    failed = shop.refuses("the disk is full: the upload needs", next="make room").event("failed")
    assert "below /var/lib/deployer/shop/incoming" in failed["message"]
    make_room(shop)
    shop.site.deploy("--no-migrate")


def test_a_change_of_one_line_needs_no_room_for_the_rest(shop: Shop) -> None:
    """The files that stay are not copied: there is no room for a second tree."""
    shop.edit(BUILD, "build = []")
    shop.project.change(version="2")
    leave(shop, BLOB - 4)
    shop.site.deploy("--no-migrate")
    assert shop.site.get()["version"] == "2"
    make_room(shop)


def test_a_build_that_fills_the_disk(shop: Shop) -> None:
    """The build, its output and the deploy's own log all run out of room: it is told, undone, and the room is back."""
    chatter = "for i in $(seq 2000); do echo a line of output that is longer than most $i; done"
    shop.edit(BUILD, f'build = ["cat /dev/zero > zeros || true; {chatter}; exit 1"]')
    leave(shop, BLOB + 20)
    shop.refuses("the disk is full: the build command", phase="build", logs="a line of output", next="make room")
    make_room(shop)
    shop.recovers()


def test_dependencies_that_fill_the_disk(shop: Shop) -> None:
    """A half-made environment is taken away, and the resolver's words are shown."""
    shop.project.change(files={"requirements.txt": "django>=4.2,<5.3\ngunicorn>=23\n"})
    leave(shop, 20)
    ended = shop.refuses("the disk is full: installing the dependencies needs", phase="build", logs="No space left")
    assert "below /srv/shop/venvs" in ended.event("failed")["message"]
    make_room(shop)
    shop.recovers()


def test_no_room_for_a_record(shop: Shop) -> None:
    """Not one byte is left, for a release that sends none: refused, not a traceback, and nothing stays in the way."""
    leave(shop, 0)
    before = shop.footprint()
    last = shop.site.expect(0, "attach", "--json").event("finished")["release"]
    with shop.site.under_load(clients=2):
        ended = shop.site.fab("reload", "--json")
    assert ended.exit == 5
    assert "the disk is full" in ended.event("failed")["message"]
    assert shop.footprint() == before
    assert shop.site.expect(0, "attach", "--json").event("finished")["release"] == last
    make_room(shop)
    shop.site.expect(0, "reload")

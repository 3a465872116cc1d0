"""A bare Debian 12, made ready by one ``fab setup``: a Python that it lacks, packages, a database, a Redis.

One host for all of it. Its interpreter comes from a mirror that this machine makes of one of its own, for tests may run
where only package indexes can be reached. uv, its check of digests and the layout of the mirror are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deployer.sandbox import up
from tests.support import pythonmirror
from tests.support.pythonmirror import AtHand, Mirror
from tests.support.site import Ended, Site, make_site

pytestmark = pytest.mark.acceptance

PYTHONS = "/usr/local/lib/deployer/pythons"
PROJECT = {
    "requirements.txt": "django>=6,<6.1\ngunicorn>=23\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.12"\n',
}


@dataclass
class Bare:
    """The host's site, and the mirror that the host can be pointed to."""

    site: Site
    mirror: Mirror
    url: str

    def point(self, listing: str) -> None:
        """Have uv on the host read this list of downloads."""
        (self.mirror.directory / "list.json").write_text(listing)
        variable = f"UV_PYTHON_DOWNLOADS_JSON_URL={self.url}/list.json"
        self.site.host.run(f"sed -i /UV_PYTHON/d /etc/environment; echo {variable} >> /etc/environment")


def python() -> AtHand:
    found = pythonmirror.at_hand()
    if found is None:
        pytest.skip("this machine has no movable Python 3.12 or newer to make a mirror of")
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """A host with nothing on it, and a project that needs a newer Python than it has."""
    place = tmp_path_factory.mktemp("bare")
    mirror = pythonmirror.make_mirror(place, python())
    with pythonmirror.served(place) as url, up() as host:
        site = make_site(host, place / "shop")
        site.project.change(files=PROJECT)
        yield Bare(site, mirror, url)


def changes(ended: Ended) -> dict[str, str]:
    """What a set-up says it changed, by step."""
    done = [event for event in ended.events if event["event"] == "phase.done"]
    return {event["phase"]: event["detail"] for event in done if event["detail"] != "unchanged"}


def setup(site: Site, *arguments: str, expect: int = 0) -> Ended:
    return site.expect(expect, "setup", "--json", *arguments, user="root")


@pytest.mark.cause("python-not-installed")
def test_a_host_that_cannot_fetch_a_python(bare: Bare) -> None:
    """A digest that differs is refused; the words name the place, the mirror and what to do. Nothing is left."""
    bare.point(bare.mirror.listing(bare.url).replace(bare.mirror.digest, "0" * 64))
    failed = setup(bare.site, expect=2).event("failed")
    assert failed["message"].startswith("Python 3.12 is not on this host, and uv could not install it from 127.0.0.1:")
    assert "python_mirror" in failed["next"] and "fab setup -H root@" in failed["next"]
    assert any("hash mismatch" in line.lower() for line in failed["logs"])
    assert bare.site.host.run(f"ls {PYTHONS}").stdout == ""


def test_django_6_on_debian_12(bare: Bare) -> None:
    """One set-up, one deploy: the host's own Python is 3.11, the app runs on the one that was installed."""
    bare.point(bare.mirror.listing(bare.url))
    assert changes(setup(bare.site))["python"] == f"Python {bare.mirror.key.split('-')[1]}"
    bare.site.deploy()
    served = bare.site.get()
    host = bare.site.host
    assert host.run("/usr/bin/python3 --version").stdout.startswith("Python 3.11.")
    shown = host.run("readlink -f /srv/shop/current/venv/bin/python").stdout.strip()
    assert shown == f"{PYTHONS}/{bare.mirror.key}/bin/python3.12"
    assert served["version"] == "1"


def test_an_installed_python_is_roots_alone(bare: Bare) -> None:
    """Nothing in it belongs to anybody else or can be written by others; its library is compiled."""
    host = bare.site.host
    assert host.run(f"find {PYTHONS} ! -type l '(' ! -user root -o -perm /022 ')'").stdout == ""
    assert host.run(f"find {PYTHONS} -name 'json' -path '*3.12/json' -exec ls '{{}}/__pycache__' ';'").stdout


def test_a_second_set_up_installs_no_second_python(bare: Bare) -> None:
    """Nothing is downloaded, nothing changes."""
    bare.point("{}")
    ended = setup(bare.site)
    assert changes(ended) == {}

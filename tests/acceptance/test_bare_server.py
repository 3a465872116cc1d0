"""A bare Debian 12, made ready by one ``fab setup``: a Python that it lacks, packages, a database, a Redis.

One host for all of it. Its interpreter comes from a mirror that this machine makes of one of its own, for tests may run
where only package indexes can be reached. uv, its check of digests and the layout of the mirror are the real ones.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deployer.sandbox import up
from tests.support import pythonmirror
from tests.support.pythonmirror import AtHand, Mirror
from tests.support.site import Ended, Site, make_site

pytestmark = pytest.mark.acceptance

PYTHONS = "/usr/local/lib/deployer/pythons"
SETTINGS = """
import dj_database_url

if "DATABASE_URL" in os.environ:
    DATABASES["default"] = dj_database_url.config()
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.getenv("REDIS_URL")}}
"""
PROJECT = {
    "requirements.txt": "django>=6,<6.1\ngunicorn>=23\npsycopg[binary]\nredis\ndj-database-url\n",
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
        settings = (site.project.path / "shop/settings.py").read_text() + SETTINGS
        site.project.change(files={**PROJECT, "shop/settings.py": settings})
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


def test_a_deploy_to_a_host_without_the_python(bare: Bare) -> None:
    """Refused before anything is built, with ``fab setup`` as what to type; what serves goes on."""
    bare.site.host.run(f"mv {PYTHONS}/{bare.mirror.key}.ready /root")
    try:
        failed = bare.site.deploy(expect=5).event("failed")
    finally:
        bare.site.host.run(f"mv /root/{bare.mirror.key}.ready {PYTHONS}")
    assert failed["message"].startswith("pyproject.toml is for Python >=3.12, and python3 of this host is 3.11.")
    assert failed["next"].startswith(f"fab setup -H root@{bare.site.host.name} ")
    assert bare.site.get()["version"] == "1"


def test_a_build_that_lacks_a_package_says_which(bare: Bare) -> None:
    """A dependency without a wheel: what the host lacks for it, where to write that down, and what to type."""
    before = bare.site.project.sha
    bare.site.project.change(files={"requirements.txt": "django>=6,<6.1\ngunicorn\npsycopg2==2.9.10\n"})
    failed = bare.site.deploy(expect=5).event("failed")
    bare.site.project.git("revert", "--no-edit", f"{before}..HEAD")
    assert "the program pg_config is not installed on this host" in failed["message"]
    assert failed["next"].startswith('add "libpq-dev" to packages under [host] in deploy.toml')


SERVICES = """
[host]
packages = ["gettext-base", "libpq5"]
[host.postgresql]
backups = 2
[host.redis]
memory = "16M"
"""
ASK = """
import django
django.setup()
from django.core.cache import cache
from django.db import connection
cursor = connection.cursor()
cursor.execute("select current_user, current_database(), inet_server_addr(), pg_encoding_to_char(encoding), datcollate"
               " from pg_database where datname = current_database()")
print(*cursor.fetchone())
cache.set("a", "b")
print(cache.get("a"))
"""
TABLES = "runuser -u postgres -- psql -d shop -Atc 'select count(*) from pg_tables where schemaname = $$public$$'"


def run(site: Site, *words: str) -> str:
    """What a command printed that ``fab run`` ran in the release that serves."""
    argv = [*site.argv("run"), "--", *words]
    return subprocess.run(argv, cwd=site.project.path, capture_output=True, text=True, timeout=120, check=True).stdout


def test_packages_and_services(bare: Bare) -> None:
    """Installed and said in one set-up; the app reaches them over their sockets as its own user, without a password."""
    bare.site.configure(release=SERVICES)
    told = changes(setup(bare.site))
    assert told["packages"] == "installed gettext-base, installed libpq5"
    assert told["services"].startswith("installed postgresql, role shop, database shop, a dump a day in ")
    assert "deployer-redis@shop.service started, for 16 MiB of data" in told["services"]
    bare.site.deploy()
    assert run(bare.site, "python", "-c", ASK).splitlines() == ["shop shop None UTF8 C.UTF-8", "b"]
    assert int(bare.site.host.run(TABLES).stdout) > 0, "the migration has run there"


def test_a_set_up_leaves_data_alone_and_says_what_it_found(bare: Bare) -> None:
    """Nothing is installed, created or restarted again."""
    before = bare.site.host.run("systemctl show -P MainPID postgresql@15-main deployer-redis@shop").stdout
    tables = int(bare.site.host.run(TABLES).stdout)
    told = changes(setup(bare.site))
    found = f"unchanged (the database shop holds {tables} tables, and is left alone; deployer-redis@shop.service runs)"
    assert told == {"services": found}
    assert bare.site.host.run("systemctl show -P MainPID postgresql@15-main deployer-redis@shop").stdout == before


def test_nobody_else_reaches_them(bare: Bare) -> None:
    """Another user gets into neither; nothing listens on TCP for Redis, and its data are the app's alone."""
    host = bare.site.host
    host.run("useradd -m eve; runuser -u postgres -- createuser eve")
    refused = host.run("runuser -u eve -- psql -d shop -c 'select 1'", check=False)
    assert refused.returncode and "permission denied for database" in refused.stderr
    refused = host.run("runuser -u eve -- redis-cli -s /run/deployer-redis/shop/redis.sock ping", check=False)
    assert "Permission denied" in refused.stdout + refused.stderr
    assert host.run("stat -c '%a %U:%G' /run/deployer-redis/shop/redis.sock /var/lib/deployer-redis/shop").stdout == (
        "770 shop:shop\n700 shop:shop\n"
    )
    assert host.run("systemctl is-enabled redis-server; systemctl is-active redis-server", check=False).stdout == (
        "disabled\ninactive\n"
    )
    assert "nothing" in host.run("ss -xlp | grep -q redis.sock && ss -tlpH | grep redis || echo nothing").stdout


def test_a_dump_can_be_restored(bare: Bare) -> None:
    """The timer's service makes dumps that root alone can read, keeps two, and what they hold comes back."""
    host = bare.site.host
    assert host.run("systemctl is-active deployer-dump@shop.timer").stdout == "active\n"
    host.run("cd /var/backups/deployer/shop; for i in 1 2 3; do touch 2020010${i}T000000Z.dump; done; touch mine")
    host.run("systemctl start deployer-dump@shop.service")
    assert host.run("ls /var/backups/deployer/shop | wc -l; stat -c %a /var/backups/deployer/shop").stdout == "3\n700\n"
    assert host.run("stat -c '%a %U' /var/backups/deployer/shop/2*.dump | tail -1").stdout == "600 root\n"
    tables = host.run(TABLES).stdout
    host.run("runuser -u postgres -- psql -d shop -c 'drop table django_migrations cascade'")
    newest = "$(ls /var/backups/deployer/shop/*.dump | tail -1)"
    restore = "runuser -u postgres -- pg_restore --clean --if-exists --exit-on-error --single-transaction -d shop"
    host.run(f"{restore} < {newest}")
    assert host.run(TABLES).stdout == tables
    assert run(bare.site, "python", "manage.py", "migrate", "--check") == ""


def test_after_a_reboot_all_of_it_serves(bare: Bare) -> None:
    """The database and the Redis are up before the app is asked anything; the cache has kept its data."""
    bare.site.host.power_off()
    bare.site.host.boot()
    assert bare.site.get()["version"] == "1"
    assert run(bare.site, "python", "-c", "import django; django.setup(); from django.core.cache import cache; "
                "print(cache.get('a'))") == "b\n"  # fmt: skip


def test_services_that_are_no_longer_asked_for_are_left(bare: Bare) -> None:
    """Said, with what goes on; the user's own URL wins over the host's."""
    bare.site.configure(env='DATABASE_URL = "sqlite:////var/lib/shop/own.sqlite3"')
    texts = [event["text"] for event in setup(bare.site).events if event["event"] == "warn"]
    assert [
        text for text in texts if text.startswith("[host.postgresql] is no longer in deploy.toml: the database shop")
    ]
    assert bare.site.host.run("systemctl is-active deployer-redis@shop").stdout == "active\n"
    bare.site.configure(release=SERVICES, env='DATABASE_URL = "sqlite:////var/lib/shop/own.sqlite3"')
    setup(bare.site)
    bare.site.deploy()
    shown = run(bare.site, "sh", "-c", "echo $DATABASE_URL $REDIS_URL").strip()
    assert shown == "sqlite:////var/lib/shop/own.sqlite3 unix:///run/deployer-redis/shop/redis.sock?db=0"

"""Releases whose code is bad: refused before they get traffic, or taken back; the old one serves."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost
from tests.support.failures import Shop, running
from tests.support.site import versions, wait_until

pytestmark = pytest.mark.acceptance
MODULE = "No module named 'a_module_that_nobody_installed'"
SWITCH_OFF = "/var/lib/shop/crash-now"
MIGRATION = """\
from django.db import migrations
def run(apps, editor):
    {body}
class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = [migrations.RunPython(run, migrations.RunPython.noop)]
"""


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(bookworm, tmp_path_factory.mktemp("code") / "shop")
    shop.site.wipe()
    yield shop
    shop.site.wipe()


@pytest.fixture
def shop(_shop: Shop) -> Shop:
    return _shop.ready()


@pytest.mark.parametrize(
    ("fault", "cause"), [("import-error", MODULE), ("syntax-error", "SyntaxError: invalid syntax")]
)
def test_code_that_does_not_import(shop: Shop, fault: str, cause: str) -> None:
    """The process ends before it can serve: the refusal says how, and shows the traceback's last line."""
    shop.project.change(fault=fault)
    shop.refuses("the process ended by itself (exit status ", "--no-migrate", phase="start", logs=cause)
    shop.recovers()


def test_settings_that_do_not_import(shop: Shop) -> None:
    """The first management command finds it: the build fails and shows the traceback."""
    shop.project.change(fault="settings-import-error")
    shop.refuses("the build command 'python manage.py collectstatic --noinput' failed", phase="build", logs=MODULE)
    shop.recovers()


def test_a_crash_two_seconds_after_the_start(shop: Shop) -> None:
    """It was healthy, and dies while it settles: no request has reached it."""
    shop.configure(settle=5)
    shop.project.change(fault="crash-after:2")
    shop.refuses("the process ended by itself", "--no-migrate", phase="check", logs="Booting worker")
    shop.recovers()


def test_a_worker_that_dies_two_seconds_after_the_start(shop: Shop) -> None:
    """The server lives on and starts another worker: the death of the first is seen all the same."""
    shop.configure(settle=6, workers=1)
    shop.project.change(fault="worker-crash-after:2")
    shop.refuses("a worker process died", "--no-migrate", phase="check", logs="exited with code 1")
    shop.recovers()


def test_a_crash_loop_that_systemd_calls_activating(shop: Shop) -> None:
    """The process dies as soon as it has started, and systemd restarts it for ever: that is no success."""
    shop.configure(settle=3)
    shop.project.change(fault="crash-after:0")
    shop.refuses("the process ended by itself", "--no-migrate", phase="start check")
    shop.recovers()


def test_a_crash_loop_under_a_server_that_lives(shop: Shop) -> None:
    """gunicorn replaces dying workers for ever: told from their deaths, long before the time is up."""
    shop.configure(timeout=120)
    shop.project.change(fault="crash-loop")
    shop.refuses("its worker processes end as soon as they are started", phase="start", logs="exited with code 1")
    shop.recovers()


def test_a_crash_after_the_switch(shop: Shop) -> None:
    """The old release serves again; what was inside the dying process is lost, never what waited in its queue."""
    shop.configure(watch=60)
    shop.host.run(["rm", "-f", SWITCH_OFF])
    shop.project.change(version="crashes", fault=f"crash-when:{SWITCH_OFF}")
    before, serving = shop.footprint(), shop.site.serving
    with shop.site.load(clients=8) as load, running(shop.site, "deploy", "--json", "--no-migrate") as fab:
        fab.until("switched")
        wait_until(lambda: "crashes" in versions(load.snapshot()), "the new release serves")
        load.mark("crash")
        shop.host.run(["touch", SWITCH_OFF])
        fab.until("switched", to=serving)
        wait_until(lambda: load.snapshot().versions[0].last > load.snapshot().time_of("crash"), "the old one serves")
        ended = fab.end()
    failed, report = ended.event("failed"), load.stop()
    assert ended.exit == 6
    assert "the process ended by itself" in failed["message"]
    assert failed["state"] == f"{serving} serves again; {ended.event('finished')['release']} is stopped"
    assert failed["next"]
    assert shop.site.serving == serving
    assert shop.footprint() == before
    print(f"a crash after the switch lost {report.failed} of {report.sent} requests: {report.failures}")
    assert report.failed <= 2 * 2, "more than the two workers, each with one request and one retry, can have held"
    shop.host.run(["rm", "-f", SWITCH_OFF])
    shop.recovers()


def test_a_health_check_that_fails_after_the_switch(shop: Shop) -> None:
    """Three failed checks in a row while it is watched: taken back, and no request is lost."""
    shop.configure(watch=60)
    shop.project.change(
        version="2",
        files={
            "catalog/views.py": (shop.project.path / "catalog/views.py").read_text()
            + "\n\ndef healthz(request):\n"
            + f"    return HttpResponse('ok', status=500 if Path({SWITCH_OFF!r}).exists() else 200)\n"
        },
    )
    before, serving = shop.footprint(), shop.site.serving
    with shop.site.under_load(clients=2), running(shop.site, "deploy", "--json", "--no-migrate") as fab:
        fab.until("switched")
        shop.host.run(["touch", SWITCH_OFF])
        ended = fab.end()
    shop.host.run(["rm", "-f", SWITCH_OFF])
    assert ended.exit == 6
    assert "GET /healthz answered 500" in ended.event("failed")["message"]
    assert ended.event("finished")["serving"] == shop.site.serving == serving
    assert shop.footprint() == before


@pytest.mark.parametrize(
    ("fault", "phase", "says"),
    [
        ("health-500", "check", "GET /healthz answered 500 (tried for 4 s)"),
        ("health-hang", "start", "GET /healthz: no answer within 4 s"),
        (
            "health-close",
            "start",
            "GET /healthz: the connection was closed without an answer (tried for 4 s)",
        ),
    ],
)
def test_a_health_check_that_fails(shop: Shop, fault: str, phase: str, says: str) -> None:
    """No good answer until the time is up: refused, saying what came instead, with what the process said."""
    shop.configure(timeout=4)
    shop.project.change(fault=fault)
    shop.refuses(says, "--no-migrate", phase=phase, logs="Booting worker")
    shop.recovers()


def test_allowed_hosts_that_refuse_the_check(shop: Shop) -> None:
    """Django's bare 400 is explained, with the key that mends it; and mended so, it gets through."""
    shop.configure(env='ALLOWED_HOSTS = "shop.example.com"')
    ended = shop.refuses("ALLOWED_HOSTS", "--no-migrate", phase="check", logs="DisallowedHost")
    failed = ended.event("failed")
    assert "Set web.health.host in deploy.toml" in failed["message"]
    assert "ALLOWED_HOSTS has" in failed["next"] and "fix it" not in failed["next"]
    assert [command.partition(" -H")[0] for command in failed["commands"]] == ["fab deploy"]
    shop.edit('path = "/healthz"', 'path = "/healthz", host = "shop.example.com"')
    shop.site.deploy("--no-migrate")
    request = urllib.request.Request(shop.site.url, headers={"Host": "shop.example.com"})
    with urllib.request.urlopen(request, timeout=15) as answer:
        assert answer.headers["X-Version"] == "1"


def test_a_variable_that_is_not_set_is_named(shop: Shop) -> None:
    """Not the code is to be mended but the environment: the message has the name, and the advice where to set it."""
    wsgi = (shop.project.path / "shop/wsgi.py").read_text()
    shop.project.change(files={"shop/wsgi.py": f"import os\n\nKEY = os.environ['PAYMENT_KEY']\n{wsgi}"})
    ended = shop.refuses(
        "the environment variable PAYMENT_KEY is not set", "--no-migrate", phase="start", logs="KeyError", next="[env]"
    )
    assert "fix it" not in ended.event("failed")["next"]


def test_a_migration_that_never_began_did_nothing(shop: Shop) -> None:
    """An import that fails first of all: the package is named, and nobody is sent to look at the database."""
    shop.edit("python manage.py migrate --noinput", "python -c 'import nothing_here'")
    ended = shop.refuses("the module nothing_here is not installed", phase="migrate", logs="ModuleNotFoundError")
    failed = ended.event("failed")
    assert "it failed before it touched the database" in failed["message"]
    assert "database" not in failed["next"]


def test_a_migration_that_fails(shop: Shop) -> None:
    """The candidate is discarded before it gets traffic; the traceback is shown, and where to look."""
    shop.project.change(files={"catalog/migrations/0002_bad.py": MIGRATION.format(body="raise RuntimeError('no way')")})
    shop.refuses(
        "the migration 'python manage.py migrate --noinput' failed (exit status 1)",
        phase="migrate",
        logs="RuntimeError: no way",
        next="check the database",
    )
    shop.recovers()


def test_a_failure_behind_a_migration_says_that_it_stays(shop: Shop) -> None:
    """The code can be refused after the database was changed for it: whoever reads the refusal must know."""
    shop.edit('migrate = "python manage.py migrate --noinput"', 'migrate = "true"')
    shop.configure(env='ALLOWED_HOSTS = "shop.example.com"')
    ended = shop.refuses("ALLOWED_HOSTS", phase="check")
    assert ended.event("failed")["state"].endswith("; its migration ran before, and stays applied")


def test_a_migration_that_hangs(shop: Shop) -> None:
    """It is bounded, and when root stops the deploy's unit meanwhile, everything is undone at once."""
    shop.edit('migrate = "python manage.py migrate --noinput"', 'migrate = "sleep 3000"')
    shop.project.change(files={"note.txt": "other code, or there is nothing to migrate"})
    before, serving = shop.footprint(), shop.site.serving
    with shop.site.under_load(clients=2), running(shop.site, "deploy", "--json") as fab:
        fab.until("phase.started", phase="migrate")
        unit = "deployer-shop-migrate.service"
        wait_until(
            lambda: shop.host.run(["systemctl", "is-active", unit], check=False).stdout == "activating\n",
            "it runs",
        )
        limit = shop.host.run(["systemctl", "show", "-P", "TimeoutStartUSec", unit]).stdout.strip()
        shop.host.run(["systemctl", "stop", "deployer-shop.service"])
        ended = fab.end()
    assert limit == "1h"
    assert ended.exit == 5
    assert "aborted" in ended.event("failed")["message"]
    assert ended.event("finished")["serving"] == shop.site.serving == serving
    assert shop.footprint() == before
    shop.recovers()

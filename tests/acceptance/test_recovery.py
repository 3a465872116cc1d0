"""Attempts that nobody finishes: killed for good, left alone between two phases, or damaged on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deployer.sandbox import SandboxHost
from tests.support.failures import Shop, running
from tests.support.site import wait_until

pytestmark = pytest.mark.acceptance
HOME, PRIVATE = "/srv/shop", "/var/lib/deployer/shop"
LOOK = "/usr/local/lib/deployer/deployer-host recover shop"
JOB, TIMER = "deployer-shop.service", "deployer-shop-lease.timer"


@pytest.fixture(scope="module")
def _shop(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(bookworm, tmp_path_factory.mktemp("recovery") / "shop")
    shop.site.wipe()
    yield shop
    shop.site.wipe()


@pytest.fixture
def shop(_shop: Shop) -> Shop:
    return _shop.ready()


def out(shop: Shop, command: str) -> str:
    return str(shop.host.run(command, check=False).stdout).strip()


def active(shop: Shop, unit: str) -> bool:
    return out(shop, f"systemctl is-active {unit}") == "active"


def row(shop: Shop, release: str) -> dict[str, Any]:
    listed = json.loads(shop.site.expect(0, "releases", "--json").out.splitlines()[-1])["releases"]
    return next(one for one in listed if one["number"] == release)


def kill_for_good(shop: Shop) -> None:
    """Kill the job as often as systemd starts it again, until it gives up."""
    shop.host.run(
        f"for i in $(seq 200); do p=$(systemctl show -p MainPID --value {JOB}); "
        f'[ "$p" != 0 ] && kill -9 $p; [ "$(systemctl show -p ActiveState --value {JOB})" = inactive ] && exit 0; '
        "sleep 0.05; done; exit 1"
    )


def begin(shop: Shop, *more: str) -> str:
    """Phase by phase up to a healthy candidate; its name."""
    shop.project.change(version="2")
    release = str(shop.site.expect(0, "phase.upload", "--json").event("finished")["release"])
    for phase in ("build", "install", "start", "migrate", "check", *more):
        shop.site.expect(0, f"phase.{phase}")
    return release


def let_the_lease_run_out(shop: Shop, release: str) -> None:
    """And have the dead-man's switch look, as it does every half minute."""
    record = f"{HOME}/releases/{release}/release.json"
    value = json.loads(out(shop, f"cat {record}"))
    assert value["held"]["until"] > 0
    value["held"]["until"] = 0.0
    shop.host.run(f"cat > {record}", input=json.dumps(value).encode())
    shop.host.run(LOOK)


def test_the_dead_mans_switch_clears_away_what_was_killed_for_good(shop: Shop) -> None:
    """systemd has given up starting it again, nobody is connected: the host sees to it within its half minute."""
    before, serving = shop.footprint(), shop.site.serving
    shop.edit("python manage.py collectstatic --noinput", "sleep 60")
    with shop.site.under_load(clients=2):
        with running(shop.site, "deploy", "--json") as fab:
            release = fab.until("phase.started", phase="build")["release"]
            fab.kill()
        kill_for_good(shop)
        assert active(shop, TIMER)
        shop.is_back_at(before)
    assert shop.site.serving == serving
    shown = row(shop, release)
    assert (shown["state"], shown["reason"].startswith("interrupted at build: ")) == ("interrupted", True)
    wait_until(lambda: not active(shop, TIMER), "nothing is left to look after")
    shop.recovers()


def test_a_question_is_enough_to_have_it_put_right(shop: Shop) -> None:
    """``fab status`` notices, and does not wait for the timer."""
    before = shop.footprint()
    shop.edit("python manage.py collectstatic --noinput", "sleep 60")
    with running(shop.site, "deploy", "--json") as fab:
        fab.until("phase.started", phase="build")
        fab.kill()
    kill_for_good(shop)
    shop.host.run(["systemctl", "stop", TIMER])
    shop.site.expect(0, "status")
    shop.is_back_at(before)


def test_the_next_deploy_needs_no_repair(shop: Shop) -> None:
    """It clears away what it finds, says so, and goes on."""
    shop.edit("python manage.py collectstatic --noinput", "sleep 60")
    with running(shop.site, "deploy", "--json") as fab:
        release = fab.until("phase.started", phase="build")["release"]
        fab.kill()
    kill_for_good(shop)
    shop.host.run(["systemctl", "stop", TIMER])
    shop.edit("sleep 60", "python manage.py collectstatic --noinput")
    with shop.site.under_load(clients=2):
        ended = shop.site.deploy()
    assert ended.event("note")["text"].startswith(f"{release} was interrupted at build: ")
    assert ended.event("finished")["serving"] == shop.site.serving
    assert len(shop.site.units()) == 2


def test_a_candidate_whose_lease_has_run_out(shop: Shop) -> None:
    """As long as it lasts nobody touches it; then it goes, and what serves takes no notice."""
    before, serving = shop.footprint(), shop.site.serving
    with shop.site.under_load(clients=2):
        release = begin(shop)
        assert len(shop.site.units()) == 4
        shop.host.run(LOOK)
        assert (row(shop, release)["state"], len(shop.site.units())) == ("candidate", 4)
        let_the_lease_run_out(shop, release)
        wait_until(lambda: len(shop.site.units()) == 2, "the candidate goes")
        shop.is_back_at(before)
    assert (shop.site.serving, row(shop, release)["state"]) == (serving, "interrupted")
    assert row(shop, release)["reason"] == "left alone after check; its migration ran, and stays applied"


def test_a_release_that_nobody_watches(shop: Shop) -> None:
    """Switched to, then left alone: when its lease has run out, the host drains, watches, and keeps it."""
    with shop.site.under_load(clients=2):
        release = begin(shop, "switch")
        assert shop.site.serving == release
        let_the_lease_run_out(shop, release)
        wait_until(lambda: len(shop.site.units()) == 2, "the host has judged it")
        wait_until(lambda: not active(shop, JOB), "its job ends")
    assert (shop.site.serving, row(shop, release)["state"]) == (release, "current")
    assert row(shop, release)["reason"].endswith("the host found it healthy")
    shop.keep()


def test_a_release_that_nobody_watches_and_that_goes_bad(shop: Shop) -> None:
    """Then the standby resumes, by itself."""
    serving = shop.site.serving
    release = begin(shop, "switch")
    shop.host.run(f"systemctl kill -s KILL shop-web@{release}.service")
    let_the_lease_run_out(shop, release)
    wait_until(lambda: shop.site.serving == serving, "the standby serves again")
    wait_until(lambda: len(shop.site.units()) == 2, "the failed one goes")
    assert row(shop, release)["state"] == "rolled back"


def test_a_phase_that_is_over_is_not_run_again(shop: Shop) -> None:
    """What is switched to can be drained and watched, and nothing else: it is neither checked nor switched to again."""
    release = begin(shop, "switch")
    for phase in ("build", "check", "switch"):
        told = shop.site.expect(2, f"phase.{phase}").text
        assert f"{release} is switched to already: {phase} is over" in told
        assert "fab phase.drain" in told
    shop.site.expect(0, "phase.drain")
    shop.site.expect(0, "phase.watch")
    assert shop.site.serving == release
    assert len(shop.site.units()) == 2
    shop.keep()


LITTER = (
    f"{HOME}/.current.tmp",
    f"{HOME}/trees/.{'a' * 64}.gone/x",
    f"{HOME}/trees/{'b' * 64}/x",
    f"{HOME}/venvs/{'c' * 64}/x",
    f"{HOME}/releases/v999/run/x",
    f"{HOME}/releases/v1/.release.json.tmp",
    f"{PRIVATE}/.last-release.tmp",
    f"{PRIVATE}/build.env",
    f"{PRIVATE}/incoming/{'d' * 64}.12345678.body",
    f"{PRIVATE}/waiting/00000001",
)


def test_a_record_that_cannot_be_read_is_in_nobodys_way(shop: Shop) -> None:
    """Of the very release that serves: it serves on, it is told, and a deploy gets through."""
    serving = shop.site.serving
    shop.host.run(f"echo spoilt > {HOME}/releases/{serving}/release.json")
    told = shop.site.fab("status")
    assert "Traceback" not in told.text
    shop.project.change(version="2")
    with shop.site.under_load(clients=2):
        ended = shop.site.deploy()
    assert f"{serving}/release.json is damaged" in ended.event("warn")["text"]
    assert shop.site.serving == ended.event("finished")["release"]
    shop.host.run(f"rm -r {HOME}/releases/{serving}")
    shop.keep()


def test_the_doctor_finds_what_should_not_be_there_and_puts_it_right(shop: Shop) -> None:
    """Units, trees, environments, half-made releases, temporary files: told, then removed; what serves stays."""
    before, serving = shop.footprint(), shop.site.serving
    assert shop.site.expect(0, "doctor").exit == 0
    for path in LITTER:
        shop.host.run(f"mkdir -p $(dirname {path}) && touch {path}")
    unit = "/etc/systemd/system/shop-web@v998.socket"
    shop.host.run(f"printf '[Socket]\\nListenStream=/run/stray.sock\\n' > {unit}; cp {unit} {unit[:-7]}.service")
    shop.host.run("systemctl start shop-web@v998.socket", check=False)
    told = shop.site.expect(7, "doctor").text
    assert "v998" in told
    for path in LITTER:
        assert path in told or path.removesuffix("/x") in told or ("releases/v999" in path and "/v999:" in told)
    with shop.site.under_load(clients=2):
        shop.site.expect(0, "doctor", "--fix")
    assert (set(shop.footprint()) ^ set(before), shop.site.serving) == (set(), serving)
    assert out(shop, "ls -d " + " ".join(LITTER)) == ""
    shop.site.expect(0, "doctor")


def test_an_app_that_is_down_is_started_by_the_doctor(shop: Shop) -> None:
    """Its units stopped behind systemd's handle; but what an admin has stopped by the handle is left to them."""
    serving = shop.site.serving
    shop.host.run(f"systemctl stop shop-web@{serving}.socket shop-web@{serving}.service")
    assert f"{serving} is current and does not run" in shop.site.expect(7, "doctor").text
    shop.site.expect(0, "doctor", "--fix")
    assert shop.site.serving == serving
    shop.host.run(["systemctl", "stop", "shop"])
    told = shop.site.expect(7, "doctor", "--fix").text
    assert "fab start" in told
    assert out(shop, f"systemctl is-active shop-web@{serving}.socket") == "inactive"
    shop.host.run(["systemctl", "start", "shop"])
    assert shop.site.serving == serving


def test_a_candidate_that_went_down_meanwhile_is_not_switched_to(shop: Shop) -> None:
    """Healthy at its check, dead when its switch is typed: it is asked once more, started if need be, or refused."""
    serving = shop.site.serving
    with shop.site.under_load(clients=2):
        release = begin(shop)
        shop.host.run(f"systemctl stop shop-web@{release}.socket shop-web@{release}.service")
        shop.site.expect(0, "phase.switch")
        assert shop.site.serving == release
        shop.site.expect(0, "phase.drain")
        shop.site.expect(0, "phase.watch")
        shop.project.change(version="3")
        dead = begin(shop)
        shop.host.run(f"chmod a-x $(readlink -f /srv/shop/releases/{dead}/venv)/bin/gunicorn")
        shop.host.run(f"systemctl stop shop-web@{dead}.socket shop-web@{dead}.service")
        shop.site.expect(5, "phase.switch")
        assert shop.site.serving == release != serving
    shop.host.run(f"chmod a+x $(readlink -f /srv/shop/releases/{release}/venv)/bin/gunicorn")
    shop.keep()

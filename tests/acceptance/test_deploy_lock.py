"""``fab lock`` on a real host: no release begins, whoever asks for it and however, and what serves is not touched."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.site import Ended, Site, wait_until
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

WHY = "freeze: until Monday, says Grace"


@pytest.fixture
def free(mini: TinySite) -> Iterator[TinySite]:
    yield mini
    mini.host.run(f"rm -f /var/lib/deployer/{mini.app}/deploy-lock.json")


@pytest.fixture
def locked(free: TinySite) -> TinySite:
    free.expect(0, "lock", "-m", WHY)
    return free


def refusal(ended: Ended) -> str:
    """What a person reads; it says who, why, and what to type."""
    assert "nothing was touched" in ended.text, ended.text
    assert WHY in " ".join(ended.text.split()), ended.text
    assert "fab unlock" in ended.text
    return ended.text


@pytest.mark.parametrize("words", [["deploy"], ["deploy", "--wait"], ["reload"], ["rollback"], ["phase.upload"]])
def test_no_release_begins_while_deploys_are_locked(locked: TinySite, words: list[str]) -> None:
    """It ends with 4 and says who, why and since when; what serves goes on serving."""
    before = locked.serving
    text = refusal(locked.expect(4, *words))
    assert "since" in text and "@" in text
    assert locked.serving == before


def test_an_admin_on_the_host_is_refused_too(locked: TinySite) -> None:
    """``systemctl reload`` is a release as any other."""
    before = locked.serving
    done = locked.host.run(f"systemctl reload {locked.app}", check=False)
    assert done.returncode != 0
    told = locked.host.run(f"journalctl -u {locked.app} -n 20 -o cat").stdout
    assert WHY in told and "fab unlock" in told
    assert locked.serving == before


def test_everything_else_goes_on(locked: TinySite) -> None:
    """A lock is told by status, plan and a dry run, and keeps nobody from looking."""
    status = json.loads(locked.expect(0, "status", "--json").out)
    assert (status["lock"]["why"], status["healthy"]) == (WHY, True)
    assert WHY in locked.expect(0, "status").text
    assert WHY in locked.expect(0, "plan").text
    assert "would be refused now" in locked.expect(0, "--dry", "reload").text
    locked.expect(0, "logs")
    locked.expect(0, "doctor")


def test_it_survives_a_restart_of_everything_and_ends_by_unlock(locked: TinySite) -> None:
    """The lock is a file of root's; whoever unlocks is told whose it was; then releases begin again."""
    locked.host.run(f"systemctl restart {locked.app}")
    refusal(locked.expect(4, "reload"))
    path = f"/var/lib/deployer/{locked.app}/deploy-lock.json"
    assert str(locked.host.run(f"stat -c '%U %a' {path}").stdout).strip() == "root 600"
    ended = locked.expect(0, "unlock")
    assert WHY in " ".join(ended.text.split())
    assert "not locked" in locked.expect(0, "unlock").text
    locked.expect(0, "reload")


def test_a_lock_ends_at_its_time(free: TinySite) -> None:
    """Nobody has to unlock what has an end; it is told until then."""
    free.expect(0, "lock", "-m", WHY, "--until", "20s")
    assert "until" in free.expect(0, "--dry", "lock", "-m", "x").text
    free.expect(4, "reload")
    wait_until(lambda: not json.loads(free.expect(0, "status", "--json").out)["lock"], "it has ended", every=1)
    free.expect(0, "reload")


def test_the_lock_of_somebody_else_is_not_replaced(locked: TinySite) -> None:
    """Its owner may change it; others are told whose it is."""
    locked.expect(0, "lock", "-m", f"{WHY}, or Tuesday")
    ended = locked.fab("lock", "-m", "mine", env={"LOGNAME": "somebody-else"})
    assert ended.exit == 4
    assert "or Tuesday" in " ".join(ended.text.split())
    locked.expect(0, "unlock")


def test_a_damaged_lock_keeps_releases_out_until_it_is_removed(locked: TinySite) -> None:
    """What cannot be read is not taken for permission."""
    path = f"/var/lib/deployer/{locked.app}/deploy-lock.json"
    locked.host.run(f"echo '{{' > {path}")
    ended = locked.expect(4, "reload")
    assert path in ended.text and "fab unlock" in ended.text
    locked.expect(0, "unlock")
    locked.expect(0, "reload")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lock"], "needs a reason"),
        (["lock", "-m", " "], "needs a reason"),
        (["lock", "-m", "x", "--until", "soon"], "2026-12-01 09:00"),
        (["lock", "-m", "x", "--until", "2020-01-01"], "past"),
    ],
)
def test_a_bad_command_line_touches_nothing(mini: TinySite, words: list[str], told: str) -> None:
    """It ends with 2, before anything is connected."""
    ended = mini.expect(2, *words)
    assert told in ended.text and "nothing was touched" in ended.text
    assert mini.host.run(f"ls /var/lib/deployer/{mini.app}/deploy-lock.json", check=False).returncode


def test_an_app_that_was_not_set_up(site: Site) -> None:
    """There is no place for a lock there."""
    site.project.write("deploy.toml", 'app = "nowhere"\n[web]\ncommand = "x"\n')
    assert "not set up" in site.expect(2, "lock", "-m", "x").text

"""``fab destroy`` on a real host: what setup and deploys made is gone, what others have and the app's data stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.background import BackgroundSite, make_background, timer, worker
from tests.support.faults.accident import running
from tests.support.site import wait_until
from tests.support.terminal import Terminal
from tests.support.tiny import make_tiny

pytestmark = pytest.mark.acceptance

PLACES = "/etc /srv /home /opt /root /usr/local /var/backups /var/cache/deployer* /var/lib /var/spool"
CHANGES = re.compile(
    r"/etc/(passwd|shadow|group|gshadow|sub[ug]id)-?|/etc/[.]pwd[.]lock|/var/lib/(dpkg|apt|systemd/(timers|catalog|random)"
    r"|private|logrotate|nginx|ucf)\b.*|/etc/machine-id|.*/__pycache__\b.*|/var/lib/sudo\b.*|/root/.*"
)
"""What the system itself writes as time goes by; the accounts are compared by their names."""


def files(host: SandboxHost) -> set[str]:
    """All that lies where setup and deploys write, with the accounts."""
    listed = host.run(
        f"find {PLACES} -xdev 2>/dev/null; cut -d: -f1 /etc/passwd /etc/group | sed 's/^/account /'", check=False
    )
    return {line for line in str(listed.stdout).splitlines() if not CHANGES.fullmatch(line)}


@pytest.fixture(scope="module")
def before(bookworm: SandboxHost) -> set[str]:
    return files(bookworm)


@pytest.fixture
def crew(before: set[str], bookworm: SandboxHost, tmp_path: Path) -> Iterator[BackgroundSite]:
    """An app of its own, with a worker, a timer and data, whose release serves."""
    site = make_background(bookworm, tmp_path / "crew", app="leaver")
    site.ask_for(worker(), timer())
    site.release()
    bookworm.run("echo precious > /var/lib/leaver/data.txt; chown leaver: /var/lib/leaver/data.txt")
    yield site
    site.fab("destroy", "--data", "--yes", "leaver", user="root")


@pytest.fixture(scope="module")
def standing(
    bookworm: SandboxHost, before: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackgroundSite]:
    """An app that is to be refused: it stands for several tests."""
    site = make_background(bookworm, tmp_path_factory.mktemp("standing") / "crew", app="stayer")
    site.ask_for()
    site.release()
    yield site
    site.fab("destroy", "--data", "--yes", "stayer", user="root")


def test_nothing_is_left_but_what_is_not_ours(crew: BackgroundSite, before: set[str]) -> None:
    """With --data the host has the files and the accounts that it had before the setup; the other app serves."""
    crew.expect(0, "maintenance", "on")
    assert files(crew.host) - before
    ended = crew.expect(0, "destroy", "--data", "--yes", "leaver", user="root")
    assert "removed from this host" in ended.text
    assert files(crew.host) - before == set()
    assert before - files(crew.host) == set()
    assert crew.out("systemctl list-units --all --no-legend '*leaver*'") == ""
    assert crew.out("nginx -T 2>/dev/null | grep -c leaver || true") == "0"
    again = crew.expect(0, "destroy", "--yes", "leaver", user="root")
    assert "there is nothing of leaver" in again.text
    refused = crew.fab("status")
    assert refused.exit in (2, 3)


def test_data_stay_with_their_owner_and_a_setup_finds_them(crew: BackgroundSite, before: set[str]) -> None:
    """Without --data the directory stays, and the user whose it is; setting up and deploying again serves from it."""
    ended = crew.expect(0, "destroy", "--yes", "leaver", user="root")
    assert "/var/lib/leaver" in ended.text
    left = files(crew.host) - before
    assert left and all(line.startswith(("/var/lib/leaver", "account leaver")) for line in left), left
    crew.expect(0, "setup", user="root")
    crew.release()
    assert crew.out("cat /var/lib/leaver/data.txt; stat -c %U /var/lib/leaver/data.txt").split() == [
        "precious",
        "leaver",
    ]


def test_the_other_app_of_the_host_loses_no_request(crew: BackgroundSite, tmp_path: Path) -> None:
    """One that shares the deploy user keeps it, and its keys; its proxy is reloaded under load."""
    other = make_tiny(crew.host, tmp_path / "stays", app="stays", user="deploy-leaver")
    other.expect(0, "setup", user="root")
    other.expect(0, "deploy")
    with other.under_load("/"):
        ended = crew.expect(0, "destroy", "--data", "--yes", "leaver", user="root")
    assert "who deploys other apps" in ended.text
    other.expect(0, "reload")
    other.expect(0, "doctor")
    other.expect(0, "destroy", "--data", "--yes", "stays", user="root")


def test_a_job_that_runs_is_not_torn_apart(standing: BackgroundSite) -> None:
    """While a deploy runs it ends with 4, and nothing was touched."""
    standing.ask_for(watch=20)
    with running(standing, "deploy", "--json") as deploy:
        wait_until(lambda: '"phase": "watch"' in deploy.said, "it watches")
        ended = standing.expect(4, "destroy", "--yes", "stayer", user="root")
        assert "nothing was touched" in ended.text and "fab abort" in ended.text
        assert deploy.end() == 0, deploy.said


@pytest.mark.parametrize(
    ("words", "told"), [([], "no terminal"), (["--yes", "shop"], "is not the app's name"), (["--yes", "y"], "stayer")]
)
def test_it_asks_for_the_name(standing: BackgroundSite, words: list[str], told: str) -> None:
    """A script says the app's name; anything else touches nothing."""
    ended = standing.expect(2, "destroy", *words, user="root")
    assert told in ended.text and "nothing was touched" in ended.text
    assert "would remove" in standing.expect(0, "--dry", "destroy", user="root").text
    assert standing.serving


def test_a_deploy_user_cannot(standing: BackgroundSite) -> None:
    """It takes root, or an admin: a stolen deploy key removes nothing."""
    ended = standing.expect(2, "destroy", "--yes", "stayer")
    assert "fab destroy -H root@" in ended.text
    assert standing.serving


def test_the_last_app_takes_what_all_share_with_it(tmp_path: Path) -> None:
    """The name is typed at a terminal. A host that was bare is so again, but that its proxy starts at boot."""
    with up() as host:
        before = files(host)
        site = make_background(host, tmp_path / "crew", app="leaver")
        site.ask_for(worker(), timer())
        site.release()
        terminal = Terminal(site.argv("destroy", "--data", user="root"), site.project.path)
        terminal.wait_for(b"Type the app's name to go on")
        assert "There is no way back" in terminal.text
        terminal.type("leaver\n")
        assert terminal.end() == 0, terminal.text
        assert {path for path in files(host) - before if "nginx" not in path.rpartition("/")[2]} == set()

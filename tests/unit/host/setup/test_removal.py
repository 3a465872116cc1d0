"""Which accounts a removed app takes with it."""

from __future__ import annotations

import json
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.setup import conflicts
from deployer.host.setup.removal import accounts
from deployer.host.system import runner

APP = pwd.struct_passwd(("shop", "x", 990, 990, f"{conflicts.COMMENT} shop", "/var/lib/shop", "/dev/null"))
DEPLOY = pwd.struct_passwd(("deploy", "x", 1001, 1001, conflicts.DEPLOYS, "/home/deploy", "/bin/bash"))
ADMIN = pwd.struct_passwd(("deploy", "x", 1001, 1001, "Ada", "/home/deploy", "/bin/bash"))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run; the users are those of ``there``."""
    commands: list[str] = []

    def run(argv: Sequence[str], **_: Any) -> runner.CommandResult:
        commands.append(" ".join(argv))
        return runner.CommandResult(0, "", "")

    monkeypatch.setattr(accounts.runner, "run", run)
    monkeypatch.setattr(accounts, "end_processes", lambda user: commands.append(f"end {user}"))
    monkeypatch.setattr(conflicts, "group_exists", lambda name: name == "shop")
    there(monkeypatch, APP, DEPLOY)
    return commands


def there(monkeypatch: pytest.MonkeyPatch, *users: pwd.struct_passwd) -> None:
    monkeypatch.setattr(conflicts, "find_user", {one.pw_name: one for one in users}.get)


def test_both_go(ran: list[str]) -> None:
    """The app's group, too, though the proxy is in it; of the deploy user first what runs, then the home."""
    assert accounts.remove("shop", "deploy", [], keeps_data=False) == (["user shop", "user deploy"], [])
    assert ran == ["userdel shop", "groupdel shop", "end deploy", "userdel --remove deploy"]


def test_whose_data_stay_stays(ran: list[str]) -> None:
    """Another user would otherwise get the number, and the files."""
    removed, kept = accounts.remove("shop", "", [], keeps_data=True)
    assert (removed, ran) == ([], [])
    assert kept == ["the user shop, whose they are"]


def test_a_person_who_deploys_stays(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that setup did not make is nobody's to remove."""
    there(monkeypatch, ADMIN)
    assert accounts.remove("shop", "deploy", [], keeps_data=False)[1] == [
        "the user deploy, which deployer did not make"
    ]
    assert ran == []


def test_who_deploys_other_apps_stays(ran: list[str], tmp_path: Path) -> None:
    """That is known by the settings of the others; where they cannot be read, it is not guessed."""
    other = tmp_path / "blog.json"
    other.write_text(json.dumps({"deploy_user": "deploy"}))
    assert accounts.remove("shop", "deploy", [other], keeps_data=True)[1][1:] == [
        "the user deploy, who deploys other apps"
    ]
    other.write_text("{")
    with pytest.raises(HostError, match=r"blog\.json"):
        accounts.remove("shop", "deploy", [other], keeps_data=True)
    assert ran == []


def test_another_user_of_the_apps_name_stays(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what bears setup's mark is removed."""
    there(monkeypatch, pwd.struct_passwd(("shop", "x", 990, 990, "The Shop", "/home/shop", "/bin/sh")))
    assert accounts.remove("shop", "", [], keeps_data=False) == ([], [])
    assert ran == []


def test_root_by_another_name_is_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the host's processes would go."""
    monkeypatch.setattr(accounts.pwd, "getpwnam", lambda _: pwd.struct_passwd(("x", "x", 0, 0, "", "/", "/bin/sh")))
    with pytest.raises(HostError, match="root"):
        accounts.end_processes("x")

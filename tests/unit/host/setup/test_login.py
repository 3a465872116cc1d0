"""What keeps the deploy user from logging in: the account, its shell, its keys; each with its repair."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from deployer.host.setup.users import login
from deployer.host.setup.users.ageing import Shadow

AS_ROOT = "as root on the host: "


def person(home: Path, shell: str = "/bin/sh") -> pwd.struct_passwd:
    return pwd.struct_passwd(("deploy", "x", os.getuid(), os.getgid(), "", str(home), shell))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of a deploy user who can log in."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/authorized_keys").write_text("")
    home.chmod(0o755)
    monkeypatch.setattr(login.conflicts, "find_user", lambda _: person(home))
    monkeypatch.setattr(login, "rules", lambda _: {})
    monkeypatch.setattr(login, "groups_of", lambda _: ["deploy"])
    monkeypatch.setattr(login.ageing, "shadow", lambda _: None)
    return home


def test_a_user_who_can_log_in_has_no_problem(home: Path) -> None:
    """The control."""
    assert login.problems("deploy") == []


@pytest.mark.cause("deploy-user-gone")
def test_a_user_who_is_gone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is looked for then."""
    monkeypatch.setattr(login.conflicts, "find_user", lambda _: None)
    assert login.problems("deploy") == [("the user deploy is gone", "fab setup -H root@HOST   (makes it again)")]


@pytest.mark.cause("nologin-file")
def test_a_host_that_lets_nobody_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admin's file, as before a shutdown."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/etc/nologin" or exists(path))
    assert login.problems("deploy") == [("/etc/nologin keeps everybody but root out", f"{AS_ROOT}rm /etc/nologin")]


@pytest.mark.cause("account-locked")
@pytest.mark.parametrize(("uses_pam", "found"), [("no", 1), ("yes", 0)])
def test_a_locked_account(home: Path, monkeypatch: pytest.MonkeyPatch, uses_pam: str, found: int) -> None:
    """Only an sshd without PAM minds."""
    locked = Shadow(password="!x", changed=1, longest=None, inactive=None, expires=None)
    monkeypatch.setattr(login.ageing, "shadow", lambda _: locked)
    monkeypatch.setattr(login, "rules", lambda _: {"usepam": [uses_pam]})
    told = login.problems("deploy")
    assert len(told) == found
    assert all("is locked" in text and "usermod --password '*' deploy" in repair for text, repair in told)


@pytest.mark.cause("shell-refuses")
@pytest.mark.cause("shell-missing")
@pytest.mark.parametrize(
    ("shell", "told"), [("/usr/sbin/nologin", "is /usr/sbin/nologin"), ("/bin/no-such-fish", "is not on this host")]
)
def test_a_shell_that_runs_no_command(home: Path, monkeypatch: pytest.MonkeyPatch, shell: str, told: str) -> None:
    """One that refuses, and one that is not there; an empty one is /bin/sh."""
    monkeypatch.setattr(login.conflicts, "find_user", lambda _: person(home, shell))
    ((text, repair),) = login.problems("deploy")
    assert told in text and repair == f"{AS_ROOT}usermod -s /bin/sh deploy"
    monkeypatch.setattr(login.conflicts, "find_user", lambda _: person(home, ""))
    assert login.problems("deploy") == []


@pytest.mark.cause("keys-missing")
@pytest.mark.cause("keys-writable-by-others")
def test_keys_that_sshd_does_not_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, or a directory on the way to it: gone, or writable by others; without StrictModes that is no matter."""
    keys = home / ".ssh/authorized_keys"
    (home / ".ssh").chmod(0o770)
    assert login.problems("deploy") == [
        (f"{home / '.ssh'} can be written by others: sshd reads no keys below it", f"{AS_ROOT}chmod go-w {home}/.ssh")
    ]
    keys.unlink()
    assert (f"{keys} is missing", "fab setup -H root@HOST   (makes it)") in login.problems("deploy")
    monkeypatch.setattr(login, "rules", lambda _: {"strictmodes": ["no"]})
    assert login.problems("deploy") == []


@pytest.mark.cause("keys-of-another-user")
def test_keys_that_belong_to_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's are fine."""
    lstat = os.lstat

    def of(owner: int) -> Any:
        def seen(path: str) -> os.stat_result:
            fields = list(lstat(path))
            return os.stat_result([*fields[:4], owner, *fields[5:]])

        return seen

    monkeypatch.setattr(login.os, "lstat", of(65534))
    text, repair = login.problems("deploy")[0]
    assert text == f"{home}/.ssh/authorized_keys belongs to another user: sshd reads no keys below it"
    assert repair == f"{AS_ROOT}chown deploy: {home}/.ssh/authorized_keys"
    monkeypatch.setattr(login.os, "lstat", of(0))
    assert login.problems("deploy") == []

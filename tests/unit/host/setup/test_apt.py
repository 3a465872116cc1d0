"""How apt is asked for packages, and what it is not allowed to do."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.setup.software import apt
from deployer.host.system.runner import CommandResult

SIMULATED = """\
Inst libpq5 (15.8-0+deb12u1 Debian:12.8/stable [amd64])
Inst libssl3 [3.0.1-1] (3.0.2-1 Debian-Security:12/stable-security [amd64])
Remv nginx-full [1.22]
Conf libpq5 (15.8 Debian:12.8/stable [amd64])
"""


def test_what_apt_would_change_besides() -> None:
    """Upgrades of others and removals are told apart from what is wanted."""
    assert apt.changes(SIMULATED, ["libpq5"]) == (["libssl3 (3.0.1-1 → 3.0.2-1)"], ["nginx-full"])
    assert apt.changes(SIMULATED, ["libpq5", "libssl3"])[0] == []


class Apt:
    """A host whose apt answers as told, by the word of the command line that names it; all calls are recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: CommandResult) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        monkeypatch.setattr(apt.runner, "run", self.run)
        monkeypatch.setattr(apt, "wait_for_lock", lambda emit: None)

    def run(self, argv: Sequence[str], **_: object) -> CommandResult:
        self.calls.append(list(argv))
        if argv[:2] == ["apt-cache", "policy"]:
            known = argv[2] != "nonsense"
            return CommandResult(0, f"{argv[2]}:\n  Candidate: 1.0\n" if known else "", "")
        for word, answer in self.answers.items():
            if (word == "command" and word in " ".join(argv)) or word in argv or (word == "simulate" and "-s" in argv):
                return answer
        return CommandResult(0, "", "")

    def emit(self, name: str, **fields: Any) -> None:
        self.events.append((name, fields))

    def refuses(self, *names: str) -> HostError:
        with pytest.raises(HostError) as caught:
            apt.install(names, self.emit)
        assert not any("-y" in call for call in self.calls) or "failed" in caught.value.message
        return caught.value


def test_nothing_is_asked_of_apt_when_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose files are left, but that was removed, is not there."""
    listed = "libpq5 installed\ngettext config-files\n"
    host = Apt(monkeypatch, **{"dpkg-query": CommandResult(1, listed, "")})
    assert apt.missing(["libpq5"]) == [] and apt.missing([]) == []
    assert apt.missing(["libpq5", "gettext", "gcc"]) == ["gettext", "gcc"]
    assert {call[0] for call in host.calls} == {"dpkg-query"}


def test_it_never_asks_and_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No question, no removal, no restart by needrestart; other packages' upgrades are said beforehand."""
    simulated = SIMULATED.replace("Remv", "Conf")
    host = Apt(monkeypatch, simulate=CommandResult(0, simulated, ""))
    apt.install(["libpq5"], host.emit)
    call = host.calls[-1]
    assert {"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "--no-remove", "-y"} <= set(call)
    assert host.events == [
        ("warn", {"text": "for libpq5, apt also upgrades libssl3 (3.0.1-1 → 3.0.2-1), and may restart what uses them"})
    ]


@pytest.mark.cause("unknown-package")
def test_a_package_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named with the host's system, before anything is installed."""
    assert Apt(monkeypatch).refuses("libpq5", "nonsense").message.startswith("there is no package nonsense for this")


@pytest.mark.cause("apt-would-remove")
def test_a_package_that_would_take_another_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused: what else runs on the host may need it."""
    error = Apt(monkeypatch, simulate=CommandResult(0, SIMULATED, "")).refuses("libpq5")
    assert error.message == "installing libpq5 would remove nginx-full from this host"


@pytest.mark.cause("no-apt")
def test_a_host_without_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution has other names: they are left to its admin."""
    assert Apt(monkeypatch, command=CommandResult(1, "", "")).refuses("libpq5").message == "this host lacks libpq5"


@pytest.mark.cause("apt-failed")
def test_apt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last lines are told."""
    error = Apt(monkeypatch, **{"--no-remove": CommandResult(100, "", "E: dpkg was interrupted")}).refuses("libpq5")
    assert error.logs == ("E: dpkg was interrupted",) and "dpkg --configure -a" in str(error.next)


HOLD = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); input()"


def test_who_holds_the_lock(tmp_path: Path) -> None:
    """The process is named; a lock that is free or not there, or held by nobody else, holds nobody up."""
    lock = tmp_path / "lock"
    assert apt.holder_of(str(lock)) == ""
    lock.touch()
    assert apt.holder_of(str(lock)) == ""
    argv = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert apt.holder_of(str(lock)).endswith(f"(process {other.pid})")
        other.communicate(b"\n")
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert apt.holder_of(str(lock)) == ""


@pytest.mark.cause("apt-busy")
def test_it_waits_for_another_apt_and_says_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once; after a quarter of an hour it gives up, and names who holds the lock."""
    now, events = [0.0], []

    def wait(holders: Callable[[str], str]) -> None:
        monkeypatch.setattr(apt, "holder_of", holders)
        pause = lambda seconds: now.__setitem__(0, now[0] + seconds)  # noqa: E731
        apt.wait_for_lock(lambda name, **fields: events.append(fields["text"]), clock=lambda: now[0], pause=pause)

    wait(lambda lock: "unattended-upgr (process 7)" if now[0] < 5 and "dpkg" in lock else "")
    assert now[0] == 5 and events == ["waiting until unattended-upgr (process 7) is done with the host's packages"]
    with pytest.raises(HostError, match="unattended-upgr has held its lock for 15 minutes"):
        wait(lambda lock: "unattended-upgr")

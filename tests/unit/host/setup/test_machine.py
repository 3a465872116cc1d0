"""What about a machine gives trouble, and what is left to its admin."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.errors import HostError
from deployer.host.setup import machine
from deployer.host.setup.machine import Machine, closed_ports, concerns, left_to_admin
from deployer.host.system.runner import CommandResult


def test_nothing_is_said_of_a_good_machine() -> None:
    """Nor of one of which nothing could be found out; swap makes up for little memory."""
    assert concerns(Machine()) == [] and left_to_admin(Machine()) == []
    assert concerns(Machine(memory=512 << 20, swap=1 << 30)) == []
    assert concerns(Machine(memory=2 << 30)) == []


@pytest.mark.cause("disk-nearly-full")
@pytest.mark.cause("inodes-nearly-gone")
@pytest.mark.cause("clock-not-synchronised")
@pytest.mark.cause("hostname-unknown")
@pytest.mark.cause("ufw-closes-port")
@pytest.mark.cause("no-swap")
@pytest.mark.cause("locale-missing")
@pytest.mark.parametrize(
    ("seen", "words", "repair", "serious"),
    [
        (Machine(memory=480 << 20), "480 MiB of memory and no swap", "swapon /swapfile", False),
        (Machine(clock=False), "clock of this host is not synchronised", "timedatectl set-ntp true", True),
        (Machine(hostname="web1", resolves=False), "name, web1, does not resolve", "'127.0.1.1 web1' >>", True),
        (Machine(locale="de_DE.UTF-8"), "locale de_DE.UTF-8", "update-locale", False),
        (Machine(disks=(("/srv", 300 << 20),)), "disk of /srv is nearly full: 300 MiB", "du -xh", True),
        (Machine(inodes=(("/srv", 1200),)), "disk of /srv can hold only 1,200 more files", "du --inodes", True),
        (Machine(closed=(443,)), "ufw keeps port 443 closed", "ufw allow 443/tcp", True),
    ],
)
def test_each_concern_has_its_repair(seen: Machine, words: str, repair: str, serious: bool) -> None:
    """And only what fails sooner or later is serious: the rest is told as a note."""
    (found,) = concerns(seen)
    assert words in found.text and repair in found.repair and found.serious is serious


def test_what_is_left_to_the_admin_is_said() -> None:
    """Updates and a firewall: setup installs neither."""
    told = left_to_admin(Machine(updates=False, firewall=False))
    assert "unattended-upgrades" in told[0] and "no firewall" in told[1]


RULES = """\
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
-A ufw-user-input -p tcp -m multiport --dports 80,8000:8010 -j ACCEPT -m comment --comment 'dapp_Nginx'
-A ufw-user-input -p tcp --dport 443 -j DROP
"""


def test_the_ports_that_ufw_keeps_closed() -> None:
    """Rules for one port, for several and for ranges; one that denies opens nothing."""
    assert closed_ports(True, RULES, [22, 80, 443, 8005, 9000]) == [443, 9000]
    assert closed_ports(False, RULES, [443]) == []


def test_looking_never_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host on which nothing can be asked, or a name server that never answers, holds nobody up."""

    def run(argv: list[str], **options: float) -> CommandResult:
        raise HostError(f"{argv[0]} did not end")

    def unreadable() -> None:
        raise OSError("no /proc")

    monkeypatch.setattr(machine.runner, "run", run)
    monkeypatch.setattr(machine.systemd, "show", run)
    monkeypatch.setattr(machine, "_UFW", tmp_path)
    monkeypatch.setattr(machine.proc, "memory", unreadable)
    seen = machine.look([80])
    assert (seen.memory, seen.clock, seen.resolves, seen.closed) == (0, True, False, ())


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is left, and it is a small share; of one file system it is told once. Inodes are no room."""

    class Status:
        f_frsize, f_blocks, f_bavail = 1 << 20, 100_000, 100_000
        f_files, f_favail = 1_000_000, 1_000_000

    def seen() -> tuple[list[str], list[str]]:
        disks = list(machine._disks())
        full, without = machine._is_full, machine._lacks_inodes
        return [path for path, one in disks if full(one)], [path for path, one in disks if without(one)]

    monkeypatch.setattr(machine.os, "statvfs", lambda path: Status())
    assert seen() == ([], [])
    Status.f_bavail = 1000
    assert seen() == (["/"], [])
    Status.f_bavail, Status.f_favail = 100_000, 40_000
    assert seen() == ([], ["/"])
    Status.f_files = Status.f_favail = 0
    assert seen() == ([], []), "btrfs counts none"


@pytest.mark.parametrize(
    ("rule", "opens"),
    [
        ("-A ufw-user-input -p tcp --dport 80 -j ACCEPT", True),
        ("-A ufw-user-input -p tcp -m multiport --dports 80,443 -j ACCEPT -m comment --comment 'dapp_Nginx'", True),
        ("-A ufw-user-input -p tcp -m multiport --dports 70:90 -j ACCEPT", True),
        ("-A ufw-user-input -p tcp --dport 80 -j ufw-user-limit-accept", True),  # ufw limit
        ("-A ufw-user-input -p tcp --dport 80 -s 10.0.0.0/8 -j ACCEPT", True),  # from a load balancer
        ("-A ufw-user-input -p tcp -d 10.0.0.5 --dport 80 -j ACCEPT", True),
        ("-A ufw-user-input -s 10.1.0.0/16 -j ACCEPT", True),
        ("-A ufw-user-input -p tcp -s 10.9.0.0/16 -j ACCEPT", True),
        ("-A ufw-user-input -i eth1 -j ACCEPT", True),
        ("-A ufw-user-input -p udp --dport 80 -j ACCEPT", False),
        ("-A ufw-user-input -p udp -s 10.9.0.0/16 -j ACCEPT", False),
        ("-A ufw-user-input -p tcp --dport 8080 -j ACCEPT", False),
        ("-A ufw-user-input -p tcp --dport 80 -j DROP", False),
        ("-A ufw-user-input -p tcp --dport 80 -j REJECT --reject-with tcp-reset", False),
        ("-A ufw-user-input -p tcp --dport 80 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 "
         "-j ufw-user-limit", False),
        ("-A ufw-user-input -p tcp --dport 80 -j ufw-user-logging-input", False),
        ("-A ufw-user-logging-input -p tcp --dport 80 -j RETURN", False),
        ("-A ufw-user-forward -p tcp --dport 80 -j ACCEPT", False),
        ("-A ufw-user-input -p tcp --dport http -j ACCEPT", False),  # nobody's, but no reason to fail
        ("-A", False),
    ],
)  # fmt: skip
def test_a_rule_as_ufw_writes_it(rule: str, opens: bool) -> None:
    """Of ufw 0.36.2: one that lets anybody in over TCP opens the port."""
    assert closed_ports(True, f"### RULES ###\n\n{rule}\n", [80]) == ([] if opens else [80])

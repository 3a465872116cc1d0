"""The machine itself: what about it will give trouble one day, and what is left to its admin.

Nothing here is changed: memory, clock, names, firewall and updates belong to whoever runs the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Callable

from deployer.host.errors import HostError
from deployer.host.system import files, proc, runner, systemd
from deployer.wire.advice import do
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern
from deployer.wire.sizes import size

_SMALL = 1000 << 20
"""Bytes of memory below which two releases side by side, or a build, may need swap."""
_FULL, _LITTLE = 0.05, 2 << 30
"""A disk is nearly full when less than this share of it and fewer bytes are free."""
_FEW = 50_000
"""The same of inodes."""
_DISKS = ("/", "/srv", "/var/lib", "/var/log")
_UFW = Path("/etc/ufw")
_LANGUAGE = pattern(r'^\s*LANG="?([A-Za-z0-9_.@-]+)', re.MULTILINE)

_AS_ROOT = "as root on the host: "
DISK_FULL = Cause(
    "disk-nearly-full",
    "on the file system of `/`, `/srv`, `/var/lib` or `/var/log` less than 5% and less than 2 GiB are free",
    "the disk of {path} is nearly full: {free} are free",
    do(_AS_ROOT + "du -xh --max-depth=2 {path} | sort -h | tail"),
)
NO_INODES = Cause(
    "inodes-nearly-gone",
    "on one of these file systems less than 5% of the inodes, and fewer than 50,000, are free",
    "the disk of {path} can hold only {free} more files: its inodes are nearly used up",
    do(_AS_ROOT + "du --inodes -xh --max-depth=2 {path} | sort -h | tail"),
)
CLOCK_OFF = Cause(
    "clock-not-synchronised",
    "`timedatectl` says so, and the host is no container",
    "the clock of this host is not synchronised: certificates and signed cookies fail when it is wrong",
    do(_AS_ROOT + "apt-get install systemd-timesyncd; timedatectl set-ntp true"),
)
NAMELESS = Cause(
    "hostname-unknown",
    "`getent hosts` does not find the host's own name",
    "the host's own name, {hostname}, does not resolve: sudo, and whatever asks for it, waits for that",
    do(_AS_ROOT + "echo '127.0.1.1 {hostname}' >> /etc/hosts"),
)
PORT_CLOSED = Cause(
    "ufw-closes-port",
    "ufw is enabled, and no rule of it opens a port of the app's site",
    "ufw keeps port {port} closed, on which the app's site listens: no visitor gets in",
    do(_AS_ROOT + "ufw allow {port}/tcp"),
)
NO_SWAP = Cause(
    "no-swap",
    "the host has less than 1,000 MiB of memory, and no swap: a note, no finding",
    "this host has {memory} of memory and no swap: two releases side by side, or a build, may fail",
    do(
        _AS_ROOT + "fallocate -l 1G /swapfile; chmod 600 /swapfile; mkswap /swapfile; swapon /swapfile; "
        "echo '/swapfile none swap sw 0 0' >> /etc/fstab; or overlap = false under [web]"
    ),
)
NO_LOCALE = Cause(
    "locale-missing",
    "the locale that the host is set to is not among those of `locale -a`: a note, no finding",
    "the locale {locale}, which this host is set to, is not there: programs warn, and sort differently",
    do(_AS_ROOT + "update-locale LANG=C.UTF-8"),
)
CAUSES = (DISK_FULL, NO_INODES, CLOCK_OFF, NAMELESS, PORT_CLOSED, NO_SWAP, NO_LOCALE)


@dataclass(frozen=True)
class Machine:
    """What was seen. Bytes; ``disks`` are those that are nearly full, with what is free; ``inodes`` those that can hold
    few more files, with how many; ``closed`` the ports that ufw keeps closed; ``locale`` is one that is set and not
    there."""

    memory: int = 0
    swap: int = 0
    clock: bool = True
    hostname: str = ""
    resolves: bool = True
    locale: str = ""
    disks: tuple[tuple[str, int], ...] = ()
    inodes: tuple[tuple[str, int], ...] = ()
    closed: tuple[int, ...] = ()
    firewall: bool = True
    updates: bool = True


@dataclass(frozen=True)
class Concern:
    """``what`` is its subject, ``repair`` what an admin does. ``serious``: something fails sooner or later."""

    what: str
    text: str
    repair: str
    serious: bool = field(default=True)

    def __str__(self) -> str:
        return f"{self.text}; {self.repair}"


def concerns(machine: Machine) -> list[Concern]:
    """What about a machine gives trouble. Pure."""
    return list(_concerns(machine))


def _concerns(seen: Machine) -> Iterator[Concern]:
    for path, free in seen.disks:
        yield Concern(path, *DISK_FULL.finding(path=path, free=size(free)))
    for path, free in seen.inodes:
        yield Concern(path, *NO_INODES.finding(path=path, free=f"{free:,}"))
    if not seen.clock:
        yield Concern("clock", *CLOCK_OFF.finding())
    if not seen.resolves:
        yield Concern("hostname", *NAMELESS.finding(hostname=seen.hostname))
    for port in seen.closed:
        yield Concern("ufw", *PORT_CLOSED.finding(port=port))
    if 0 < seen.memory < _SMALL and not seen.swap:
        yield Concern("swap", *NO_SWAP.finding(memory=size(seen.memory)), serious=False)
    if seen.locale:
        yield Concern("locale", *NO_LOCALE.finding(locale=seen.locale), serious=False)


def left_to_admin(machine: Machine) -> list[str]:
    """What a server should have, this one has not, and setup does not do. Pure."""
    updates = "security updates do not install themselves (apt-get install unattended-upgrades)"
    firewall = "no firewall runs (ufw, nftables, firewalld), unless there is one in front of this host"
    return [*([] if machine.updates else [updates]), *([] if machine.firewall else [firewall])]


def look(ports: Sequence[int]) -> Machine:
    """What there is to see. What cannot be found out counts as good; never raises."""
    memory, swap = _memory()
    disks = list(_disks())
    hostname = os.uname().nodename
    return Machine(
        memory=memory,
        swap=swap,
        clock=_ask(_clock_is_right),
        hostname=hostname,
        resolves=_ask(lambda: runner.run(["getent", "hosts", hostname], timeout=5).status != 2, late=False),
        locale=_missing_locale(),
        disks=tuple((path, status.f_bavail * status.f_frsize) for path, status in disks if _is_full(status)),
        inodes=tuple((path, status.f_favail) for path, status in disks if _lacks_inodes(status)),
        closed=tuple(closed_ports(*_ufw(), ports)),
        firewall=_ask(_has_firewall),
        updates=_ask(_has_updates),
    )


def _ask(question: Callable[[], bool], *, late: bool = True) -> bool:
    """``late`` is the answer when none comes, or it cannot be asked."""
    try:
        return question()
    except (HostError, OSError):
        return late


def _memory() -> tuple[int, int]:
    with contextlib.suppress(OSError):
        return proc.memory().total, proc.swap()
    return 0, 0


def _clock_is_right() -> bool:
    """In a container the clock is another machine's."""
    if runner.run(["systemd-detect-virt", "--quiet", "--container"]).ok:
        return True
    return runner.run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"]).out.strip() != "no"


def _missing_locale() -> str:
    with contextlib.suppress(HostError, OSError):
        for path in ("/etc/default/locale", "/etc/locale.conf"):
            found = _LANGUAGE.search(files.read_text(Path(path))) if Path(path).exists() else None
            if found:
                there = {_plain(name) for name in runner.run(["locale", "-a"]).out.split()}
                return "" if not there or _plain(found[1]) in {*there, "c", "posix", "cutf8"} else found[1]
    return ""


def _plain(locale: str) -> str:
    """``en_US.UTF-8`` and ``en_US.utf8`` are one."""
    return re.sub(r"[-.]", "", locale.lower())


def _disks() -> Iterator[tuple[str, os.statvfs_result]]:
    """The file systems that an app lies on, each once."""
    seen = set()
    for path in _DISKS:
        with contextlib.suppress(OSError):
            device = os.stat(path).st_dev
            if device not in seen:
                yield path, os.statvfs(path)
            seen.add(device)


def _is_full(status: os.statvfs_result) -> bool:
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    return free < min(total * _FULL, _LITTLE)


def _lacks_inodes(status: os.statvfs_result) -> bool:
    """Not where they are not counted."""
    return status.f_files > 0 and status.f_favail < min(status.f_files * _FULL, _FEW)


def _ufw() -> tuple[bool, str]:
    """Whether ufw keeps out what no rule lets in; and its rules."""
    with contextlib.suppress(OSError):
        enabled = re.search(r"^ENABLED=yes", files.read_text(_UFW / "ufw.conf"), re.MULTILINE)
        policy = re.search(r'^DEFAULT_INPUT_POLICY="?(\w+)', files.read_text(Path("/etc/default/ufw")), re.MULTILINE)
        closes = bool(enabled) and (policy is None or policy[1] != "ACCEPT")
        return closes, files.read_text(_UFW / "user.rules") if closes else ""
    return False, ""


def closed_ports(closes: bool, rules: str, ports: Sequence[int]) -> list[int]:
    """The ports that no rule of ufw opens. Pure."""
    ranges = [part.partition(":") for rule in rules.splitlines() for part in _opened_by(rule).split(",") if part]
    opened = [(int(first), int(last or first)) for first, _, last in ranges if f"{first}{last}".isdecimal()]
    return [port for port in ports if closes and not any(low <= port <= high for low, high in opened)]


def _opened_by(rule: str) -> str:
    """The TCP ports that a rule lets somebody in at, as it has them: from everywhere, or from a load balancer alone."""
    chain, *words = [*rule.removeprefix("-A ").split(), ""]
    options = dict(reversed([*zip(words, words[1:])]))  # the first of each: a comment comes last
    lets_in = chain == "ufw-user-input" and options.get("-j") in ("ACCEPT", "ufw-user-limit-accept")
    if not lets_in or options.get("-p", "tcp") != "tcp":
        return ""
    return options.get("--dport") or options.get("--dports") or "1:65535"


def _has_firewall() -> bool:
    if _ufw()[0]:
        return True
    return any(systemd.show(f"{name}.service").active == "active" for name in ("nftables", "firewalld"))


def _has_updates() -> bool:
    if not Path("/usr/bin/apt-get").exists():
        return True
    periodic = runner.run(["apt-config", "dump", "APT::Periodic::Unattended-Upgrade"]).out
    return Path("/usr/bin/unattended-upgrade").exists() and not periodic.strip().endswith('"0";')

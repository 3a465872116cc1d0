"""The distribution's packages: which are missing, and how apt is asked for them.

apt is asked for nothing when all are there, never removes anything, and says beforehand what else it upgrades.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from deployer.host.errors import HostError
from deployer.host.state.app import Emit
from deployer.host.system import runner, systemd
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.lazyre import pattern

LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
WAIT = 900.0
"""Seconds to wait for another apt, such as unattended-upgrades on a new machine's first day."""
_SETTINGS = (
    "DEBIAN_FRONTEND=noninteractive",
    "NEEDRESTART_SUSPEND=1",  # it would restart services that use an upgraded library
    "APT_LISTCHANGES_FRONTEND=none",
    "DEBIAN_PRIORITY=critical",
)
_APT = (
    "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
_CHANGED = pattern(r"(Inst|Remv) (\S+)(?: \[([^\]]*)\])?(?: \((\S+))?.*")
_FLOCK = "hhqqi4x"
"""``struct flock`` (fcntl(2)) on 64-bit Linux: type, whence, start, length, pid."""

NO_APT = Cause(
    "no-apt",
    "packages are missing on a host that has no apt",
    "this host lacks {packages}",
    do("install them with the host's package manager, under the names that they have there; then")
    + run("fab setup -H root@HOST", "again"),
)
UNKNOWN_PACKAGE = Cause(
    "unknown-package",
    "a name in `packages` is in none of the host's package lists",
    "there is no package {packages} for this host ({system})",
    do("correct packages under [host] in deploy.toml: the name differs between releases of Debian "
       "(https://packages.debian.org); or add the repository that has it, as root on the host; then")
    + run("fab setup -H root@HOST", "again"),
)  # fmt: skip
PACKAGES_BUSY = Cause(
    "apt-busy",
    "another apt or dpkg has held its lock for 15 minutes",
    "the package manager of this host is busy: {holder} has held its lock for {minutes:.0f} minutes",
    do("let it finish, or look at what it waits for (on the host, as root: ps aux | grep -E 'apt|dpkg'); then")
    + run("fab setup -H root@HOST", "goes on where it stopped"),
)
WOULD_REMOVE = Cause(
    "apt-would-remove",
    "apt would have to remove packages of the host to install those that are wanted",
    "installing {packages} would remove {removed} from this host",
    do("take one of them out of packages under [host] in deploy.toml, or make room for it yourself, as root on the "
       "host: apt-get install {packages}; then") + run("fab setup -H root@HOST", "again"),
)  # fmt: skip
APT_FAILED = Cause(
    "apt-failed",
    "apt-get install fails for none of these causes",
    "apt-get install {packages} failed",
    do("its last lines are above; a half-finished upgrade is finished, as root on the host, by: dpkg --configure -a; "
       "then") + run("fab setup -H root@HOST", "goes on where it stopped"),
)  # fmt: skip
CAUSES = (NO_APT, UNKNOWN_PACKAGE, PACKAGES_BUSY, WOULD_REMOVE, APT_FAILED)


def missing(names: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    if not names:
        return []
    status = dict.fromkeys(names, "")
    with contextlib.suppress(HostError):  # no dpkg: none is
        done = runner.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *names])
        for line in done.out.splitlines():
            name, _, state = line.partition(" ")
            status[name] = state
    return [name for name in names if status[name] != "installed"]


def install(names: Sequence[str], emit: Emit, *, unstarted: str = "") -> None:
    """Install packages from the distribution's lists, which are brought up to date before. Raises HostError.

    ``unstarted`` is a unit of theirs that is not started meanwhile: it would listen where nobody asked it to.
    """
    listed = " ".join(names)
    if not runner.run(["sh", "-c", "command -v apt-get"]).ok:
        raise HostError(**NO_APT.told(packages=", ".join(names)))
    wait_for_lock(emit)
    updated = _apt("update")  # may fail for a repository that is not needed
    unknown = [name for name in names if not has_candidate(name)]
    if unknown:
        told = UNKNOWN_PACKAGE.told(packages=", ".join(unknown), system=_system())
        raise HostError(**told, logs=updated.tail(10))
    upgraded, removed = changes(_apt("-s", "--no-install-recommends", "install", *names).out, names)
    if removed:
        raise HostError(**WOULD_REMOVE.told(packages=listed, removed=", ".join(removed)))
    if upgraded:
        emit("warn", text=f"for {listed}, apt also upgrades {', '.join(upgraded)}, and may restart what uses them")
    wait_for_lock(emit)
    with _masked(unstarted):
        done = _apt("-y", "--no-remove", "--no-install-recommends", "install", *names)
    if not done.ok:
        raise HostError(**APT_FAILED.told(packages=listed), logs=[*updated.tail(10), *done.tail()])


@contextlib.contextmanager
def _masked(unit: str) -> Iterator[None]:
    """In the block nothing can start the unit (empty: any can); a host that goes down meanwhile forgets it."""
    if unit:
        systemd.require("mask", "--runtime", unit)
    try:
        yield
    finally:
        if unit:
            systemd.require("unmask", "--runtime", unit)


def changes(simulated: str, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """What ``apt-get -s install`` says it would upgrade besides what is ``wanted``, and what it would remove. Pure."""
    upgraded, removed = [], []
    for line in simulated.splitlines():
        match = _CHANGED.fullmatch(line)
        if match and match[1] == "Remv":
            removed.append(match[2])
        elif match and match[3] and match[2] not in wanted:
            upgraded.append(f"{match[2]} ({match[3]} → {match[4]})")
    return upgraded, removed


def _apt(*words: str) -> runner.CommandResult:
    return runner.run(["env", *_SETTINGS, *_APT, *words], timeout=1800)


def has_candidate(name: str) -> bool:
    """Whether the lists have a package of just that name: apt-get itself would take some names for patterns."""
    done = runner.run(["apt-cache", "policy", name])
    found = re.search(r"^  Candidate: (\S+)", done.out, re.MULTILINE)
    if done.out.startswith(f"{name}:") and found and found[1] != "(none)":
        return True
    provided = runner.run(["apt-cache", "showpkg", name])
    return bool(re.search(r"^Reverse Provides: *\n\S", provided.out, re.MULTILINE))


def _system() -> str:
    with contextlib.suppress(OSError):
        found = re.search(rb'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_bytes(), re.MULTILINE)
        return found[1].decode("utf-8", "replace") if found else "unknown"
    return "unknown"


def wait_for_lock(
    emit: Emit,
    locks: Sequence[str] = LOCKS,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no other apt or dpkg runs, and say for whom. Raises HostError after WAIT seconds."""
    started, told = clock(), ""
    while holder := next(filter(None, map(holder_of, locks)), ""):
        if clock() - started > WAIT:
            raise HostError(**PACKAGES_BUSY.told(holder=holder, minutes=WAIT / 60))
        if holder != told:
            emit("warn", text=f"waiting until {holder} is done with the host's packages")
            told = holder
        pause(1.0)


def holder_of(lock: str) -> str:
    """The process that holds a lock file of apt's, for people; empty when it is free."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return "" if kind == fcntl.F_UNLCK else _name_of(pid)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        names = [os.path.basename(word) for word in command[:2] if word and not word.startswith("-")]
        return f"{' '.join(names)} (process {pid})" if names else f"process {pid}"
    return f"process {pid}"

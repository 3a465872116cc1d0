"""Exit statuses of systemd's own: the program of a unit was never started, and why (systemd.exec(5))."""

from __future__ import annotations

from deployer.host.errors import HostError
from deployer.host.system import journald, runner
from deployer.wire.advice import do, run
from deployer.wire.lazydata import dataclass

_SPAWN_FAILED = "641257651c1b4ec9a8624d7a40a9e1e7"
"""The journal's MESSAGE_ID of "Failed at step …" (sd-messages(3)): it was systemd, not the program."""

_PROJECT, _HOST = "project", "host"
_STATUSES: dict[int, tuple[str, str, str]] = {
    200: ("CHDIR", "it cannot enter the working directory", _HOST),
    201: ("NICE", "it cannot set the scheduling priority (Nice=)", _PROJECT),
    202: ("FDS", "it cannot set up file descriptors", _HOST),
    203: ("EXEC", "the program cannot be executed", _PROJECT),
    204: ("MEMORY", "the host had no memory left to start it", _HOST),
    205: ("LIMITS", "it cannot set a limit (Limit…=): the host allows no more", _PROJECT),
    206: ("OOM_ADJUST", "it cannot set OOMScoreAdjust=", _PROJECT),
    207: ("SIGNAL_MASK", "it cannot set the signal mask", _HOST),
    208: ("STDIN", "it cannot set up the standard input", _HOST),
    209: ("STDOUT", "it cannot set up the standard output: is journald running?", _HOST),
    210: ("CHROOT", "it cannot change its root directory", _HOST),
    211: ("IOPRIO", "it cannot set the I/O priority (IOScheduling…=)", _PROJECT),
    212: ("TIMERSLACK", "it cannot set TimerSlackNSec=", _PROJECT),
    213: ("SECUREBITS", "it cannot set the secure bits", _HOST),
    214: ("SETSCHEDULER", "it cannot set the CPU scheduling (CPUScheduling…=)", _PROJECT),
    215: ("CPUAFFINITY", "it cannot set CPUAffinity=", _PROJECT),
    216: ("GROUP", "it cannot change to its group: does the group exist?", _HOST),
    217: ("USER", "it cannot change to its user, or set up a user namespace", _HOST),
    218: ("CAPABILITIES", "it cannot give up capabilities", _HOST),
    219: ("CGROUP", "it cannot enter its control group", _HOST),
    220: ("SETSID", "it cannot begin a session", _HOST),
    221: ("CONFIRM", "it waits for confirmation", _HOST),
    222: ("STDERR", "it cannot set up the standard error", _HOST),
    224: ("PAM", "it cannot set up its PAM session", _HOST),
    225: ("NETWORK", "it cannot set up a network namespace", _HOST),
    226: ("NAMESPACE", "it cannot set up a mount, UTS or IPC namespace", _HOST),
    227: ("NO_NEW_PRIVILEGES", "it cannot set NoNewPrivileges=", _HOST),
    228: ("SECCOMP", "it cannot set up a filter of system calls", _HOST),
    229: ("SELINUX_CONTEXT", "it cannot set its SELinux context", _HOST),
    230: ("PERSONALITY", "it cannot set the execution domain (Personality=, LockPersonality=)", _HOST),
    231: ("APPARMOR", "it cannot change its AppArmor profile", _HOST),
    232: ("ADDRESS_FAMILIES", "it cannot restrict address families", _HOST),
    233: ("RUNTIME_DIRECTORY", "it cannot make its directory in /run", _HOST),
    235: ("CHOWN", "it cannot set the owner of a socket", _HOST),
    236: ("SMACK_PROCESS_LABEL", "it cannot set its SMACK label", _HOST),
    237: ("KEYRING", "it cannot set up the kernel keyring", _HOST),
    238: ("STATE_DIRECTORY", "it cannot make its directory in /var/lib", _HOST),
    239: ("CACHE_DIRECTORY", "it cannot make its directory in /var/cache", _HOST),
    240: ("LOGS_DIRECTORY", "it cannot make its directory in /var/log", _HOST),
    241: ("CONFIGURATION_DIRECTORY", "it cannot make its directory in /etc", _HOST),
    242: ("NUMA_POLICY", "it cannot set the NUMA policy", _PROJECT),
    243: ("CREDENTIALS", "it cannot set up its credentials", _HOST),
    244: ("BPF", "it cannot apply a filter in BPF", _HOST),
}
"""By status: systemd's name, its meaning, and who can fix it. 223 and 234 are unused."""


@dataclass(frozen=True)
class NotStarted:
    """A unit whose program never ran. ``by_host``: nothing in the project can fix it."""

    status: int
    name: str
    text: str
    by_host: bool

    def __str__(self) -> str:
        return f"{self.text} (systemd's status {self.status}/{self.name})"


def meaning(status: int) -> NotStarted | None:
    """The meaning of a status of systemd's own; None for any other."""
    if status not in _STATUSES:
        return None
    name, text, whose = _STATUSES[status]
    return NotStarted(status, name, text, whose == _HOST)


def not_started(unit: str, status: int, since: float = 0.0) -> NotStarted | None:
    """The meaning of ``status`` if systemd itself reported it for ``unit``: a program may exit with any status.

    ``since`` (seconds since 1970) ignores what was reported before. Raises HostError when the journal cannot be read.
    """
    found = meaning(status)
    return found if found and _failed_to_start(unit, since) else None


def _failed_to_start(unit: str, since: float) -> bool:
    """Whether the journal says that systemd could not start a process of the unit."""
    asked = ["journalctl", "--no-pager", "-q", "-u", unit, f"MESSAGE_ID={_SPAWN_FAILED}", "-n", "1"]
    return bool(runner.run([*asked, f"--since=@{int(since)}"]).out)


def refuse_if_not_started(what: str, unit: str, status: int, since: float = 0.0) -> None:
    """Raises HostError when the program of a unit never ran: its output cannot be the reason then."""
    found = not_started(unit, status, since)
    if found is None:
        return
    if found.by_host:
        how = run("fab setup -H root@HOST", "leaves out the confinement that this host cannot apply")
    else:
        how = do("correct the program, or the unit table in deploy.toml, that the lines above name; then")
    next = how + run("fab deploy")
    raise HostError(f"{what} could not be started on this host: {found}", logs=journald.own_lines(unit, 10), next=next)

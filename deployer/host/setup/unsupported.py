"""Find the confinement directives that this host does not support (a container, an old kernel), by trying them.

systemd does not start a unit at all when one of its directives fails.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.system import runner, systemd
from deployer.host.units import confinement
from deployer.wire.advice import run

EXPOSED: Mapping[str, str] = {
    "NoNewPrivileges": "a set-uid program such as su can raise the app's rights",
    "CapabilityBoundingSet": "the app may get capabilities from a program that has them",
    "AmbientCapabilities": "the app keeps capabilities that it was started with",
    "ProtectSystem": "the app can write wherever file permissions let its user write",
    "ProtectHome": "the app can read what file permissions let its user read in /home and /root",
    "InaccessiblePaths": "the app can talk to the host's services, such as a user's bus or a container engine",
    "ProtectProc": "the app can see the processes of other users and their command lines",
    "PrivateTmp": "the app shares /tmp and /var/tmp with everybody",
    "RestrictSUIDSGID": "the app can make set-uid files of its own user",
    "SystemCallFilter": "the app can make every system call, not only those that a service needs",
    "SystemCallArchitectures": "the app can make the system calls of other architectures",
    "RestrictNamespaces": "the app can make namespaces, through which kernel flaws are reached",
    "RestrictAddressFamilies": "the app can open sockets of every kind, not only of IP and Unix",
    "PrivateDevices": "the app sees the host's devices, as far as their permissions go",
    "DevicePolicy": "the app sees the host's devices, as far as their permissions go",
    "ProtectControlGroups": "the app can write to control groups that file permissions leave open",
    "ProtectKernelTunables": "the app can write to /proc/sys and /sys where file permissions leave them open",
    "ProtectKernelModules": "the app can read the kernel's modules",
    "KeyringMode": "the app shares the kernel keyring of its user",
    "UMask": "files that the app makes can be read by other users",
    "TemporaryFileSystem": "the app shares /dev/shm with everybody",
    "PrivateIPC": "the app shares System V memory and message queues with everybody",
    "RemoveIPC": "what the app leaves in shared memory stays there",
    "ProtectKernelLogs": "the app can read the kernel's log where the host lets everybody read it",
    "MemoryDenyWriteExecute": "a flaw in the app can run code from memory that it wrote",
    "LockPersonality": "the app can change its execution domain",
    "RestrictRealtime": "the app can ask for real-time scheduling",
    "ProtectClock": "the app could set the clock if it became root",
    "SystemCallErrorNumber": "a system call that is not allowed ends the app instead of failing",
    "ProtectHostname": "the app could set the host name if it became root",
    "ProcSubset": "the app can read what /proc tells of the host",
    "PrivateUsers": "the app has no user namespace of its own: if it became root it would be the host's",
}
"""What the app can do without each directive; the one to give up first comes last."""

_PROGRAM = ("/usr/bin/python3", "-I", "-c", "pass")
_NUMBERS = itertools.count(1)
Works = Callable[["frozenset[str]"], bool]


def find(app: str, deploy_user: str) -> tuple[str, ...]:
    """The directives to leave out, by name or as ``Name=value``, so that everything of an app starts here.

    Raises HostError when nothing starts even without any.
    """
    without: tuple[str, ...] = ()
    for user, kind in _users(app, deploy_user):
        without += _find(app, user, kind, without)
    return tuple(sorted(without))


def _find(app: str, user: str, kind: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The directives that one user's units cannot have here, besides ``known``."""

    def works(more: frozenset[str]) -> bool:
        return not _starts(app, user, kind, more.union(known))

    candidates = [one for one in _candidates(kind) if one not in known]
    if works(frozenset()) or works(frozenset()):  # tried twice: systemd may have been busy
        return ()
    if not works(frozenset(candidates)):
        raise _nothing_starts(app, user, kind)
    return search(candidates, works)


def problem(app: str, deploy_user: str, without: Sequence[str]) -> str:
    """Why the app would not start now with the confinement except ``without``; empty when it would."""
    for user, kind in _users(app, deploy_user):
        why = _starts(app, user, kind, frozenset(without)) and _starts(app, user, kind, frozenset(without))
        if why:
            return f"{'a build' if kind == 'build' else 'the app'} cannot be started as {user}: {why}"
    return ""


def notes(without: Sequence[str]) -> list[str]:
    """A sentence for each directive that is left out: what the app can do on this host because of that."""
    return [
        f"this host cannot confine the app fully: without {one} {EXPOSED.get(_name(one), 'it is confined less')}"
        for one in without
    ]


def _name(line: str) -> str:
    return line.partition("=")[0]


def search(candidates: Sequence[str], works: Works) -> tuple[str, ...]:
    """The fewest of the candidates, most valuable first, that must be left out. Pure except for ``works``.

    Known before: with all candidates nothing works, with none everything does. Candidates are added, as many as
    possible at a time, until one fails together with those before it; that one is left out. When several are left out,
    a single one may be the cause of all these failures, and is then left out instead.
    """
    kept: list[str] = []
    rest = list(candidates)
    dropped: list[str] = []

    def supports(lines: Sequence[str]) -> bool:
        return works(frozenset(candidates).difference(lines))

    while rest and (not dropped or not supports([*kept, *rest])):
        low, high = 0, len(rest)  # kept and the first ``low`` work, kept and the first ``high`` do not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if supports([*kept, *rest[:middle]]) else (low, middle)
        kept += rest[:low]
        dropped.append(rest[low])
        rest = rest[high:]
    if len(dropped) > 1:
        for one in reversed(candidates):
            if works(frozenset({one})):
                return (one,)
    return tuple(dropped)


def _users(app: str, deploy_user: str) -> list[tuple[str, str]]:
    """Each user that runs parts of an app, with a kind of unit that has all directives of that user's other units."""
    return [(app, "web"), (deploy_user, "build")]


def _candidates(kind: str) -> list[str]:
    """What can be left out, most valuable first. Each value of a repeated directive is a candidate."""
    lines = confinement.lines(kind)
    names = [name for name, _ in lines]
    texts = [name if names.count(name) == 1 else f"{name}={value}" for name, value in lines]
    value = {name: rank for rank, name in enumerate(EXPOSED, 1)}
    return sorted(texts, key=lambda text: value.get(_name(text), 0))


def _starts(app: str, user: str, kind: str, without: frozenset[str]) -> str:
    """Start a program in a unit of that kind. Why it did not run; empty when it did. Raises HostError."""
    unit = f"deployer-{app}.probe-{os.getpid()}-{next(_NUMBERS)}.service"
    lines = confinement.lines(kind, without=without | confinement.unknown_to(systemd.version()))
    state = [f"StateDirectory={app}", "StateDirectoryMode=0700"] if user == app else []
    properties = [f"User={user}", *state, *(f"{name}={value}" for name, value in lines)]
    done = runner.run(systemd.transient(unit, properties, _PROGRAM, wait=True))
    if done.ok:
        return ""
    found = exitstatus.meaning(done.status)
    return str(found) if found else f"exit status {done.status} {' '.join(done.tail(1))}".strip()


def _nothing_starts(app: str, user: str, kind: str) -> HostError:
    why = _starts(app, user, kind, frozenset(_candidates(kind)))
    return HostError(
        f"systemd cannot start a process as {user} on this host, not even without any confinement: {why}",
        next=run("journalctl -b -n 50", "as root on the host: says why") + run("fab setup -H root@HOST", "again"),
    )

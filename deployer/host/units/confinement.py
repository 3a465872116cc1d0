"""What everything that runs an app's code is confined to: one list of unit lines, and how each kind differs.

``systemd-analyze security`` of each kind is in docs/reference/confinement.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployer.host.state.app import Context
from deployer.host.system import systemd
from deployer.wire.lazydata import dataclass

Line = tuple[str, str]
Overrides = Iterable[tuple[str, tuple[str, ...]]]

KINDS = ("web", "worker", "timer", "migrate", "check", "run", "build")
"""``run`` is what ``fab run`` starts. All but ``build`` run as the app's user, ``build`` as the deploy user."""

_SERVICES = (
    "/run/user", "/run/dbus", "/run/systemd/private", "/run/docker.sock", "/run/docker", "/run/containerd",
    "/run/podman", "/run/crio", "/run/lxd", "/run/incus", "/run/libvirt", "/run/snapd.socket",
    "/run/snapd-snap.socket", "/run/screen", "/var/lib/lxd/unix.socket", "/var/lib/incus/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
)  # fmt: skip
"""Services that start programs for any client, which would run outside the confinement: the buses, systemd itself,
container engines, screen sessions. Paths that the host lacks are skipped."""

LINES: tuple[Line, ...] = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateIPC", "yes"),
    ("TemporaryFileSystem", "/dev/shm:mode=1777,nosuid,nodev"),
    ("InaccessiblePaths", " ".join(f"-{path}" for path in _SERVICES)),
    ("DevicePolicy", "closed"),
    ("PrivateUsers", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@resources"),
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0077"),
)
"""Without ``~@privileged``: with it gunicorn cannot chown its worker files and dies."""


@dataclass(frozen=True)
class Difference:
    """The values of a directive for one kind, in place of those in LINES."""

    directive: str
    values: tuple[str, ...]
    why: str


DIFFERENCES: Mapping[str, tuple[Difference, ...]] = {
    "build": (
        Difference("ProtectHome", ("tmpfs",), "SSH's client files are shown in it, to fetch private dependencies"),
        Difference("MemoryDenyWriteExecute", ("no",), "node compiles JavaScript in memory"),
        Difference("ProcSubset", ("all",), "node and compilers count the processors and the memory in /proc"),
        Difference(
            "RestrictAddressFamilies",
            ("AF_UNIX AF_INET AF_INET6 AF_NETLINK",),
            "node lists the network interfaces through netlink",
        ),
        Difference("SystemCallFilter", ("@system-service",), "compilers raise their own stack limit"),
        Difference("UMask", ("0022",), "the app's user reads what the deploy user builds"),
    ),
}
"""A kind that is not named differs in nothing."""

SINCE: Mapping[str, int] = {"PrivateIPC": 248}
"""The systemd version that added a directive, for those that the oldest supported version (247) lacks."""

ADDED = ("InaccessiblePaths", "TemporaryFileSystem")
"""Directives whose overrides are added to the generated line: hiding one more path must not show the others.

An override that begins with an empty value replaces the line.
"""

REPEATABLE = {
    "SystemCallFilter", "ReadOnlyPaths", "InaccessiblePaths", "ReadWritePaths", "IPAddressAllow", "IPAddressDeny",
    "TemporaryFileSystem",
}  # fmt: skip

_TAKEN_OVER = {
    *(name for name, _ in LINES),
    "PrivateNetwork", "PrivateMounts", "ReadOnlyPaths", "ReadWritePaths", "IPAddressAllow", "IPAddressDeny",
    "BindPaths", "BindReadOnlyPaths", "SupplementaryGroups", "DeviceAllow",
}  # fmt: skip
"""What a one-off command takes over from ``[web.unit]``: what confines, and what root lets the app reach. Restarts,
times and memory concern only the web process."""


def unknown_to(version: int) -> frozenset[str]:
    """The directives that this ``version`` of systemd lacks."""
    return frozenset(name for name, since in SINCE.items() if version < since)


def lines(kind: str, *, without: frozenset[str] = frozenset()) -> list[Line]:
    """The lines of one of KINDS. ``without`` are those that this host cannot apply: a name, or ``Name=value``."""
    different = {one.directive: one.values for one in DIFFERENCES.get(kind, ())}
    named = dict.fromkeys(name for name, _ in LINES)
    values = {name: different.get(name) or tuple(value for one, value in LINES if one == name) for name in named}
    every = [(name, value) for name in named for value in values[name]]
    return [line for line in every if line[0] not in without and "=".join(line) not in without]


def of_command(kind: str, unit: Overrides, *, without: frozenset[str] = frozenset()) -> list[Line]:
    """The lines of a one-off command of the app's. ``unit`` are the overrides of the process that it belongs to: what
    they relax is relaxed here, to the same value."""
    return override(lines(kind, without=without), [(name, values) for name, values in unit if name in _TAKEN_OVER])


def override(given: Sequence[Line], overrides: Overrides) -> list[Line]:
    """``given``, with the lines of each overridden directive replaced by its values.

    A directive that accumulates (``SystemCallFilter=``) is reset first, so that only the override counts.
    """
    wanted: Mapping[str, tuple[str, ...]] = dict(overrides)
    adding = {name for name, values in wanted.items() if name in ADDED and values[:1] != ("",)}
    kept = [(name, value) for name, value in given if name not in wanted or name in adding]
    for name, values in wanted.items():
        reset = name in REPEATABLE and name not in adding and len(values) > 1 and values[0] != ""
        kept += [(name, value) for value in (("", *values) if reset else values)]
    return kept


def unsupported(ctx: Context) -> frozenset[str]:
    """The lines that no unit of the app has on this host: its systemd lacks them, or setup found that they fail."""
    return unknown_to(systemd.version()) | frozenset(ctx.settings.unsupported)

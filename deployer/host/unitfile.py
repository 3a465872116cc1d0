"""What every unit of an app has: its confinement, its environment, and how a unit file is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployer.host.overrides import REPEATABLE
from deployer.host.paths import AppPaths
from deployer.host.process import Unit

HARDENING: tuple[tuple[str, str], ...] = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
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
"""What every process of an app lives under, unless its ``unit`` table relaxes a line. ``~@privileged`` is left out:
with it gunicorn cannot chown its own worker files and dies."""


def own_environment(paths: AppPaths, number: int) -> dict[str, str]:
    """The variables deployer sets for every process of a release."""
    return {
        "DEPLOYER_APP": paths.app,
        "DEPLOYER_RELEASE": f"v{number}",
        "HOME": f"/var/lib/{paths.app}",
        "PATH": f"{paths.release(number)}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": f"{paths.release(number)}/venv",
    }


def service_lines(paths: AppPaths, number: int, process: str) -> list[tuple[str, str]]:
    """Who it runs as, where, and with which variables: the same for each kind of process of a release."""
    release = paths.release(number)
    own = {**own_environment(paths, number), "DEPLOYER_PROCESS": process}
    return [
        ("User", paths.app),
        ("Group", paths.app),
        ("WorkingDirectory", f"{release}/code"),
        ("StateDirectory", paths.app),
        ("StateDirectoryMode", "0700"),
        *(("Environment", quote(f"{name}={value}")) for name, value in own.items()),
        ("EnvironmentFile", f"{release}/env"),
        ("SyslogIdentifier", f"{paths.app}-{process.partition('.')[0]}"),
        ("KillMode", "mixed"),
    ]


def exec_line(argv: Sequence[str]) -> tuple[str, str]:
    """The command, word by word."""
    return ("ExecStart", " ".join(quote(word) for word in argv))


def quote(argument: str) -> str:
    """One argument of an Exec line (systemd.service(5)): no specifier, no variable, no word is split."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", escaped) else f'"{escaped}"'


def override(
    lines: Sequence[tuple[str, str]], overrides: Iterable[tuple[str, tuple[str, ...]]]
) -> list[tuple[str, str]]:
    """``lines`` with each overridden directive's lines replaced by the values that were asked for.

    A directive that adds up (``SystemCallFilter=``) is reset first, so that the override is all that counts.
    """
    wanted: Mapping[str, tuple[str, ...]] = dict(overrides)
    kept = [(name, value) for name, value in lines if name not in wanted]
    for name, values in wanted.items():
        kept += [(name, value) for value in (("", *values) if name in REPEATABLE and len(values) > 1 else values)]
    return kept


def confinement(app: str, unit: Unit) -> list[str]:
    """What a command of the app's that is no process of its lives under, as ``systemd-run -p`` takes it.

    What ``unit`` relaxes is relaxed here, too.
    """
    relaxed = {name for name, _ in unit}
    hardening = [line for line in HARDENING if line[0] not in relaxed]
    return [f"StateDirectory={app}", "StateDirectoryMode=0700", *properties(hardening)]


def properties(lines: Iterable[tuple[str, str]]) -> list[str]:
    """The same lines as ``systemd-run -p`` takes them."""
    return [f"{name}={value}" for name, value in lines]


def unit_text(what: str, *sections: tuple[str, Sequence[tuple[str, str]]]) -> str:
    parts = [f"# Written by deployer: {what}.\n"]
    for title, lines in sections:
        parts.append(f"\n[{title}]\n" + "".join(f"{name}={value}\n" for name, value in lines))
    return "".join(parts)

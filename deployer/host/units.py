"""The units of a release, as text. Pure: generated here, never accepted from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deployer.host.overrides import REPEATABLE
from deployer.host.paths import AppPaths, unit_name
from deployer.host.process import Unit, Web

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
"""What every process of an app lives under, unless ``[web.unit]`` relaxes a line. ``~@privileged`` is left out: with
it gunicorn cannot chown its own worker files and dies."""


@dataclass(frozen=True)
class Capabilities:
    """What the release's virtual environment holds, read from it once it is built."""

    gunicorn_control_socket: bool = False
    uvicorn_graceful: bool = True


def quote(argument: str) -> str:
    """One argument of an Exec line (systemd.service(5)): no specifier, no variable, no word is split."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", escaped) else f'"{escaped}"'


def argv(web: Web, paths: AppPaths, number: int, drain: float, can: Capabilities) -> list[str]:
    """The command of the web process. Its listening socket is file descriptor 3 (sd_listen_fds(3))."""
    binary = str(paths.release(number) / "venv/bin")
    grace = str(max(1, round(drain)))
    if web.server == "gunicorn":
        control = ["--no-control-socket"] if can.gunicorn_control_socket else []
        return [
            f"{binary}/gunicorn", "--workers", str(web.workers), "--graceful-timeout", grace,
            "--worker-tmp-dir", "/dev/shm", *control, *web.args, web.target,
        ]  # fmt: skip
    if web.server == "uvicorn":
        graceful = ["--timeout-graceful-shutdown", grace] if can.uvicorn_graceful else []
        return [
            f"{binary}/uvicorn", "--fd", "3", "--workers", str(web.workers), "--forwarded-allow-ips", "*",
            "--no-access-log", *graceful, *web.args, web.target,
        ]  # fmt: skip
    if web.server == "hypercorn":
        return [
            f"{binary}/hypercorn", "--bind", "fd://3", "--workers", str(web.workers), "--graceful-timeout", grace,
            *web.args, web.target,
        ]  # fmt: skip
    program = web.args[0]
    return [program if program.startswith("/") else f"{binary}/{program}", *web.args[1:]]


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


def socket_unit(paths: AppPaths, number: int, group: str) -> str:
    """The socket that systemd holds for the release, whatever becomes of its processes.

    Its dependencies are the default ones but for ``Before=sockets.target``: when the host goes down, that would have
    the socket stop after APP.service, whose own stop waits for the socket.
    """
    return _text(
        f"the socket of release v{number} of {paths.app}",
        (
            "Unit",
            [
                ("Description", f"{paths.app} web v{number} (socket)"),
                ("DefaultDependencies", "no"),
                ("Requires", "sysinit.target"),
                ("After", "sysinit.target"),
                ("Conflicts", "shutdown.target"),
                ("Before", "shutdown.target"),
            ],
        ),
        (
            "Socket",
            [
                ("ListenStream", str(paths.socket(number))),
                ("SocketUser", paths.app),
                ("SocketGroup", group),
                ("SocketMode", "0660"),
                ("DirectoryMode", "0755"),
                ("Backlog", "4096"),
                ("RemoveOnStop", "yes"),
                ("Service", unit_name(paths.app, "web", number, "service")),
            ],
        ),
    )


def service_unit(
    web: Web, paths: AppPaths, number: int, *, drain: float, start: float, can: Capabilities, behind: int = 0
) -> str:
    """The web process of one release. ``drain`` and ``start`` bound its stop and its start, in seconds.

    ``behind`` is the release whose socket it serves (0: its own).
    """
    socket = unit_name(paths.app, "web", behind or number, "socket")
    release = paths.release(number)
    base = [
        ("Type", "notify" if web.server == "gunicorn" else "exec"),
        ("User", paths.app),
        ("Group", paths.app),
        ("WorkingDirectory", f"{release}/code"),
        ("StateDirectory", paths.app),
        ("StateDirectoryMode", "0700"),
        *(("Environment", quote(f"{name}={value}")) for name, value in own_environment(paths, number).items()),
        ("EnvironmentFile", f"{release}/env"),
        ("ExecStart", " ".join(quote(word) for word in argv(web, paths, number, drain, can))),
        ("SyslogIdentifier", f"{paths.app}-web"),
        ("KillMode", "mixed"),
        ("TimeoutStartSec", f"{start:g}"),
        ("TimeoutStopSec", f"{drain + 5:g}"),
        ("Restart", "on-failure"),
        ("RestartSec", "1"),
    ]
    return _text(
        f"the web process of release v{number} of {paths.app}",
        (
            "Unit",
            [
                ("Description", f"{paths.app} web v{number}"),
                ("Requires", socket),
                ("After", f"network.target {socket}"),
                ("StartLimitIntervalSec", "0"),
            ],
        ),
        ("Service", override(base + list(HARDENING), web.unit)),
    )


def handle_unit(app: str, program: str) -> str:
    """``shop.service``: what an admin starts, stops and reloads, and what boots the app."""
    return _text(
        f"the handle of {app}: systemctl start|stop|restart|reload {app}",
        (
            "Unit",
            [
                ("Description", f"{app}, as deployed"),
                ("After", "network.target"),
                ("RequiresMountsFor", f"/srv/{app} /var/lib/{app}"),
            ],
        ),
        (
            "Service",
            [
                ("Type", "oneshot"),
                ("RemainAfterExit", "yes"),
                ("ExecStart", f"{program} start {app}"),
                ("ExecReload", f"{program} reload {app}"),
                ("ExecStop", f"{program} stop {app}"),
                ("Restart", "on-abnormal"),
                ("RestartSec", "1"),
                ("TimeoutStartSec", "infinity"),
                ("TimeoutStopSec", "120"),
            ],
        ),
        ("Install", [("WantedBy", "multi-user.target")]),
    )


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


def _text(what: str, *sections: tuple[str, Sequence[tuple[str, str]]]) -> str:
    parts = [f"# Written by deployer: {what}.\n"]
    for title, lines in sections:
        parts.append(f"\n[{title}]\n" + "".join(f"{name}={value}\n" for name, value in lines))
    return "".join(parts)

"""A Redis of the app's own: the distribution's server, as the app's system user, on a Unix socket and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from deployer.host.errors import HostError
from deployer.host.setup.software import apt
from deployer.host.setup.software.service import Service
from deployer.host.state.app import Emit
from deployer.host.state.paths import redis_unit
from deployer.host.system import files, runner, systemd
from deployer.host.units.unitfile import Lines, unit_text
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.sizes import size

VARIABLE = "REDIS_URL"
TEMPLATE = Path("/etc/systemd/system/deployer-redis@.service")
SETTINGS = Path("/etc/deployer/redis")
DATA = Path("/var/lib/deployer-redis")
_SERVERS = ("redis-server", "valkey-server")
"""The programs, and the packages, that will do: the first that is there, else the first that can be installed."""
_PATIENCE = 20.0
"""Seconds in which it must answer: it reads its data first."""

REDIS_DOWN = Cause(
    "redis-down",
    "the app's Redis was started and does not answer on its Unix socket",
    "the Redis of {app} does not answer on {socket}",
    do("as root on the host: journalctl -u {unit} -n 50   (says why); put that right, then")
    + run("fab setup -H root@HOST", "goes on where it stopped"),
)
CAUSES = (REDIS_DOWN,)

_CONFINED: Lines = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateNetwork", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectControlGroups", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX"),
    ("RestrictNamespaces", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("UMask", "0077"),
)


def socket_of(app: str) -> str:
    return f"/run/deployer-redis/{app}/redis.sock"


def ensure(app: str, memory: int, without: Collection[str], emit: Emit) -> Service:
    """Make sure that it runs, with ``memory`` bytes for data. ``without`` are confinement lines that this host cannot
    apply. Its data are never touched. Raises HostError."""
    changed = _install(emit)
    server = str(_server())
    written = files.write_if_changed(TEMPLATE, unit(server, without))
    if written:
        systemd.require("daemon-reload")
    files.own_directory(SETTINGS, 0o755, 0, 0)
    settings = files.write_if_changed(SETTINGS / f"{app}.conf", settings_text(app, memory))
    name = redis_unit(app)
    if systemd.systemctl("is-enabled", name).out.strip() != "enabled":
        systemd.require("enable", name)
        changed.append(f"{name} starts at boot")
    if settings or written or systemd.show(name).active != "active":
        systemd.systemctl("reset-failed", name)
        systemd.require("restart", name)
        changed.append(f"{name} started, for {size(memory)} of data")
    _wait(app)
    found = "" if changed else f"{name} runs"
    return Service(VARIABLE, f"unix://{socket_of(app)}?db=0", tuple(changed), found)


def unit(server: str, without: Collection[str] = ()) -> str:
    """The template of all apps' units: ``%i`` is the app. Pure."""
    confined = [line for line in _CONFINED if line[0] not in without and "=".join(line) not in without]
    return unit_text(
        "the Redis of each app that has one",
        ("Unit", [("Description", "Redis of %i"), ("RequiresMountsFor", str(DATA))]),
        (
            "Service",
            [
                ("User", "%i"),
                ("Group", "%i"),
                ("ExecStart", f"{server} {SETTINGS}/%i.conf"),
                ("RuntimeDirectory", "deployer-redis/%i"),
                ("RuntimeDirectoryMode", "0750"),
                ("StateDirectory", "deployer-redis/%i"),
                ("StateDirectoryMode", "0700"),
                ("Restart", "always"),
                ("RestartSec", "1"),
                ("TimeoutStopSec", "120"),
                *confined,
            ],
        ),
        ("Install", [("WantedBy", "multi-user.target")]),
    )


def settings_text(app: str, memory: int) -> str:
    """What the server reads. It writes every change to the disk within a second, and forgets nothing to make room: it
    may hold jobs. Pure."""
    return (
        f"# Written by deployer: the Redis of {app}.\n"
        "port 0\n"
        f"unixsocket {socket_of(app)}\n"
        "unixsocketperm 770\n"
        f"dir {DATA}/{app}\n"
        "daemonize no\n"
        "supervised no\n"
        f"maxmemory {memory}\n"
        "maxmemory-policy noeviction\n"
        "appendonly yes\n"
        'save ""\n'
    )


def _install(emit: Emit) -> list[str]:
    """Install a server; the one for everybody that its package brings, on a TCP port without a password, never runs."""
    if _server() is not None:
        return []
    name = next((name for name in _SERVERS if apt.has_candidate(name)), _SERVERS[0])
    apt.install([name], emit, unstarted=f"{name}.service")
    systemd.systemctl("disable", f"{name}.service")
    return [f"installed {name}"]


def _server() -> str | None:
    path = runner.ENVIRONMENT["PATH"]
    return next(filter(None, (runner.which(name, path) for name in _SERVERS)), None)


def _wait(app: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers(app):
        if time.monotonic() > deadline:
            raise HostError(**REDIS_DOWN.told(app=app, socket=socket_of(app), unit=redis_unit(app)))
        time.sleep(0.2)


def answers(app: str) -> bool:
    """Whether the app's Redis answers the app itself."""
    client = str(_server()).replace("-server", "-cli")
    done = runner.run([client, "-s", socket_of(app), "ping"], user=app)
    return done.ok and done.out.strip() == "PONG"

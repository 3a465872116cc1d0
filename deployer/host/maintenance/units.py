"""The units that serve an app's maintenance page: there from ``on`` to ``off``, at boot as well."""

from __future__ import annotations

import contextlib
import os

from deployer.host.deployment import handover
from deployer.host.maintenance.page import BACKLOG, GRACE
from deployer.host.state.app import Context
from deployer.host.state.paths import AppPaths, maintenance_unit
from deployer.host.system import files, orders, systemd
from deployer.host.units.confinement import lines, unsupported
from deployer.host.units.unitfile import exec_line, unit_text
from deployer.wire.protocol import PROGRAM

KINDS = ("service", "socket")
"""In the order in which they end: what is in hand, then what waits."""


def names(app: str) -> list[str]:
    return [maintenance_unit(app, kind) for kind in KINDS]


def texts(paths: AppPaths, group: str, without: frozenset[str]) -> dict[str, str]:
    """The text of each unit, by name. ``group`` may connect; ``without`` are confinement lines that the host cannot
    apply. Pure."""
    app = paths.app
    socket, service = (maintenance_unit(app, kind) for kind in ("socket", "service"))
    confined = [line for line in lines("web", without=without) if line[0] != "RestrictAddressFamilies"]
    return {
        socket: unit_text(
            f"the socket of the maintenance page of {app}",
            (
                "Unit",
                [
                    ("Description", f"{app} maintenance page (socket)"),
                    ("RequiresMountsFor", str(paths.home)),
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
                    ("ListenStream", str(paths.maintenance_socket)),
                    ("SocketUser", app),
                    ("SocketGroup", group),
                    ("SocketMode", "0660"),
                    ("Backlog", str(BACKLOG)),
                    ("RemoveOnStop", "yes"),
                ],
            ),
            ("Install", [("WantedBy", "sockets.target")]),
        ),
        service: unit_text(
            f"the maintenance page of {app}",
            (
                "Unit",
                [
                    ("Description", f"{app} maintenance page"),
                    ("Requires", socket),
                    ("After", socket),
                    ("StartLimitIntervalSec", "0"),
                ],
            ),
            (
                "Service",
                [
                    ("Type", "exec"),
                    ("User", app),
                    ("Group", app),
                    exec_line([PROGRAM, "maintenance", app]),
                    ("SyslogIdentifier", f"{app}-maintenance"),
                    ("TimeoutStopSec", f"{GRACE + 5:g}"),
                    ("Restart", "always"),
                    ("RestartSec", "1"),
                    ("LimitNOFILE", "8192"),
                    ("RestrictAddressFamilies", "AF_UNIX"),
                    *confined,
                ],
            ),
        ),
    }


def provide(ctx: Context) -> None:
    """Have the page served, now and at boot. Idempotent. Raises HostError, OSError."""
    wanted = texts(ctx.paths, ctx.settings.socket_group, unsupported(ctx))
    changed = [name for name, text in wanted.items() if files.write_if_changed(ctx.paths.units / name, text)]
    if changed:
        orders.ensure_loaded(changed)
    socket, service = (maintenance_unit(ctx.app, kind) for kind in ("socket", "service"))
    if systemd.systemctl("is-enabled", socket).out.strip() != "enabled":
        systemd.require("enable", socket)
    systemd.systemctl("reset-failed", socket, service)
    orders.start([socket])
    orders.start([service])


def remove(ctx: Context) -> None:
    """Stop serving the page, once those are answered who wait for it. Idempotent. Raises HostError, OSError."""
    socket, service = (maintenance_unit(ctx.app, kind) for kind in ("socket", "service"))
    there = [name for name in (socket, service) if (ctx.paths.units / name).exists()]
    if not there:
        return
    handover.wait_for_empty_queue(str(ctx.paths.maintenance_socket), GRACE)
    orders.ensure_stopped([service], timeout=GRACE + 30)
    handover.wait_for_empty_queue(str(ctx.paths.maintenance_socket), GRACE)
    systemd.systemctl("disable", socket)
    orders.ensure_stopped([socket, service], timeout=GRACE + 30)
    for name in there:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(ctx.paths.units / name))
    files.sync_directory(ctx.paths.units)
    orders.ensure_forgotten(there)


def are_there(paths: AppPaths) -> bool:
    """Whether a unit of the page has its file."""
    return any((paths.units / name).exists() for name in names(paths.app))


def is_up(ctx: Context) -> bool:
    """Whether the page is served, or will be when the first one asks. Raises HostError."""
    return systemd.show(maintenance_unit(ctx.app, "socket")).active == "active"

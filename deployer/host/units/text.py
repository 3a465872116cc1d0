"""The text of a release's units. Pure: generated here, never accepted from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from deployer.host.state.paths import AppPaths, redis_unit, stop_unit, unit_name
from deployer.host.units.confinement import lines, override
from deployer.host.units.unitfile import exec_line, service_lines, unit_text
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import WEB
from deployer.wire.release.processes import Process, Timer, Web


@dataclass(frozen=True)
class Capabilities:
    """What is installed, determined once the release's virtual environment is built.

    ``programs`` are those that the host has and the environment lacks, with their paths; ``without`` the confinement
    lines that this host cannot apply; ``directory`` the one of the code in which the app runs (empty: its root).
    """

    gunicorn_control_socket: bool = False
    uvicorn_graceful: bool = True
    programs: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    directory: str = ""


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
    return command(web.args, paths, number, can)


def command(words: Sequence[str], paths: AppPaths, number: int, can: Capabilities) -> list[str]:
    """A command of the user's. A bare name is a program of the virtual environment, otherwise of the host; one with a
    slash is a file of the code, seen from where the app runs, unless it is absolute."""
    program = words[0]
    release = paths.release(number)
    if "/" not in program:
        program = can.programs.get(program) or f"{release}/venv/bin/{program}"
    elif not program.startswith("/"):
        program = f"{paths.code(number, can.directory)}/{program}"
    return [program, *words[1:]]


def socket_unit(paths: AppPaths, number: int, group: str) -> str:
    """The socket that systemd holds for the release, whatever happens to its processes.

    Its dependencies are the default ones without ``Before=sockets.target``, which would stop the socket after
    APP.service at shutdown, whose own stop waits for the socket.
    """
    return unit_text(
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
                ("Service", unit_name(paths.app, WEB, number, "service")),
            ],
        ),
    )


def service_unit(
    web: Web, paths: AppPaths, number: int, *, drain: float, start: float, can: Capabilities, behind: int = 0
) -> str:
    """The web process of a release. ``drain`` and ``start`` limit its stop and its start, in seconds.

    ``behind`` is the release whose socket it serves (0: its own).
    """
    socket = unit_name(paths.app, WEB, behind or number, "socket")
    base = [
        ("Type", "notify" if web.server == "gunicorn" else "exec"),
        *service_lines(paths, number, WEB, can.directory),
        exec_line(argv(web, paths, number, drain, can)),
        ("TimeoutStartSec", f"{start:g}"),
        ("TimeoutStopSec", f"{drain + 5:g}"),
        ("Restart", "on-failure"),
        ("RestartSec", "1"),
    ]
    return unit_text(
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
        ("Service", override([*base, *lines("web", without=can.without)], web.unit)),
    )


def process_unit(
    process: Process, instance: str, paths: AppPaths, number: int, can: Capabilities, older: Sequence[str] = ()
) -> str:
    """One instance of a process that runs all the time: however it ends, it is restarted.

    Without overlap it is ordered after the ``older`` services: of two units with any ordering, one that is to start
    waits until the other has stopped (systemd.unit(5), ``Before=``).
    """
    base = [
        ("Type", "exec"),
        *service_lines(paths, number, instance, can.directory),
        exec_line(command(process.command, paths, number, can)),
        ("TimeoutStopSec", f"{max(1.0, process.stop):g}"),
        ("Restart", "always"),
        ("RestartSec", "1"),
    ]
    return unit_text(
        f"the process {instance} of release v{number} of {paths.app}",
        (
            "Unit",
            [
                ("Description", f"{paths.app} {instance} v{number}"),
                ("After", " ".join(["network.target", *(() if process.overlap else older)])),
                ("StartLimitIntervalSec", "0"),
            ],
        ),
        ("Service", override([*base, *lines("worker", without=can.without)], process.unit)),
    )


def timer_unit(timer: Timer, paths: AppPaths, number: int) -> str:
    """When a command runs. Its dependencies are those of :func:`socket_unit`, for the same reason.

    ``AccuracySec=``: by default systemd may delay a run by up to a minute (systemd.timer(5)).
    """
    return unit_text(
        f"the timer {timer.name} of release v{number} of {paths.app}",
        (
            "Unit",
            [
                ("Description", f"{paths.app} {timer.name} v{number} (timer)"),
                ("DefaultDependencies", "no"),
                ("Requires", "sysinit.target"),
                ("After", "sysinit.target time-set.target time-sync.target"),
                ("Conflicts", "shutdown.target"),
                ("Before", "shutdown.target"),
            ],
        ),
        (
            "Timer",
            [
                ("OnCalendar", timer.calendar),
                ("AccuracySec", "1s"),
                ("Persistent", "yes" if timer.persistent else "no"),
                ("Unit", unit_name(paths.app, timer.name, number, "service")),
            ],
        ),
    )


def run_unit(timer: Timer, paths: AppPaths, number: int, can: Capabilities, older: Sequence[str] = ()) -> str:
    """One run of a timer's command. It waits for a run of an ``older`` release: no two run at a time.

    It has no start limit (systemd would refuse the sixth start in ten seconds), and a run that an admin stops has not
    failed.
    """
    base = [
        ("Type", "oneshot"),
        *service_lines(paths, number, timer.name, can.directory),
        exec_line(command(timer.command, paths, number, can)),
        ("TimeoutStartSec", f"{timer.timeout:g}" if timer.timeout else "infinity"),
        ("TimeoutStopSec", "10"),
        ("SuccessExitStatus", "SIGTERM"),
    ]
    return unit_text(
        f"a run of {timer.name} of release v{number} of {paths.app}",
        (
            "Unit",
            [
                ("Description", f"{paths.app} {timer.name} v{number}"),
                ("After", " ".join(["network.target", *older])),
                ("StartLimitIntervalSec", "0"),
            ],
        ),
        ("Service", override([*base, *lines("timer", without=can.without)], timer.unit)),
    )


_AFTER = "network.target postgresql.service"


def app_unit(app: str, program: str) -> str:
    """``APP.service``: what an admin starts, stops and reloads, and what boots the app, after the data services that
    the host may have for it. The unit of :func:`stopping_unit` is started before it."""
    return unit_text(
        f"the app {app}: systemctl start|stop|restart|reload {app}",
        (
            "Unit",
            [
                ("Description", f"{app}, as deployed"),
                ("Wants", stop_unit(app)),
                ("After", f"{_AFTER} {redis_unit(app)} {stop_unit(app)}"),
                _mounts(app),
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


def _mounts(app: str) -> tuple[str, str]:
    return ("RequiresMountsFor", f"/srv/{app} /var/lib/{app}")


def stopping_unit(app: str, program: str) -> str:
    """What stops the app where systemd does not run the ``ExecStop=`` of ``APP.service``: its start has failed, was
    killed, or was still under way (systemd.service(5)), and units of the app run all the same.

    It is active from the start of ``APP.service`` on, and stopped behind it. Where that was stopped in good order,
    there is nothing to do.
    """
    unit = f"{app}.service"
    failed = f'test "$(systemctl show -p Result --value {unit})" != success'
    script = f"if {failed}; then {program} stop {app}; systemctl reset-failed {unit}; fi"
    return unit_text(
        f"what stops the app {app} when its start has failed",
        (
            "Unit",
            [
                ("Description", f"{app}: to be stopped"),
                ("PartOf", unit),
                ("After", f"{_AFTER} {redis_unit(app)}"),
                _mounts(app),
            ],
        ),
        (
            "Service",
            [
                ("Type", "oneshot"),
                ("RemainAfterExit", "yes"),
                exec_line(["/bin/sh", "-c", script], "ExecStop"),
                ("TimeoutStopSec", "120"),
            ],
        ),
    )

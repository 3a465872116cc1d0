"""One-off commands of an app, each in a transient unit: where it runs, as whom, for how long, and what it printed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Callable

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.system import files, orders, proc, runner, systemd
from deployer.host.units import launcher
from deployer.host.units.confinement import Line
from deployer.host.units.unitfile import properties
from deployer.wire import advice
from deployer.wire.environment import environment_file
from deployer.wire.lazydata import dataclass

_RESERVED = ("build", "migrate")
"""No app's name ends with these."""
COMMANDS = (*_RESERVED, "check", "django")
"""The commands that are run for an app; the last is a question to its Django."""
TRIES, PAUSE = 10, 0.25
"""How often systemd is asked for a unit, and the seconds between: while it is executed again (an update of its package)
it drops requests."""
_UNDER_WAY = ("active", "activating", "reloading", "deactivating")

_NOUNS = {"build": "build", "migrate": "migration", "check": "check", "django": "question to Django"}


@dataclass(frozen=True)
class Command:
    """One of COMMANDS. ``limit`` is in seconds, ``key`` its name in deploy.toml; ``stays`` is what it did that no undo
    takes back."""

    name: str
    user: str
    argv: tuple[str, ...]
    directory: Path
    limit: float
    key: str
    stays: str = ""


def unit_of(ctx: Context, name: str) -> str:
    """The transient unit in which one of COMMANDS runs."""
    mark = "-" if name in _RESERVED else "."  # the unit of shop's check must not be the lock of an app shop-check
    return f"deployer-{ctx.app}{mark}{name}.service"


def run(
    ctx: Context,
    command: Command,
    environment: Mapping[str, str],
    lines: Iterable[Line],
    on_line: Callable[[str], None],
) -> tuple[int, list[str]]:
    """Run a command in a transient unit, whose processes all end with it. Returns its exit status and its last 400
    lines.

    The environment is passed in a file that only root can read, never in an argument list. Raises HostError when the
    command exceeds its limit, or its program could not be started.
    """
    unit = unit_of(ctx, command.name)
    env_path = ctx.paths.private / f"{command.name}.env"
    files.write_file(env_path, environment_file(environment), 0o600, durable=False)  # no later boot reads it
    said: list[str] = []

    def take(line: str) -> None:
        said.append(line)
        del said[:-400]
        on_line(line)

    started, since = time.monotonic(), time.time()
    try:
        settings = _settings(ctx, command, env_path, lines)
        status, begun = run_unit(ctx, unit, settings, command.argv, take)
    finally:
        with contextlib.suppress(FileNotFoundError):
            env_path.unlink()
    if status != 0:
        systemd.systemctl("stop", unit)  # should only the one who waited for it have died, it must not go on
    if status != 0 and time.monotonic() - started >= command.limit:
        raise _too_long(command, said)
    exitstatus.refuse_if_not_started(f"the {_NOUNS[command.name]}", unit, status, since)
    if not begun:
        what = f"the {_NOUNS[command.name]} was not started: systemd did not start its unit"
        raise HostError(what, logs=said[-40:], next=advice.run("fab deploy"))
    return status, said


def run_unit(
    ctx: Context, unit: str, settings: Sequence[str], argv: Sequence[str], on_line: Callable[[str], None]
) -> tuple[int, bool]:
    """Stop the transient unit, if it runs, then run ``argv`` in it and wait; each line goes to ``on_line``. Returns the
    exit status, or the number of the signal that ended it, and whether it ever began.

    The ``settings`` must say Type=oneshot: to systemd, what SIGTERM ends is a success of any other service
    (systemd.service(5), Restart=).

    A systemd that is being re-executed drops the request to start a unit, or only the reply. The unit's runtime
    directory, which systemd makes just before it starts the process, tells which: a unit that never began is started
    again. It also drops whoever waits for a unit (systemd-run then ends with status 1, or 0), and the unit runs on: it
    is waited for, its output read, and its own exit status returned.
    """
    name = unit.rpartition(".")[0]
    mark = ctx.paths.root / "run" / name
    lines = [*settings, f"RuntimeDirectory={name}", "RuntimeDirectoryPreserve=yes"]
    given = None
    if not systemd.is_lasting(argv):
        argv, given = launcher.ARGV, launcher.given(argv)
    command = systemd.transient(unit, lines, argv, wait=True, collect=False)
    status, begun, failed = 1, False, True
    try:
        is_known = orders.is_known(unit)
        if is_known:
            systemd.systemctl("stop", unit)
        files.remove_tree(mark)  # once: one that comes later is of a start that was heard after all
        for number in range(TRIES):
            if is_known or number > 0:
                orders.ensure_free(unit)
            status = runner.stream(command, on_line, stdin=given, goes_on=lambda: is_under_way(systemd.show(unit)))
            state = _ended(unit)
            begun, failed = mark.exists(), state.active == "failed"
            if begun or (failed and not state.cut_short):
                end = systemd.end_of(unit)
                return (end.status or end.signal or status or 1) if failed else 0, True
            time.sleep(PAUSE)
        return status, begun
    finally:
        if failed or not begun:
            systemd.systemctl("reset-failed", unit)
        files.remove_tree(mark)


def _ended(unit: str) -> systemd.UnitState:
    """The unit's state once nothing of it is in progress: its start may have been carried out after all."""
    while is_under_way(state := systemd.show(unit)):
        time.sleep(PAUSE)
    return state


def is_under_way(state: systemd.UnitState) -> bool:
    """Whether a unit that runs one command has yet to end, or to begin."""
    return state.queued or state.active in _UNDER_WAY


def _settings(ctx: Context, command: Command, env_path: Path, lines: Iterable[Line]) -> list[str]:
    return [
        f"Description={ctx.app}: {command.name}",  # systemd would put the command into the journal
        f"User={command.user}",
        f"WorkingDirectory={command.directory}",
        "EnvironmentFile=-/etc/environment",
        f"EnvironmentFile={env_path}",
        "Type=oneshot",
        f"TimeoutStartSec={command.limit:g}",  # RuntimeMaxSec= does not count for Type=oneshot (systemd.service(5))
        "TimeoutStopSec=10",
        *properties(lines),
    ]


def _too_long(command: Command, said: Sequence[str]) -> HostError:
    return HostError(
        f"the {_NOUNS[command.name]} did not end within {command.limit:g} s and was stopped",
        logs=list(said)[-40:],
        next=advice.do(f"find out why it takes so long, or raise {command.key} in deploy.toml")
        + advice.run("fab deploy"),
        stays=command.stays,
    )


def refuse_running(ctx: Context, name: str) -> None:
    """Raises HostError when processes of a command's unit are left after it has ended."""
    unit = unit_of(ctx, name)
    orders.ensure_stopped([unit])
    left = proc.of_unit(unit)
    if left:
        raise HostError(
            f"processes of the {_NOUNS[name]} do not end: {', '.join(map(str, left))}",
            next=advice.do("reboot the host"),
        )


def stop(ctx: Context, name: str) -> None:
    """Stop one of COMMANDS that runs, so that :func:`run` returns. Never raises."""
    systemd.systemctl("stop", unit_of(ctx, name))


def end_all(ctx: Context) -> None:
    """Stop what an attempt is building, migrating or checking: it outlives whatever started it. Never raises."""
    units = [unit_of(ctx, name) for name in COMMANDS]
    systemd.systemctl("stop", *units)
    systemd.systemctl("reset-failed", *units)


def forget_environments(ctx: Context) -> None:
    """Remove the environment files of commands that were interrupted."""
    for name in COMMANDS:
        with contextlib.suppress(OSError):
            (ctx.paths.private / f"{name}.env").unlink()

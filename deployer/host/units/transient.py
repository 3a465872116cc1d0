"""Commands of the app's, each in a transient unit of its own: where it runs, as whom, how long, and what it said."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.system import exitstatus, files, orders, proc, systemd
from deployer.host.units import attended
from deployer.host.units.confinement import Line
from deployer.host.units.unitfile import properties
from deployer.wire import advice
from deployer.wire.environment import environment_file

_RESERVED = ("build", "migrate")
"""No app's name ends with these."""
COMMANDS = (*_RESERVED, "check")
"""What the app's commands run as."""
_ENDED_ITSELF = """/bin/sh -c 'test "$$EXIT_CODE" = exited'"""
"""Run after a command (systemd.exec(5), EXIT_CODE): to systemd one that SIGTERM has killed was a success."""

_NOUNS = {"build": "build", "migrate": "migration", "check": "check"}

_EXEC = """
import json, os, signal, sys
with open(0, closefd=False) as given:
    words = json.load(given)
nothing = os.open("/dev/null", os.O_RDWR)
os.dup2(nothing, 0)
os.close(nothing)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with open("/proc/self/environ", "rb") as given:
    kept = dict(line.partition(b"=")[::2] for line in given.read().split(b"\\0") if line)
try:
    os.execvpe(os.fsencode(words[0]), [os.fsencode(word) for word in words], kept)
except OSError as error:
    print(f"{words[0]}: {error.strerror}", file=sys.stderr)
    sys.exit(127 if isinstance(error, FileNotFoundError) else 126)
"""
"""Becomes the command whose words are in its standard input. What Python changed of its own surroundings is undone;
SIGPIPE stays ignored, as systemd has it (IgnoreSIGPIPE=): who has nobody to talk to any more ends in its own time."""
UNSEEN = ("/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", _EXEC)
"""A program for a unit that is to run a command whose words nobody else may read: they are in no unit file, no journal
and no argument list of systemd's. Those of the command itself are seen while it runs, as any program's are."""


def unseen(argv: Sequence[str]) -> bytes:
    """The standard input of UNSEEN."""
    return json.dumps(list(argv)).encode()


@dataclass(frozen=True)
class Command:
    """One of COMMANDS. ``limit`` is seconds after which it is ended, and ``key`` where deploy.toml says so; ``stays``
    what is still done then."""

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
    """Run a command in a transient unit, whose every process ends with it. Returns status and output.

    The environment goes through a file only root can read: never through an argument list. Raises HostError when the
    command takes longer than its limit: one that hangs must not hold the app's lock for ever.
    """
    unit = unit_of(ctx, command.name)
    systemd.systemctl("stop", unit)
    env_path = ctx.paths.private / f"{command.name}.env"
    files.write_file(env_path, environment_file(environment), 0o600)
    said: list[str] = []

    def take(line: str) -> None:
        said.append(line)
        del said[:-400]
        on_line(line)

    started, since = time.monotonic(), time.time()
    try:
        settings = _settings(ctx, command, env_path, lines)
        status, begun = attended.run(ctx, unit, settings, command.argv, take)
    finally:
        with contextlib.suppress(FileNotFoundError):
            env_path.unlink()
    if status != 0:
        systemd.systemctl("stop", unit)  # should only the one who waited for it have died, it must not go on
    if status != 0 and time.monotonic() - started >= command.limit:
        raise _too_long(command, said)
    exitstatus.refuse_not_begun(f"the {_NOUNS[command.name]}", unit, status, since)
    if not begun:
        what = f"the {_NOUNS[command.name]} was not begun: systemd did not start its unit"
        raise HostError(what, logs=said[-40:], next=advice.run("fab deploy"))
    return status, said


def _settings(ctx: Context, command: Command, env_path: Path, lines: Iterable[Line]) -> list[str]:
    return [
        f"Description={ctx.app}: {command.name}",  # systemd would put the command into the journal
        f"User={command.user}",
        f"WorkingDirectory={command.directory}",
        "EnvironmentFile=-/etc/environment",
        f"EnvironmentFile={env_path}",
        f"ExecStopPost={_ENDED_ITSELF}",
        "TimeoutStopSec=10",
        f"RuntimeMaxSec={command.limit:g}",
        *properties(lines),
    ]


def _too_long(command: Command, said: Sequence[str]) -> HostError:
    return HostError(
        f"the {_NOUNS[command.name]} did not end within {command.limit:g} s and was stopped",
        logs=list(said)[-40:],
        next=advice.do(f"look why it takes so long; if it needs to, raise {command.key} in deploy.toml")
        + advice.run("fab deploy"),
        stays=command.stays,
    )


def refuse_running(ctx: Context, name: str) -> None:
    """Raises HostError when anything of a command's unit still runs, though it has ended."""
    unit = unit_of(ctx, name)
    orders.ensure_stopped([unit])
    left = proc.of_unit(unit)
    if left:
        raise HostError(
            f"processes of the {_NOUNS[name]} do not end: {', '.join(map(str, left))}",
            next=advice.do("reboot the host"),
        )


def end_all(ctx: Context) -> None:
    """End what an attempt was building, migrating or checking: it outlives whoever began it. Raises nothing."""
    units = [unit_of(ctx, name) for name in COMMANDS]
    systemd.systemctl("stop", *units)
    systemd.systemctl("reset-failed", *units)


def forget_environments(ctx: Context) -> None:
    """Remove the files through which commands got their environment, should one have been cut short."""
    for name in COMMANDS:
        with contextlib.suppress(OSError):
            (ctx.paths.private / f"{name}.env").unlink()

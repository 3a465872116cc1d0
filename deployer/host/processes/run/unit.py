"""Runs a command in a transient unit, with its streams or a terminal, and finds out how it ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from typing import BinaryIO

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.processes.commands import read_environment
from deployer.host.processes.run import target
from deployer.host.processes.run.listening import Laptop
from deployer.host.processes.run.request import RunRequest
from deployer.host.processes.run.streams import Streams
from deployer.host.processes.run.terminal import known
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import journald, systemd
from deployer.host.units import launcher
from deployer.host.units.confinement import of_command, unsupported
from deployer.host.units.transient import PAUSE, TRIES
from deployer.host.units.unitfile import own_environment, properties, state_lines
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import Exit
from deployer.wire.release.command import LOCALE_NAMES, SHELL, TIMED_OUT
from deployer.wire.release.processes import Unit

_STOP = 10
"""Seconds that a command gets to end after SIGTERM."""


@dataclass(frozen=True)
class Ended:
    """The exit status of a command (128 plus the signal that killed it; TIMED_OUT at its time limit), and how many
    secrets were replaced in what it printed as bytes."""

    status: int
    timed_out: bool = False
    masked: int = 0


def run(ctx: Context, request: RunRequest, stream: BinaryIO) -> Ended:
    """Run a command to its end. What it prints are ``output`` and ``data`` events; ``stream`` is what the laptop sends.

    It ends with this program, however that ends. Raises HostError when there is no such release or process, or it could
    not be run.
    """
    with target.held(ctx, request) as release:
        unit = target.overrides(ctx, release, request.process)
        words = target.words(ctx, release, request)
        name = f"deployer-{ctx.app}-run.{os.getpid()}-{secrets.token_hex(4)}"
        with _as_long_as_this_program(name) as scope:
            argv = systemd.transient(
                f"{name}.service",
                _settings(ctx, release, request, unit, scope),
                launcher.ARGV,
                wait=True,
                environment=_own(ctx, release, request),
            )
            given = launcher.given(
                words,
                takes_input=request.takes_input,
                terminal=request.terminal is not None,
                locale=_locale(ctx, release, request),
                environment=_shown(ctx, release, request),
            )
            secret = masking.stored_values(ctx.paths, release.number)
            streams = Streams(ctx.emit, ctx.app, f"{name}.service", secret, Laptop(stream))
            told = streams.run(argv, given, request)
            return _ended(f"{name}.service", told, streams.masked)


def _own(ctx: Context, release: Release, request: RunRequest) -> dict[str, str]:
    process = {"DEPLOYER_PROCESS": request.process} if request.process else {}
    return {**own_environment(ctx.paths, release.number), **process}


def _locale(ctx: Context, release: Release, request: RunRequest) -> dict[str, str]:
    """The laptop's locale, where a person reads what is printed, and the app has none of its own."""
    if request.terminal is None or not set(LOCALE_NAMES).isdisjoint(read_environment(ctx, release)):
        return {}
    return dict(request.terminal.locale)


def _shown(ctx: Context, release: Release, request: RunRequest) -> dict[str, str]:
    """What a terminal, and a shell in it, have in their environment."""
    if request.terminal is None:
        return {}
    shell = target.prompt(ctx, release, request.place) if request.kind == SHELL else {}
    return {"TERM": known(request.terminal.term), **shell}


def _settings(ctx: Context, release: Release, request: RunRequest, unit: Unit, scope: str) -> list[str]:
    """The environment comes from the file that only root can read, as for the app itself."""
    return [
        f"Description={ctx.app}: a command in {release.name}",
        f"User={ctx.app}",
        f"WorkingDirectory={ctx.paths.code(release.number, release.spec.directory)}",
        f"EnvironmentFile={ctx.paths.release(release.number)}/env",
        f"BindsTo={scope}",
        f"After={scope}",
        f"TimeoutStopSec={_STOP}",
        f"RuntimeMaxSec={request.timeout}",
        *(["SendSIGHUP=yes"] if request.terminal is not None else []),  # an interactive shell ignores SIGTERM
        *properties([*state_lines(ctx.app), *of_command("run", unit, without=unsupported(ctx))]),
    ]


@contextlib.contextmanager
def _as_long_as_this_program(name: str) -> Iterator[str]:
    """A scope that ends with the block, and with this program, even if that is killed by SIGKILL.

    The process in it reads from a pipe whose other end is here. systemd stops what is bound to the scope; until then
    the scope, which is ordered after the unit, makes systemd remember how the unit ended.
    """
    for number in range(TRIES):
        scope = f"{name}.{number}.scope"
        argv = [
            "systemd-run", "--quiet", "--collect", "--scope", f"--unit={scope}", "-p", f"Before={name}.service",
            "--", "/bin/cat",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as keeper:
            assert keeper.stdin is not None and keeper.stdout is not None and keeper.stderr is not None
            try:
                with contextlib.suppress(BrokenPipeError):
                    keeper.stdin.write(b"\n")
                    keeper.stdin.flush()
                if keeper.stdout.readline():  # it comes back once the scope is there
                    yield scope
                    return
                said = keeper.stderr.read(4096).decode("utf-8", "replace").splitlines()
            finally:
                with contextlib.suppress(BrokenPipeError):
                    keeper.stdin.close()
        time.sleep(PAUSE)
    message = "systemd did not start a unit for the command"
    raise HostError(message, exit=Exit.BUG, state="nothing was run", logs=said)


def _ended(unit: str, told: int, masked: int) -> Ended:
    """How the unit's process ended. ``told`` is systemd-run's status, which counts a SIGTERM as a success.

    Raises HostError when the process never began.
    """
    end = systemd.end_of(unit)
    systemd.systemctl("reset-failed", unit)
    if end.result == "timeout":
        return Ended(TIMED_OUT, timed_out=True, masked=masked)
    if end.status is not None:
        exitstatus.refuse_if_not_started("the command", unit, end.status)
        return Ended(end.status, masked=masked)
    if end.signal is not None:
        return Ended(128 + end.signal, masked=masked)
    if told == 0:
        raise HostError("how the command ended is unknown", exit=Exit.BUG, state="what it did stays")
    logs = journald.own_lines(unit, 10)
    raise HostError("systemd did not start the command", exit=Exit.BUG, state="nothing was run", logs=logs)

"""``fab run``: one command in the release that serves, with no more rights than the app has.

It takes no lock, runs as the app's user under the app's confinement, and ends when this program ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.state import masking
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import journald, runner, systemd
from deployer.host.units import transient
from deployer.host.units.confinement import of_command, unsupported
from deployer.host.units.unitfile import own_environment, properties, state_lines
from deployer.wire import advice
from deployer.wire.protocol import HOLD, Exit
from deployer.wire.reader import TEXT, Reader
from deployer.wire.release.processes import MOST_WORDS, argv_problem

LIMIT = 24 * 3600
"""Seconds after which a command is stopped: it has been forgotten by then."""
_STOP = 10
"""Seconds that a command gets to end after SIGTERM."""


@dataclass(frozen=True)
class RunRequest:
    """What to run: a program, found in the app's PATH, and its arguments. No shell is involved."""

    argv: tuple[str, ...]

    @classmethod
    def parse(cls, message: Any) -> RunRequest:
        """Raises ValueError."""
        read = Reader(message, "run")
        argv = read.texts("argv", TEXT, MOST_WORDS)
        read.done()
        if problem := argv_problem(argv):
            raise ValueError(f"run.argv: {problem}")
        return cls(argv=argv)


def run(ctx: Context, command: RunRequest) -> int:
    """Run a command; returns its exit status (128 plus the signal that killed it). Its lines are ``output`` events.

    It ends with this program, however that ends. Raises HostError when nothing serves, or it could not be run.
    """
    release = ctx.catalog.serving()
    if release is None:
        raise HostError(
            f"nothing of {ctx.app} is deployed yet",
            exit=Exit.USAGE,
            state="nothing was touched",
            next=advice.run("fab deploy"),
        )
    emit = masking.masked(ctx.emit, masking.stored_values(ctx.paths, release.number))
    name = f"deployer-{ctx.app}-run.{os.getpid()}-{secrets.token_hex(4)}"
    with while_there_is_life(), _as_long_as_this_program(name) as scope:
        argv = systemd.transient(
            f"{name}.service",
            _settings(ctx, release, scope),
            transient.UNSEEN,
            wait=True,
            environment=own_environment(ctx.paths, release.number),
        )
        given = transient.unseen(command.argv)
        status = runner.stream(
            argv,
            lambda line: emit("output", phase="run", line=line),
            stdin=given,
            goes_on=lambda: transient.is_under_way(systemd.show(f"{name}.service")),
        )
        return _status(f"{name}.service", status)


def _settings(ctx: Context, release: Release, scope: str) -> list[str]:
    """The environment comes from the file that only root can read, as for the app itself."""
    directory = ctx.paths.release(release.number)
    return [
        f"Description={ctx.app}: a command in {release.name}",
        f"User={ctx.app}",
        f"WorkingDirectory={ctx.paths.code(release.number, release.spec.directory)}",
        f"EnvironmentFile={directory}/env",
        f"BindsTo={scope}",
        f"After={scope}",
        f"TimeoutStopSec={_STOP}",
        f"RuntimeMaxSec={LIMIT}",
        *properties([*state_lines(ctx.app), *of_command("run", release.spec.web_unit, without=unsupported(ctx))]),
    ]


@contextlib.contextmanager
def _as_long_as_this_program(name: str) -> Iterator[str]:
    """A scope that ends with the block, and with this program, even if that is killed by SIGKILL.

    The process in it reads from a pipe whose other end is here. systemd stops what is bound to the scope; until then
    the scope, which is ordered after the unit, makes systemd remember how the unit ended.
    """
    scope = f"{name}.scope"
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
            if not keeper.stdout.readline():  # it comes back once the scope is there
                said = keeper.stderr.read(4096).decode("utf-8", "replace").splitlines()
                message = "systemd did not start a unit for the command"
                raise HostError(message, exit=Exit.BUG, state="nothing was run", logs=said)
            yield scope
        finally:
            with contextlib.suppress(BrokenPipeError):
                keeper.stdin.close()


def _status(unit: str, told: int) -> int:
    """How the unit's process ended. ``told`` is systemd-run's status, which counts a SIGTERM as a success.

    Raises HostError when the process never began, or took too long.
    """
    end = systemd.end_of(unit)
    systemd.systemctl("reset-failed", unit)
    if end.result == "timeout":
        message = f"the command did not end within {LIMIT // 3600} hours, and was stopped"
        raise HostError(message, exit=Exit.BUG, state="what it did stays")
    if end.status is not None:
        exitstatus.refuse_if_not_started("the command", unit, end.status)
        return end.status
    if end.signal is not None:
        return 128 + end.signal
    if told == 0:
        raise HostError("how the command ended is unknown", exit=Exit.BUG, state="what it did stays")
    logs = journald.own_lines(unit, 10)
    raise HostError("systemd did not start the command", exit=Exit.BUG, state="nothing was run", logs=logs)


@contextlib.contextmanager
def while_there_is_life(descriptor: int = 0) -> Iterator[None]:
    """For the block, end this program when the laptop closes the channel or is silent for HOLD seconds.

    A laptop that lost its network closes nothing. Any input counts as a sign of life and is discarded.
    """
    done = threading.Event()

    def watch() -> None:
        silent = 0.0
        while not done.is_set():
            ready, _, _ = select.select([descriptor], [], [], 0.5)
            silent = 0.0 if ready else silent + 0.5
            gone = silent >= HOLD or (ready and not done.is_set() and not os.read(descriptor, 65536))
            if gone and not done.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()

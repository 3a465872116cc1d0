"""The one-off commands of a release, in its code and environment: its migration and its checks."""

from __future__ import annotations

import base64
from typing import Callable

from deployer.host.diagnosis.causes import MIGRATION_NEVER_BEGAN
from deployer.host.diagnosis.diagnosis import from_command, from_migration
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.system import files
from deployer.host.units import transient
from deployer.host.units.confinement import of_command, unsupported
from deployer.host.units.transient import Command
from deployer.host.units.unitfile import own_environment, state_lines
from deployer.wire.release.processes import Unit

_KEPT = "what its migration had committed stays"


def migrate(ctx: Context, release: Release) -> str:
    """Run the migration as the app's user; returns the command. Raises HostError."""
    status, lines = _run(ctx, release, "migrate", release.spec.migrate, release.spec.web_unit, _KEPT)
    if status != 0:
        found = from_migration(lines, ctx.app, ctx.paths.code(release.number), status)
        raise HostError(
            f"the migration {release.spec.migrate!r} failed (exit status {status}){found.why}",
            logs=lines[-40:],
            next=found.next,
            stays="" if found.cause.name == MIGRATION_NEVER_BEGAN.name else _KEPT,
        )
    return release.spec.migrate


def check_processes(ctx: Context, release: Release) -> list[str]:
    """Run the check of each process that has one; returns their names. Raises HostError."""
    checked = [process for process in release.spec.processes if process.check]
    for process in checked:
        status, lines = _run(ctx, release, "check", process.check, process.unit)
        if status != 0:
            found = from_command(status, lines, ctx.app, ctx.paths.code(release.number))
            raise HostError(
                f"processes.{process.name}.check: {process.check!r} failed (exit status {status}){found.why}",
                logs=lines[-40:],
                next=found.next,
            )
    return [process.name for process in checked]


def ask_python(ctx: Context, release: Release, script: str, limit: float, on_line: Callable[[str], None]) -> int:
    """Run a script of ours in the release's Python, as the app's user, for at most ``limit`` seconds; its exit status.

    No line of it is reported. Raises HostError when it takes longer, or could not be run.
    """
    encoded = base64.b64encode(script.encode()).decode()  # the words of a unit have no quotes and no line breaks
    status, _ = transient.run(
        ctx,
        Command(
            name="django",
            user=ctx.app,
            argv=(
                f"{ctx.paths.release(release.number)}/venv/bin/python",
                "-c",
                f"import base64; exec(base64.b64decode('{encoded}'))",
            ),
            directory=ctx.paths.code(release.number, release.spec.directory),
            limit=limit,
            key="",
        ),
        {**own_environment(ctx.paths, release.number), **read_environment(ctx, release)},
        [*state_lines(ctx.app), *of_command("check", release.spec.web_unit, without=unsupported(ctx))],
        on_line,
    )
    return status


def _run(ctx: Context, release: Release, name: str, command: str, unit: Unit, stays: str = "") -> tuple[int, list[str]]:
    """Run a command of the app's under its confinement."""
    return transient.run(
        ctx,
        Command(
            name=name,
            user=ctx.app,
            argv=("/bin/sh", "-euc", command),
            directory=ctx.paths.code(release.number, release.spec.directory),
            limit=release.spec.migrate_timeout,
            key="release.migrate_timeout",
            stays=stays,
        ),
        {**own_environment(ctx.paths, release.number), **read_environment(ctx, release)},
        [*state_lines(ctx.app), *of_command(name, unit, without=unsupported(ctx))],
        lambda line: ctx.emit("output", phase=name, line=line),
    )


def read_environment(ctx: Context, release: Release) -> dict[str, str]:
    """The release's environment, as the laptop sent it. Raises Damaged."""
    return files.read_object(ctx.paths.release(release.number) / "env.json") or {}

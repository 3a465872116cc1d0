"""The environment of a new release: what came with the request, and what only this host knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deployer.host.deployment.failures import Failures
from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.operator import environment
from deployer.host.state.releases import Release
from deployer.host.system import files
from deployer.wire.advice import do, run
from deployer.wire.environment import environment_file, environment_problem, missing
from deployer.wire.protocol import Exit

_NAMED = 8
"""Variables that a message names."""


def complete(ctx: Context, request: Request) -> Request:
    """With the variables that the host keeps, as the request changes them, and those of its data services.

    Called under the app's lock: what is stored stays so until the release has ended. Raises HostError when it was
    changed since the request was made, or when a required variable is missing.
    """
    if request.inherits:
        with Failures(ctx).kept("comparing its environment with what is set on this host"):
            environment.settle(ctx)
            _tell_differences(ctx, request)
        return request
    environment.settle(ctx)
    stored = environment.stored(ctx)
    if request.change is not None:
        stored.refuse_other(request.change)
        stored = stored.after(request.change, request.by, ctx.clock())
    values, sources = environment.layered(request.environment, request.sources, ctx.settings.environment, stored.values)
    if problem := environment_problem(values):
        raise HostError(f"the environment of the release {problem}", exit=Exit.REFUSED, next=run("fab env"))
    if absent := missing(request.required, values):
        raise HostError(
            f"required, and neither set on this host nor in deploy.toml: {named(absent)}",
            exit=Exit.REFUSED,
            state="nothing was touched",
            next=run(f"fab env.set {absent[0]}", "asks for its value") + do("or take it out of [env] required"),
        )
    secret = tuple(sorted({*request.secret, *stored.variables}))
    return replace(request, environment=values, sources=sources, secret=secret)


def _tell_differences(ctx: Context, request: Request) -> None:
    """Say what an older release's environment has otherwise than the next one will."""
    kept = environment.stored(ctx).values
    differs = environment.differing(request.environment, request.sources, kept)
    if differs and request.kind == "rollback":
        text = f"v{request.of} has its own values, which differ from those set on this host: {named(differs)}"
        ctx.emit("warn", text=f"{text}; the next deploy or reload takes those of the host")


def named(names: tuple[str, ...]) -> str:
    """Names for people: the first of them, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def write(ctx: Context, request: Request, release: Release, directory: Path) -> None:
    """Write the environment of a release into its directory. Raises OSError."""
    files.write_json(directory / "env.json", request.environment, 0o600)
    files.write_json(directory / "secret.json", list(request.secret), 0o600)
    environment.write_sources(directory, request.sources)
    if request.change is not None:
        environment.hold(ctx, directory, request.change, request.by)
    note = f"release {release.name} of {ctx.app}"
    files.write_file(directory / "env", environment_file(request.environment, note), 0o600)

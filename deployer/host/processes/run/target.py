"""Which release a command runs in, kept from removal meanwhile, and which words it has there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from deployer.host.errors import HostError
from deployer.host.processes.run.request import RunRequest
from deployer.host.state.app import Context
from deployer.host.state.releases import DEAD, FAILED, GOOD, READY, SERVED, Release
from deployer.host.system import files
from deployer.wire import advice
from deployer.wire.protocol import WEB, Exit
from deployer.wire.release.command import MANAGE, SHELL
from deployer.wire.release.processes import Unit

_UNTOUCHED = "nothing was touched"


@contextlib.contextmanager
def held(ctx: Context, request: RunRequest) -> Iterator[Release]:
    """The release that is asked for, complete; nobody removes it during the block. Raises HostError when there is none.

    The lock is on its directory (:func:`deployer.host.system.files.is_locked`), and goes with this program.
    """
    while True:
        release = _found(ctx, request.release)
        descriptor = files.lock(ctx.paths.release(release.number))
        if descriptor is not None:
            break
    try:
        yield _complete(ctx, ctx.catalog.get(release.number))
    finally:
        os.close(descriptor)


def _found(ctx: Context, number: int) -> Release:
    return ctx.catalog.get(number) if number else ctx.catalog.require_serving()


def _complete(ctx: Context, release: Release) -> Release:
    """A release that failed has a record, and its content is gone; one that is being made has not all of it yet."""
    parts = ("code", "env", *(["venv"] if release.venv else []))
    there = all((ctx.paths.release(release.number) / name).exists() for name in parts)
    if release.result in (READY, SERVED, GOOD) and there:
        return release
    ended = release.result if release.result == FAILED else f"was {release.result}"
    why = f"it {ended}, and its code is gone" if release.result in DEAD else "it is not complete"
    kept = ", ".join(one.name for one in ctx.catalog.all() if one.usable) or "none"
    raise HostError(
        f"no command can run in {release.name}: {why}; those that are kept: {kept}",
        exit=Exit.USAGE,
        state=_UNTOUCHED,
        next=advice.run("fab releases"),
    )


def overrides(ctx: Context, release: Release, process: str) -> Unit:
    """What ``[web.unit]``, or the ``unit`` of a process or a timer, overrides. Raises HostError for an unknown name."""
    if process in ("", WEB):
        return release.spec.web_unit
    known = {one.name: one.unit for one in release.spec.background}
    if process in known:
        return known[process]
    names = ", ".join([*([WEB] if release.spec.web is not None else []), *known])
    raise HostError(
        f"{release.name} of {ctx.app} has no process {process!r} on this host; it has: {names}",
        exit=Exit.USAGE,
        state=_UNTOUCHED,
        next=advice.run("fab status"),
    )


def words(ctx: Context, release: Release, request: RunRequest) -> tuple[str, ...]:
    """The words to run. Raises HostError when there is no manage.py."""
    if request.kind == SHELL:
        return shell()
    if request.kind == MANAGE:
        _require_manage(ctx, release)
        return ("python" if release.venv else "python3", "manage.py", *request.argv)
    return request.argv


def shell() -> tuple[str, ...]:
    """bash, without the files that would change its prompt; sh where the host has no bash."""
    return ("/bin/bash", "--noprofile", "--norc") if os.access("/bin/bash", os.X_OK) else ("/bin/sh",)


def prompt(ctx: Context, release: Release, place: str) -> dict[str, str]:
    """Variables for a shell: who and where in its prompt, and no file with what was typed. ``PWD`` makes it show the
    directory by the release, and not by the tree that is behind the link."""
    where = r" \W" if shell()[0] == "/bin/bash" else ""
    directory = str(ctx.paths.code(release.number, release.spec.directory))
    return {"PS1": rf"{ctx.app}@{place} {release.name}{where} \$ ", "HISTFILE": "", "PWD": directory}


def _require_manage(ctx: Context, release: Release) -> None:
    directory = release.spec.directory
    if (ctx.paths.code(release.number, directory) / "manage.py").is_file():
        return
    where = f"in {directory}/ of {release.name}" if directory else f"at the top of the code of {release.name}"
    raise HostError(
        f"there is no manage.py {where}",
        exit=Exit.USAGE,
        state=_UNTOUCHED,
        next=advice.do("when it lies elsewhere: directory in deploy.toml, then fab deploy")
        + advice.run("fab run -- COMMAND", "for an app that is not Django's"),
    )

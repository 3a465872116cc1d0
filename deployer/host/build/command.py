"""One command of a build: it runs as the deploy user, confined, and can write only what it builds and its cache."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer.host.build import disk
from deployer.host.diagnosis.causes import LACKING
from deployer.host.diagnosis.diagnosis import from_command
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.system import ownership, systemd
from deployer.host.units import confinement, transient
from deployer.host.units.transient import Command
from deployer.wire.advice import NOTHING, Next, do, run

_CORRECT = do("correct the build command")


def run_build(
    ctx: Context,
    argv: Sequence[str],
    directory: Path,
    writable: Path,
    environment: Mapping[str, str],
    what: str,
    limit: float,
    venv: Path | None = None,
    next: Next = NOTHING,
) -> None:
    """Run a command as the deploy user, able to write only ``writable`` and its cache.

    Raises HostError with the command's output when it fails, unless ``what`` is empty.
    """
    path = f"{venv}/bin:/usr/local/bin:/usr/bin:/bin" if venv else "/usr/local/bin:/usr/bin:/bin"
    cache = f"/var/cache/deployer-{ctx.app}"
    own = {"PATH": path, "HOME": cache, "XDG_CACHE_HOME": cache, "NO_COLOR": "1", **_uv_settings(writable, cache)}
    status, lines = transient.run(
        ctx,
        Command(
            name="build",
            user=ctx.settings.deploy_user,
            argv=tuple(argv),
            directory=directory,
            limit=limit,
            key="release.build_timeout",
        ),
        {**environment, **own},
        [
            ("CacheDirectory", f"deployer-{ctx.app}"),
            ("CacheDirectoryMode", "0700"),
            *confinement.lines("build", without=confinement.unsupported(ctx)),
            ("ReadWritePaths", str(writable)),
            *_ssh_files(ctx),
        ],
        (lambda line: ctx.emit("output", phase="build", line=line)) if what else (lambda _: None),
    )
    if status == 0 or not what:
        return
    if disk.is_full(str(writable)):
        raise disk.full_disk(writable.parent, what, lines)
    found = from_command(status, lines, ctx.app, directory)
    advice = found.next if found.cause in LACKING else next or found.next
    raise HostError(f"{what} failed (exit status {status}){found.why}", logs=lines[-40:], next=advice)


def _uv_settings(environment: Path, cache: str) -> dict[str, str]:
    """uv's settings that concern the host, whatever the project's own say: paths, and which Pythons there are.

    Which packages are chosen, and from where, is the project's decision.
    """
    return {
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_CACHE_DIR": f"{cache}/uv",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_PREFERENCE": "only-system",
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",  # its name before
        "UV_NO_PROGRESS": "1",
    }


_SSH_FILES = ("known_hosts", "config", "id_ed25519", "id_ecdsa", "id_rsa")
"""What ssh needs of ``~/.ssh`` to fetch a private dependency."""


def _ssh_files(ctx: Context) -> list[confinement.Line]:
    """Show SSH's client files to a build, read-only; the rest of the deploy user's home is hidden from it."""
    home = pwd.getpwnam(ctx.settings.deploy_user).pw_dir
    if not re.fullmatch(r"/[\w./-]+", home):
        return []
    return [("BindReadOnlyPaths", f"-{home}/.ssh/{name}") for name in _SSH_FILES]


def take(ctx: Context, built: Path) -> None:
    """Take what was built for root. Raises HostError when a process of the build still runs, or could still write."""
    transient.refuse_running(ctx, "build")
    try:
        ownership.take(built, ctx.builder()[0])
    except PermissionError as error:
        raise refused(error) from None


def refused(error: PermissionError, mend: Next = _CORRECT) -> HostError:
    """The error for what root does not take; ``mend`` is what to do before the next deploy."""
    return HostError(f"what was built is refused: {error}", next=mend + run("fab deploy"))


def stop_build(ctx: Context) -> None:
    """Stop the build command that runs, if any. Never raises."""
    systemd.systemctl("stop", transient.unit_of(ctx, "build"))

"""What can be wrong with this machine, told as that and never as a traceback."""

from __future__ import annotations

import errno
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import ConfigError, DeployerError, Exit
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

__all__ = ["CAUSES", "as_local", "local_failure", "refuse_without_home"]

TEMPORARY_FULL = Cause(
    "local-disk-full",
    "there is no room left on this machine (`ENOSPC`, `EDQUOT`), or no directory for temporary files",
    "this machine has no room for temporary files: {why}",
    run("df -h {directory}") + do("make room there, or set TMPDIR to a directory that has some"),
)
NO_PROGRAM = Cause(
    "local-no-program",
    "a program that is needed here is not in PATH",
    "the program {program} is not installed here, or not in PATH",
    do("install {program}, or correct PATH"),
)
NO_HOME = Cause(
    "local-no-home",
    "the user database of this machine does not know the user, and OpenSSH refuses to work",
    "the user {uid} is not known on this machine, so ssh cannot find its configuration and keys",
    do("give the user an entry in /etc/passwd, as containers for CI often lack")
    + run("getent passwd {uid}", "must print a line"),
)
NOT_ALLOWED = Cause(
    "local-not-allowed",
    "a file of this machine may not be read or written",
    "this machine does not let us use {path}: {why}",
    run("ls -ld {path}", "shows whose it is"),
)
OTHER = Cause(
    "local-error",
    "any other error of this machine's operating system",
    "this machine: {why}",
    do("put that right on this machine, then again; what a host had begun it finishes or undoes by itself")
    + run("fab status"),
)
CAUSES = (TEMPORARY_FULL, NO_PROGRAM, NO_HOME, NOT_ALLOWED, OTHER)


class LocalError(DeployerError):
    """An error of this machine at a place where it is not known what the hosts have begun."""

    exit = Exit.BUG


def local_failure(error: OSError, *, untouched: bool = False) -> DeployerError:
    """An error of this machine's operating system. ``untouched``: it is known that no host has been asked anything."""
    kind = ConfigError if untouched else LocalError
    path = error.filename if isinstance(error.filename, str) else ""
    why = f"{error.strerror or error}{f': {path}' if path else ''}"
    cause, values = OTHER, {"why": why}
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or _has_no_temporary(error):
        cause, values = TEMPORARY_FULL, {"why": why, "directory": os.environ.get("TMPDIR") or "/tmp"}  # noqa: S108
    elif isinstance(error, FileNotFoundError) and path and "/" not in path:
        cause, values = NO_PROGRAM, {"program": path}
    elif isinstance(error, PermissionError) and path:
        cause, values = NOT_ALLOWED, {"path": path, "why": error.strerror or ""}
    return kind(**cause.told(**values), state="nothing was touched" if untouched else "")


def refuse_without_home(host: str = "") -> None:
    """Raises ConfigError when this user is unknown here, so that neither ssh nor we know where its files are."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        raise ConfigError(**NO_HOME.told(uid=os.getuid()), host=host) from None


def _has_no_temporary(error: OSError) -> bool:
    """``tempfile`` found no directory that can be written to."""
    if not isinstance(error, FileNotFoundError) or error.filename:
        return False
    try:
        tempfile.gettempdir()
    except OSError:
        return True
    return False


@contextmanager
def as_local(*, untouched: bool = True) -> Iterator[None]:
    """An OSError in the block becomes an error of this machine."""
    try:
        yield
    except OSError as error:
        raise local_failure(error, untouched=untouched) from error

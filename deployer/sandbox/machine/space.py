"""Room on the disk that holds images and hosts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer.sandbox.errors import SandboxError

MIB = 1024 * 1024
FULL_BELOW = 8 * MIB
"""Bytes: when less is free, a failure is reported as a full disk."""


def free_bytes(directory: Path) -> int:
    """Bytes available to ordinary users there."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def refuse_small(directory: Path, needed: int, what: str) -> None:
    """Raises SandboxError unless `needed` bytes are free in `directory` for `what`."""
    free = free_bytes(directory)
    if free < needed:
        raise SandboxError(
            f"There is not enough room in {directory} for {what}: {free // MIB} MiB of {needed // MIB} are free.",
            state="Nothing was created.",
            hint=_hint(directory),
        )


@contextmanager
def watched(directory: Path) -> Iterator[None]:
    """Failures in the block are reported as a full disk if the disk of `directory` is full.

    What fills the disk must still exist when the block ends: remove it afterwards.
    """
    try:
        yield
    except SandboxError as error:
        if free_bytes(directory) >= FULL_BELOW:
            raise
        raise disk_full(directory, console=error.console or error.problem) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(directory) from None


def disk_full(directory: Path, *, console: str = "") -> SandboxError:
    """The error when there was no room for images or hosts."""
    return SandboxError(
        f"The disk that holds {directory} is full.",
        state="What was begun was removed.",
        hint=_hint(directory),
        console=console,
    )


def _hint(directory: Path) -> str:
    return f"df -h {directory}, and make room there; or set DEPLOYER_SANDBOX_DIR to a directory on another disk"

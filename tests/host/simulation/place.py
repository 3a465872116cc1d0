"""Where a simulated disk lies: in memory where that can be, since it is read and written some ten thousand times."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def make() -> Path:
    """A new directory, the caller's to remove."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="deployer-days-", dir=base))


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A new directory for the block."""
    made = make()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)

"""An environment of its own for each peer, kept in the user's cache between runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.show import progress

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deployer-bench"


def environment(name: str, *packages: str) -> Path | None:
    """The ``bin`` directory of an environment that holds the packages; None if they cannot be installed."""
    directory = CACHE / name
    done = directory / "done"
    if done.exists() and done.read_text().split("\n") == list(packages):
        return directory / "bin"
    progress(f"installing {', '.join(packages)}")
    make = [sys.executable, "-m", "venv", "--clear", str(directory)]
    install = [str(directory / "bin/pip"), "install", "--quiet", *packages]
    if any(subprocess.run(command, capture_output=True).returncode for command in (make, install)):
        return None
    done.write_text("\n".join(packages))
    return directory / "bin"

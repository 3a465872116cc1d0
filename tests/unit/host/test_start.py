"""What the host program imports each time it starts, several times in a deploy: as little as it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "ssl", "shutil", "logging", "mimetypes", "configparser", "calendar", "urllib.request", "tempfile")
"""Standard modules of which most requests need none; together they take as long as half of the program."""


@pytest.mark.parametrize("module", ["session.session", "job.main", "service"])
def test_a_start_imports_nothing_heavy(module: str) -> None:
    """They are imported where they are used."""
    code = f"import sys, deployer.host.{module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

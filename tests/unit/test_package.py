"""What is installed: one version, a licence, and a name that is free."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import deployer

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_written_once(tmp_path: Path) -> None:
    """In the package itself: the build reads it there, and so does the command, without a search for its metadata."""
    text = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in text and 'path = "deployer/__init__.py"' in text
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", deployer.__version__)
    argv = [str(Path(sys.executable).with_name("deployer")), "--version"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, f"deployer {deployer.__version__}\n")


def test_the_licence_ships() -> None:
    """MIT, as pyproject.toml says, and whose it is."""
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n") and "The deployer authors" in text
    assert 'license-files = ["LICENSE"]' in (ROOT / "pyproject.toml").read_text()


def test_nobody_is_told_to_install_the_other_deployer() -> None:
    """That name on PyPI belongs to another project: advice to install it would fetch strangers' code."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "deployer").rglob("*.py")]
    command = re.compile(r"(?:pip|uv|pipx)[a-z ]* (?:install|add)(?: -\S+)* deployer\b")
    assert [str(page) for page in pages if command.search(page.read_text())] == []

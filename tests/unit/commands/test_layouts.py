"""What ``deployer init`` writes and says for each layout of ``tests/apps/layouts``, as files beside this one.

``python -m tests.unit.commands.test_layouts`` writes them anew.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from deployer.commands.init import interview, plan_init, refuse_mistake, write
from deployer.config import load, read_env_file
from deployer.project.detect import DiskFiles
from deployer.project.detect.application import complete
from tests.support.project import Project

LAYOUTS = Path(__file__).resolve().parents[2] / "apps" / "layouts"
GOLDEN = Path(__file__).with_name("layouts")
NAMES = sorted(path.name for path in LAYOUTS.iterdir())


def initialised(layout: str, place: Path) -> tuple[Path, str]:
    """A copy of the layout with the files that init writes, and all that it wrote and said; no key is the same."""
    root = place / "shop"
    shutil.copytree(LAYOUTS / layout, root, ignore=shutil.ignore_patterns("__pycache__"))
    Project(root).git("init", "--quiet")
    found = interview(root, None)
    refuse_mistake(found.project)
    said = write(found.project, plan_init(found.project, secrets=found.secrets))
    names = [name for name in ("deploy.toml", ".env.production", ".gitignore") if (root / name).exists()]
    files = [f"--- {name}\n{(root / name).read_text()}" for name in names]
    return root, re.sub(r"=[\w-]{60,}", "=…", "\n".join(["\n".join(said), "", *files]))


@pytest.mark.parametrize("layout", NAMES)
def test_what_is_written_for_a_layout(layout: str, tmp_path: Path) -> None:
    """It is what it was, deploy.toml is accepted, and a deploy would find nothing else to serve."""
    root, told = initialised(layout, tmp_path)
    assert told == (GOLDEN / f"{layout}.txt").read_text()
    config = load(root / "deploy.toml")
    assert complete(config, DiskFiles(root)) == config
    if config.env_file:
        assert (root / config.env_file).stat().st_mode & 0o077 == 0
        assert all(len(secret.reveal()) > 50 for secret in read_env_file(root / config.env_file).values())


def test_there_are_twelve_layouts_and_no_other_text() -> None:
    """A layout that goes takes its text with it."""
    assert len(NAMES) >= 12
    assert sorted(path.stem for path in GOLDEN.iterdir()) == NAMES


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        with tempfile.TemporaryDirectory() as directory:
            (GOLDEN / f"{name}.txt").write_text(initialised(name, Path(directory))[1])

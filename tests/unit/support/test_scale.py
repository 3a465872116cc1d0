"""Generated projects and environments are of the size that was asked for, and always the same."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.scale import grown, wheels


def test_a_project_has_as_many_files_as_asked_for_and_is_always_the_same(tmp_path: Path) -> None:
    """The number is exact, half are modules that compile, and the history is in one pack, as in a fresh clone."""
    one, two = (grown(tmp_path / name, 220, config='app = "shop"\n') for name in ("one", "two"))
    files = one.git("ls-files").splitlines()
    assert len(files) == 220
    modules = [file for file in files if re.fullmatch(r"bulk/.*\.py", file)]
    assert len(modules) == 100
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(one.path / "bulk")], check=True)
    assert one.git("rev-parse", "HEAD^{tree}") == two.git("rev-parse", "HEAD^{tree}")
    assert len(list((one.path / ".git/objects/pack").glob("*.pack"))) == 1
    assert one.git("count-objects").startswith("0 objects")


def test_the_smallest_project_is_the_sample_app(tmp_path: Path) -> None:
    """It has 20 files, and nothing generated."""
    files = grown(tmp_path / "small", 20, config='app = "shop"\n').git("ls-files").splitlines()
    assert len(files) == 20
    assert not [file for file in files if file.startswith("bulk/")]


@pytest.mark.parametrize(("files", "packages"), [(300, 1), (2_400, 3)])
def test_wheels_make_an_environment_of_the_size_asked_for(tmp_path: Path, files: int, packages: int) -> None:
    """pip installs what is served, bytecode included: about so many files and bytes, and nothing from elsewhere."""
    size, place = 40_000_000, tmp_path / "environment"
    with wheels(tmp_path / "wheels", files=files, size=size) as made:
        (tmp_path / "requirements.txt").write_text(made.requirements)
        index = made.requirements.splitlines()[0].split()[1]
        assert urllib.request.urlopen(index, timeout=10).status == 200
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--compile", "--no-deps"]
        subprocess.run([*pip, "--target", str(place), "-r", str(tmp_path / "requirements.txt")], check=True)
    assert len(list(place.glob("*.dist-info"))) == packages
    found = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    assert len(found) == pytest.approx(files, rel=0.1)
    assert sum(found) == pytest.approx(size, rel=0.1)

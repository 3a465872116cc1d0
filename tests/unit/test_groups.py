"""How tests are handed out to the workers of a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = "import pytest\n\n@pytest.mark.parametrize('number', range(9))\ndef test_it(number):\n    pass\n"


def test_the_tests_of_a_file_stay_on_one_worker(tmp_path: Path) -> None:
    """Whatever pytest and pytest-xdist make of groups: else every worker boots every file's hosts."""
    shutil.copy(CONFTEST, tmp_path)
    for name in ("test_one.py", "test_two.py", "test_fleet_bed.py", "test_processes.py"):
        (tmp_path / name).write_text(TESTS)
    run = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    ran = [line.split() for line in done.stdout.splitlines() if line.startswith("[gw")]
    workers: dict[str, set[str]] = {}
    for words in ran:
        workers.setdefault(words[-1].partition("::")[0], set()).add(words[0])
    assert len(ran) == 36, done.stdout
    assert len(workers["test_one.py"]) == 1
    assert len(workers["test_two.py"]) == 1
    assert len(workers["test_fleet_bed.py"]) > 1

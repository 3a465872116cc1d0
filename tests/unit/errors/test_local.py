"""What is amiss with this machine is told as that, never as a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.errors.local import as_local, local_failure
from deployer.project.spool import Spool

cause = pytest.mark.cause

FULL, MISSING = OSError(errno.ENOSPC, "No space left"), FileNotFoundError(2, "No such file", "git")
CLOSED, OTHER = PermissionError(13, "Permission denied", "/root/x"), OSError(5, "Input/output error")
FAILURES = [
    pytest.param(FULL, "no room for temporary files", "df -h", marks=cause("local-disk-full")),
    pytest.param(MISSING, "the program git is not", "install git", marks=cause("local-no-program")),
    pytest.param(CLOSED, "let us use /root/x", "ls -ld /root/x", marks=cause("local-not-allowed")),
    pytest.param(OTHER, "Input/output error", "fab status", marks=cause("local-error")),
]


@pytest.mark.parametrize(("error", "words", "step"), FAILURES)
def test_an_error_of_the_system_is_told_by_its_number(error: OSError, words: str, step: str) -> None:
    """What it says, what to type; that nothing was touched only where that is known."""
    told = local_failure(error)
    assert words in told.message and step in str(told.next)
    assert (told.state, told.exit) == ("", 1)
    untouched = local_failure(error, untouched=True)
    assert (untouched.state, untouched.exit) == ("nothing was touched", 2)


def test_no_directory_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own error for it has no file name; it is told as what it is."""

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: none())
    with pytest.raises(ConfigError, match="no room for temporary files"), as_local():
        Spool()


def test_a_full_temporary_directory_is_no_traceback(tmp_path: Path) -> None:
    """fab deploy with a TMPDIR that takes nothing: exit 2, nothing was touched, and what to type."""
    (tmp_path / "deploy.toml").write_text('app = "shop"\nhosts = ["deploy@127.0.0.1:1"]\n[web]\ncommand = "true"\n')
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "sys.argv = ['deployer', 'deploy', '--dirty'];"
        "from deployer.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "nothing was touched" in done.stderr

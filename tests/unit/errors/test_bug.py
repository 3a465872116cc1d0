"""What nobody foresaw keeps its traceback, whatever else is wrong."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest
from invoke.exceptions import Exit as Quit

from deployer.cli.ending import explained
from deployer.errors import Exit
from deployer.errors.bug import Bug


class Unspeakable(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no")


def caught(error: BaseException) -> BaseException:
    """The error as it comes out of where it was raised."""
    try:
        raise error
    except BaseException as raised:
        return raised


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_whole_traceback_is_kept_for_this_user_alone(kept: Path) -> None:
    """Its end is shown; the file has all of it, and names the versions that a report needs."""

    def deep(count: int) -> None:
        if not count:
            raise KeyError("x" * 5000)
        deep(count - 1)

    with pytest.raises(KeyError) as raised:
        deep(50)
    bug = Bug.of(raised.value, host="web1")
    (path,) = kept.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("deployer on Python 3.")
    assert str(path) in bug.message and str(path) in str(bug.next)
    assert (bug.exit, bug.host) == (Exit.BUG, "web1")
    assert len(bug.logs) <= 30 and bug.logs[-1].startswith("KeyError")
    assert len(bug.message) < 500


def test_a_bug_is_told_though_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no file to name; nor does an exception that cannot be shown hide itself."""
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    bug = Bug.of(caught(Unspeakable()))
    assert "(it cannot be shown)" in bug.message
    assert "traceback" not in bug.message
    assert "with the lines above" in str(bug.next)
    assert any("Traceback" in line for line in bug.logs)


def test_a_bug_is_a_bug_once() -> None:
    """What a thread has told is not wrapped again by whoever waits for it."""
    bug = Bug.of(caught(ValueError("x")), state="nothing was touched")
    assert Bug.of(bug) is bug


def test_a_printer_that_breaks_hides_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """Both are shown, and the exit code stays."""

    def broken(_: object) -> None:
        raise RuntimeError("no terminal")

    with pytest.raises(Quit) as quit, explained(broken):
        raise ZeroDivisionError("oops")
    assert quit.value.code == Exit.BUG
    said = capsys.readouterr().err
    assert "RuntimeError: no terminal" in said
    assert "this is a bug of deployer: ZeroDivisionError: oops" in said

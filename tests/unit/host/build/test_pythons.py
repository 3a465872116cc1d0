"""Which Python a release gets on a host, what a lock accepts, and what is advised when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.build import installer, pythons
from deployer.host.build.pythons import find_interpreter
from deployer.host.errors import HostError
from deployer.host.system.runner import CommandResult
from deployer.wire.spec import LockSpec
from deployer.wire.versions import fits


@pytest.mark.parametrize(
    ("version", "requires", "accepted"),
    [
        ("3.11.2", "", True),
        ("3.11.2", ">=3.11", True),
        ("3.11.2", ">=3.11.3", False),
        ("3.11.2", ">3.11", True),
        ("3.11.0", ">3.11", False),
        ("3.11.2", "<3.11", False),
        ("3.9.18", ">=3.11", False),
        ("3.10.1", ">=3.9,<3.11", True),
        ("3.11.0", "<=3.11", True),
        ("3.11.2", "~=3.9", True),
        ("3.11.2", "~=3.11.3", False),
        ("3.12.0", "~=3.11.1", False),
        ("3.11.2", "==3.11.*", True),
        ("3.12.2", "==3.11.*", False),
        ("3.11.2", "==3.11", False),
        ("3.11.2", "!=3.11.*, >=3.9", False),
        ("3.11.2", "!=3.11.1", True),
        ("3.13.0rc1", ">=3.13", True),
        ("3.11", ">=3.11.4", True),
        ("3.11", ">=3.12", False),
        ("3.11", "<3.11.1", True),
        ("3.11.2", "whatever", True),
    ],
)
def test_what_a_specifier_accepts(version: str, requires: str, accepted: bool) -> None:
    """The clauses of requires-python, read as installers do; of a short version any patch release counts."""
    assert fits(version, requires) is accepted


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs of a host whose python3 is 3.11.2, and that has 3.11 and 3.13."""
    for name, version in (("python3", "3.11.2"), ("python3.11", "3.11.2"), ("python3.13", "3.13.1"), ("python3-x", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho CPython {version} x86_64\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(pythons, "HOST_PATH", str(tmp_path))
    really = pythons.run

    def run(argv: list[str], **options: float) -> CommandResult:
        known = ["true"] if argv[-1] == "python3.12" else ["false"]
        return really(known if argv[0] == "apt-cache" else argv)

    monkeypatch.setattr(pythons, "run", run)
    return tmp_path


def refused(version: str, requires: str = "") -> HostError:
    with pytest.raises(HostError) as caught:
        find_interpreter(version, requires, "uv.lock")
    return caught.value


def test_the_python_that_is_asked_for(host: Path) -> None:
    """Without a version the host's python3, else the very one; the lock has no objection."""
    assert find_interpreter("", ">=3.11").version == "3.11.2"
    assert find_interpreter("3.13", ">=3.12").path == str(host / "python3.13")


@pytest.mark.cause("no-such-python")
def test_a_python_that_is_not_there(host: Path) -> None:
    """A package is only named where the host's lists have it; what the host has and the lock accepts always is."""
    error = refused("3.12")
    assert str(error.next[0]) == "install it: apt-get install python3.12 python3.12-venv"
    assert 'set python = "3.13" in deploy.toml (this host has 3.11, 3.13)' in str(error.next)
    assert "apt-get" not in str(refused("3.14").next) and "put python3.14 into" in str(refused("3.14").next)
    assert "this host has 3.13)" in str(refused("3.12", ">=3.12").next)


@pytest.mark.cause("python-does-not-fit")
def test_a_python_that_the_lock_does_not_accept(host: Path) -> None:
    """Said as that, with a Python that would do; where there is none, with what is left."""
    error = refused("", ">=3.12")
    assert error.message == "uv.lock is for Python >=3.12, and python3 of this host is 3.11.2"
    assert 'set python = "3.13" in deploy.toml' in str(error.next)
    error = refused("3.13", ">=3.14")
    assert "put a Python >=3.14 into" in str(error.next) and "lower requires-python" in str(error.next)


@pytest.mark.parametrize(
    ("text", "wants"),
    [("y @ git+https://x/y@main", True), ('source = { git = "https://x/y?rev=1#2" }', True), ("type = 'git'", True),
     ("# git+https://x/y", False), ("gitpython==3", False)],
)  # fmt: skip
def test_advice_for_an_installer_that_failed(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wants: bool
) -> None:
    """It does not say more than is known: the installer names the cause; a git that is wanted and missing is seen."""
    (tmp_path / "requirements.txt").write_text(f"{text}\n")
    monkeypatch.setattr(installer, "HOST_PATH", str(host))
    lock = LockSpec(kind="requirements", path="requirements.txt", files=("requirements.txt",))
    advice = installer.advice(lock, tmp_path)
    assert ("apt-get install git" in advice.commands) is wants
    assert "mend it" not in str(advice) and "this host has 3.11, 3.13" in str(advice)
    assert advice.commands[-1] == "fab deploy"

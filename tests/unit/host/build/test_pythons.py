"""Which Python a release gets on a host, what a lock accepts, and what is advised when there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from deployer.host.build import pythons
from deployer.host.build.environment import installer
from deployer.host.build.pythons import find_interpreter
from deployer.host.errors import HostError
from deployer.wire.release.source import LockSpec
from deployer.wire.release.versions import fits


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
    """The programs of a host whose python3 is 3.11.2, and that has 3.11 and 3.13; ``fab setup`` has installed none."""
    for name, version in (("python3", "3.11.2"), ("python3.11", "3.11.2"), ("python3.13", "3.13.1"), ("python3-x", "")):
        make_python(tmp_path / name, version)
    monkeypatch.setattr(pythons, "HOST_PATH", str(tmp_path))
    monkeypatch.setattr(pythons, "INSTALLED", tmp_path / "pythons")
    monkeypatch.setattr(pythons, "OWN", 11)
    return tmp_path


def make_python(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho CPython {version} x86_64\n")
    path.chmod(0o755)


def install(host: Path, version: str, *, ready: bool = True) -> str:
    """An interpreter as ``fab setup`` installs it; its program."""
    name, minor = f"cpython-{version}-linux-x86_64-gnu", version.rpartition(".")[0]
    make_python(host / "pythons" / name / f"bin/python{minor}", version)
    if ready:
        (host / "pythons" / f"{name}.ready").touch()
    return str(host / "pythons" / name / f"bin/python{minor}")


def refused(version: str, requires: str = "") -> HostError:
    with pytest.raises(HostError) as caught:
        find_interpreter(version, requires, "uv.lock")
    return caught.value


def test_the_python_that_is_asked_for(host: Path) -> None:
    """Without a version the host's python3, else the very one; the lock has no objection."""
    assert find_interpreter("", ">=3.11").version == "3.11.2"
    assert find_interpreter("3.13", ">=3.12").path == str(host / "python3.13")


def test_another_python_of_the_host_where_its_python3_does_not_fit(host: Path) -> None:
    """What the lock accepts is taken from the host before anything is installed."""
    install(host, "3.12.9")
    assert find_interpreter("", ">=3.12").path == str(host / "python3.13")


def test_a_python_that_setup_has_installed(host: Path) -> None:
    """The version nearest to the host's own, of that the newest patch release; what is partly there is left alone."""
    install(host, "3.14.9")
    install(host, "3.12.9")
    newest = install(host, "3.12.11")
    install(host, "3.12.12", ready=False)
    (host / "pythons/cpython-3.12-linux-x86_64-gnu").symlink_to("cpython-3.12.11-linux-x86_64-gnu")
    assert find_interpreter("3.12").path == newest
    assert find_interpreter("", ">=3.12,!=3.13.*").path == newest
    assert find_interpreter("", ">=3.14").version == "3.14.9"


def test_an_installed_python_is_not_taken_for_the_hosts_own(host: Path) -> None:
    """Of one version: an environment of the one is not reused for the other, which may go away."""
    path = install(host, "3.12.9")
    make_python(host / "python3.12", "3.12.9")
    assert find_interpreter("3.12").identity == "CPython 3.12.9 x86_64"
    (host / "python3.12").unlink()
    assert find_interpreter("3.12").identity == f"CPython 3.12.9 x86_64 {path}"


def test_its_own_python_need_not_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known by its file, by whatever name, and says of itself what it would have printed: else each environment
    would be built anew."""
    name = tmp_path / "python3"
    name.symlink_to(sys.executable)
    asked = pythons._asked(str(name))
    monkeypatch.setattr(pythons, "run", Mock(side_effect=AssertionError))
    assert pythons.identify(str(name)).identity == asked


def test_a_python_that_has_been_replaced_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This program still runs on the file that was there before."""
    make_python(tmp_path / "python3", "3.11.2")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert pythons.identify(sys.executable).identity == "CPython 3.11.2 x86_64"


@pytest.mark.parametrize("what", ["nothing", "no program"])
def test_a_python_that_does_not_start(tmp_path: Path, what: str) -> None:
    """It is named."""
    if what == "no program":
        (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "python3").chmod(0o755)
    with pytest.raises(HostError) as caught:
        pythons.identify(str(tmp_path / "python3"))
    assert str(tmp_path / "python3") in caught.value.message


@pytest.mark.cause("no-such-python")
def test_a_python_that_is_not_there(host: Path) -> None:
    """``fab setup`` installs it; what the host has and the lock accepts is named as well."""
    error = refused("3.12")
    assert error.message == "this host has no python3.12, which deploy.toml or .python-version asks for"
    assert error.next.commands == ("fab setup -H root@HOST",)
    assert 'or set python = "3.13" in deploy.toml (this host has 3.11, 3.13)' in str(error.next)
    assert "this host has 3.13)" in str(refused("3.12", ">=3.12").next)


@pytest.mark.cause("python-does-not-fit")
def test_a_python_that_the_lock_does_not_accept(host: Path) -> None:
    """Said as that; ``fab setup`` installs one that fits, and a Python of the host's that would do is named."""
    error = refused("3.11", ">=3.12")
    assert error.message == "uv.lock is for Python >=3.12, and python3.11 of this host is 3.11.2"
    assert error.next.commands == ("fab setup -H root@HOST",)
    assert 'set python = "3.13" in deploy.toml' in str(error.next)
    assert "lower requires-python to what suits 3.11.2" in str(refused("", ">=3.15").next)


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
    assert ("fab setup -H root@HOST" in advice.commands) is wants is ('add "git" to packages' in str(advice))
    assert "mend it" not in str(advice) and "this host has 3.11, 3.13" in str(advice)
    assert advice.commands[-1] == "fab deploy"

"""Which Python ``fab setup`` installs, and when it removes one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.host.build import pythons
from deployer.host.errors import HostError
from deployer.host.setup.software import interpreter, tools
from deployer.host.state.paths import AppPaths
from deployer.host.system import runner
from deployer.wire.setup.software import Software

KEYS = (
    "cpython-3.12.9-linux-x86_64-gnu", "cpython-3.12.16-linux-x86_64-gnu", "cpython-3.12.10-linux-x86_64-gnu",
    "pypy-3.12.20-linux-x86_64-gnu", "cpython-3.12.17+freethreaded-linux-x86_64-gnu",
    "cpython-3.12.0rc1-linux-x86_64-gnu",
)  # fmt: skip
LISTING = json.dumps([{"key": key, "version": key.split("-")[1].split("+")[0], "url": "https://x/y"} for key in KEYS])


@pytest.mark.parametrize(
    ("requires", "chosen"),
    [("", "3.12.16"), (">=3.12.4", "3.12.16"), ("<3.12.10", "3.12.9"), (">=3.13", None)],
)
def test_the_download_that_is_chosen(requires: str, chosen: str | None) -> None:
    """The newest patch release of CPython that the lock accepts; no other Python, no trial version."""
    found = interpreter.choose(LISTING, requires)
    assert found == (chosen and (f"cpython-{chosen}-linux-x86_64-gnu", "https://x/y"))


@pytest.mark.parametrize("listing", ["", "{}", "[1]", '[{"key": 1}]', "null"])
def test_a_list_that_is_none(listing: str) -> None:
    """What uv prints is not taken for granted."""
    assert interpreter.choose(listing, "") is None


@pytest.mark.parametrize(
    ("requires", "version"),
    [(">=3.12", "3.12"), (">=3.12.4,<4", "3.12"), ("~=3.13.0", "3.13"), ("<3.5", ""), ("<3.11", "3.10"), ("", "3.11"),
     ("!=3.11.*", "3.12")],
)  # fmt: skip
def test_the_nearest_that_is_accepted(monkeypatch: pytest.MonkeyPatch, requires: str, version: str) -> None:
    """One answer for hosts of one distribution, whatever their uv knows; no old one where a newer would do."""
    monkeypatch.setattr(pythons, "OWN", 11)
    assert interpreter.nearest(requires) == version


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where interpreters are installed: three are there."""
    installed = tmp_path / "pythons"
    for module in (pythons, interpreter):
        monkeypatch.setattr(module, "INSTALLED", installed)
    for version in ("3.12.9", "3.13.1", "3.14.0"):
        name = f"cpython-{version}-linux-x86_64-gnu"
        (installed / name / "bin").mkdir(parents=True)
        (installed / f"{name}.ready").touch()
        (installed / f"cpython-{version[:4]}-linux-x86_64-gnu").symlink_to(installed / name)
    return installed


def test_what_nothing_uses_is_removed(place: Path, tmp_path: Path) -> None:
    """Kept: the app's own, another app's, and one with which an environment was built. The rest goes, link and all."""
    paths = AppPaths("shop", tmp_path)
    old = pythons.program(place / "cpython-3.14.0-linux-x86_64-gnu")
    used = pythons.program(place / "cpython-3.12.9-linux-x86_64-gnu")
    (tmp_path / "etc/deployer").mkdir(parents=True)
    paths.settings.write_text(json.dumps({"interpreter": old}))
    (tmp_path / "srv/blog/venvs").mkdir(parents=True)
    (tmp_path / "srv/blog/venvs/abc.json").write_text(json.dumps({"python": used}))
    kept = pythons.program(place / "cpython-3.13.1-linux-x86_64-gnu")
    assert interpreter.prune(paths, kept) == ["removed Python 3.14.0, which nothing uses"]
    left = sorted(path.name for path in place.iterdir())
    assert not [name for name in left if "3.14" in name] and len(left) == 6
    (tmp_path / "etc/deployer/blog.json").write_text(json.dumps({"interpreter": kept}))
    assert interpreter.prune(paths, "") == []


@pytest.mark.parametrize("text", ["{", "[]"])
def test_nothing_is_removed_where_not_all_can_be_read(place: Path, tmp_path: Path, text: str) -> None:
    """Another app's damaged settings may name any of them."""
    (tmp_path / "etc/deployer").mkdir(parents=True)
    (tmp_path / "etc/deployer/blog.json").write_text(text)
    assert interpreter.prune(AppPaths("shop", tmp_path), "") == []


def test_an_installed_python_is_brought_up_to_date(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same version, when asked to: the newest patch release that the lock accepts. The host's own is not."""
    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> runner.CommandResult:
        asked.append([word for word in argv if "=" not in word])
        if "install" in argv:
            (place / argv[-1] / "bin").mkdir(parents=True)
        return runner.CommandResult(0, LISTING if "list" in argv else "", "")

    def find(version: str, requires: str) -> pythons.Interpreter:
        one = next(one for one in pythons.installed() if pythons.minor_of(one) == "3.12")
        return pythons.Interpreter(pythons.program(one), f"CPython {one.name.split('-')[1]} x86_64")

    for name in ("own_directory", "write_file"):
        monkeypatch.setattr(interpreter.files, name, lambda path, *_: path.exists() or path.touch())
    monkeypatch.setattr(interpreter, "_own", lambda _: None)
    monkeypatch.setattr(interpreter.prerequisites, "require_room", lambda *_: None)
    monkeypatch.setattr(interpreter.runner, "run", run)
    monkeypatch.setattr(interpreter, "find_interpreter", find)
    assert interpreter.ensure(Software(python="3.12"))[1] == [] and not asked
    path, changed = interpreter.ensure(Software(python="3.12", upgrade=True))
    assert changed == ["Python 3.12.16"] and "cpython-3.12.16-" in path
    assert asked[1][-2:] == ["--reinstall", "cpython-3.12.16-linux-x86_64-gnu"]
    assert interpreter.ensure(Software(python="3.12", upgrade=True))[1] == [], "it is up to date"
    assert not interpreter.is_ours(pythons.Interpreter("/usr/bin/python3", "CPython 3.11.2 x86_64"))


@pytest.mark.cause("python-unknown")
@pytest.mark.parametrize(
    "software", [Software(python="3.29"), Software(requires="<3.5"), Software(python="3.12", requires=">=3.13")]
)
def test_a_python_that_there_is_not(place: Path, monkeypatch: pytest.MonkeyPatch, software: Software) -> None:
    """A uv that was brought up to date and knows none: said as that, and not as a matter of the network."""
    monkeypatch.setattr(pythons, "HOST_PATH", "")
    monkeypatch.setattr(tools, "upgrade_uv", lambda: True)
    monkeypatch.setattr(interpreter.files, "own_directory", lambda *_: False)
    monkeypatch.setattr(interpreter.prerequisites, "require_room", lambda *_: None)
    monkeypatch.setattr(interpreter.runner, "run", lambda *_, **__: runner.CommandResult(0, "[]", ""))
    monkeypatch.setattr(interpreter, "find_interpreter", none)
    with pytest.raises(HostError, match="that could be installed on this host"):
        interpreter.ensure(software)


def none(version: str, requires: str) -> pythons.Interpreter:
    raise HostError("none")


def test_the_hosts_that_a_download_failed_at() -> None:
    """uv lists one address and tries another: what it tells is where it failed, without a password."""
    said = (
        "error: failed\n  cause: Failed to download `https://u:p@github.com/a/b.tgz`\n  (https://github.com/a/b.tgz)\n"
    )
    assert interpreter.hosts_named(said + "https://objects.example:8443/x") == ["github.com", "objects.example:8443"]
    assert interpreter.hosts_named("dns error") == []

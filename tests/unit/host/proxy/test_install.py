"""How a site gets into a proxy: checked before it is loaded, and all as before when that fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.proxy import install
from deployer.host.system import runner

NOTHING = runner.CommandResult(0, "", "")


class Host:
    """What is asked of systemd, and how the proxy judges: ``refuses`` a text, or fails to ``restart``."""

    def __init__(self, patch: pytest.MonkeyPatch, *, active: str = "active", refuses: bool = False, stuck: str = ""):
        self.done: list[str] = []
        self.active, self.refuses, self.stuck = active, refuses, stuck
        patch.setattr(runner, "run", self.judge)
        patch.setattr(install.systemd, "show", lambda _: SimpleNamespace(active=self.active))
        patch.setattr(install.systemd, "require", self.require)

    def judge(self, argv: list[str], **_: Any) -> runner.CommandResult:
        self.done.append(argv[0])
        return runner.CommandResult(1, "", "line 3: no") if self.refuses else NOTHING

    def require(self, *words: str) -> runner.CommandResult:
        self.done.append(words[0])
        if words[0] == self.stuck:
            self.active = "failed"
            self.stuck = ""
            raise HostError(f"systemctl {words[0]} failed")
        return NOTHING


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """One file that is there, and one that is not."""
    (tmp_path / "old").write_text("before")
    return tmp_path / "old", tmp_path / "new"


def test_files_that_are_as_wanted_cause_nothing(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No check and no reload: that would end connections that clients keep open."""
    host = Host(monkeypatch)
    assert install.install("nginx", {paths[0]: "before"}, print) == []
    assert host.done == []


def test_what_has_changed_is_checked_and_then_loaded(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order; a proxy that does not run is not reloaded."""
    host = Host(monkeypatch)
    assert install.install("nginx", {paths[0]: "after", paths[1]: "new"}, print) == [str(path) for path in paths]
    assert host.done == ["nginx", "reload"]
    resting = Host(monkeypatch, active="inactive")
    install.install("nginx", {paths[0]: "again"}, print, restart=True)
    assert resting.done == ["nginx", "daemon-reload"]


def test_all_files_are_put_back_when_the_proxy_objects(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are told, and it was not reloaded."""
    host = Host(monkeypatch, refuses=True)
    with pytest.raises(HostError, match="caddy refuses the site") as caught:
        install.install("caddy", {paths[0]: "after", paths[1]: "new"}, print)
    assert list(caught.value.logs) == ["line 3: no"]
    assert (paths[0].read_text(), paths[1].exists(), host.done) == ("before", False, ["env"])


def test_a_restart_that_fails_is_made_up_for_with_the_files_of_before(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all sites of the host would be down for the sake of one."""
    host = Host(monkeypatch, stuck="restart")
    with pytest.raises(HostError, match="restart failed"):
        install.install("caddy", {paths[0]: "after"}, print, restart=True)
    assert paths[0].read_text() == "before"
    assert host.done == ["env", "daemon-reload", "restart", "daemon-reload", "restart"]

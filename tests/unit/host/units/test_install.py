"""Units are loaded while they are verified, and nothing goes on before they are."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.system.runner import CommandResult
from deployer.host.units import install

NAMES = ["shop-web@v2.service", "shop-web@v2.socket"]
BAD = "/x/shop-web@v2.service:7: Unknown key name 'MemroyMax' in section 'Service', ignoring."
OTHERS = "/x/other.service:7: Unknown key name 'MemroyMax' in section 'Service', ignoring."
BOUND = 30.0


class Installs:
    """A host on which verifying a release's units, and loading them, each wait for the other to have begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, said: str = "") -> None:
        self.said, self.steps = said, list[str]()
        self.verifies, self.loads = threading.Event(), threading.Event()
        self.ctx: Any = SimpleNamespace(paths=SimpleNamespace(units=root), settings=SimpleNamespace(units=()))
        self.release: Any = SimpleNamespace(spec=SimpleNamespace(units=(), timers=()))
        monkeypatch.setattr(install, "unit_texts", lambda *_: dict.fromkeys(NAMES, "[Service]\n"))
        monkeypatch.setattr(install.runner, "run", self.verify)
        monkeypatch.setattr(install.orders, "ensure_loaded", self.load)

    def verify(self, argv: list[str]) -> CommandResult:
        assert argv[:2] == ["systemd-analyze", "verify"]
        assert [Path(path).name for path in argv[3:]] == NAMES
        self.verifies.set()
        assert self.loads.wait(BOUND)
        self.steps.append("verified")
        return CommandResult(1, "", self.said)

    def load(self, names: list[str]) -> None:
        assert names == NAMES
        self.loads.set()
        if not self.proven:
            assert self.verifies.wait(BOUND)

    def run(self, *, proven: bool = False) -> str:
        self.proven = proven
        return install.install(self.ctx, self.release, proven=proven)


@pytest.mark.parametrize("said", ["", OTHERS])
def test_units_are_verified_while_systemd_loads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    """What is said of other units is no reason to refuse them."""
    host = Installs(monkeypatch, tmp_path, said)
    assert host.run() == "2 units"
    assert host.steps == ["verified"]


def test_units_that_systemd_would_read_otherwise_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Though they are loaded: before anything else is done with them."""
    host = Installs(monkeypatch, tmp_path, f"{OTHERS}\n{BAD}\n")
    with pytest.raises(HostError) as caught:
        host.run()
    assert list(caught.value.logs) == [BAD]


def test_units_that_have_served_are_not_verified_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are only loaded."""
    host = Installs(monkeypatch, tmp_path)
    assert host.run(proven=True) == "2 units"
    assert host.loads.is_set()
    assert not host.verifies.is_set()


def test_a_systemd_that_loads_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is said of the units meanwhile."""
    host = Installs(monkeypatch, tmp_path, BAD)

    def load(_: list[str]) -> None:
        host.loads.set()
        raise HostError("systemctl daemon-reload failed")

    monkeypatch.setattr(install.orders, "ensure_loaded", load)
    with pytest.raises(HostError, match="daemon-reload"):
        host.run()

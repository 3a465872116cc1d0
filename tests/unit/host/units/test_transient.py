"""What a command of the app gets, and what of it stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from deployer.host.system import systemd
from deployer.host.units import launcher, transient
from deployer.host.units.transient import Command


@pytest.mark.parametrize("fails", [True, False])
def test_an_environment_is_root_s_alone_and_gone_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool
) -> None:
    """It is not synced either: nothing needs it after a power cut, and no secret should reach the disk for that."""
    path, seen = tmp_path / "migrate.env", []

    def run_unit(*_: Any) -> tuple[int, bool]:
        seen.append((path.read_text(), path.stat().st_mode & 0o777))
        if fails:
            raise OSError
        return 0, True

    monkeypatch.setattr(os, "fsync", Mock(side_effect=AssertionError))
    monkeypatch.setattr(transient, "run_unit", run_unit)
    ctx: Any = Mock(app="shop", paths=Mock(private=tmp_path))
    command = Command(name="migrate", user="shop", argv=("true",), directory=tmp_path, limit=9, key="")
    try:
        assert transient.run(ctx, command, {"A": "secret"}, [], print) == (0, [])
    except OSError:
        assert fails
    assert seen == [('A="secret"\n', 0o600)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["$HOME", "a;b", "100$", ";", "$$"])
def test_what_systemd_would_not_keep_is_no_word_of_a_transient_unit(word: str) -> None:
    """What it wrote down of a ``$`` or a ``;`` it reads as something else when it is reloaded."""
    with pytest.raises(ValueError, match="something else"):
        systemd.transient("x.service", [], ["echo", word], wait=True)
    assert "%h\"'\\`é" in systemd.transient("x.service", [], ["echo", "%h\"'\\`é"], wait=True)
    assert systemd.is_lasting(launcher.ARGV)

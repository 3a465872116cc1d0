"""The import rules are lists made by hand: no module may be missing from them."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXCEPT = {
    "host": {"host"},
    "tasks": {"tasks", "command", "cli"},
    "ui": {"tasks", "command", "commands", "cli", "hearing", "ui", "usage"},
    "rich": {"ui"},
    "ssh": {"ssh", "executor", "fabricfiles", "fleettask", "usage", "cli"},
}
"""Modules that are free of a rule, as its name says."""


@pytest.mark.parametrize("rule", EXCEPT)
def test_every_module_is_under_every_rule(rule: str) -> None:
    """A new module is held to each of them, or named here as one that is not."""
    rules = ConfigParser()
    rules.read(ROOT / ".importlinter")
    key = "forbidden_modules" if rule == "host" else "source_modules"
    listed = rules[f"importlinter:contract:{rule}"][key].split()
    package = (path for path in (ROOT / "deployer").glob("[a-z]*") if path.is_dir() or path.suffix == ".py")
    found = {path.stem for path in package} - EXCEPT[rule]
    assert {name for name in listed if name.startswith("deployer.")} == {f"deployer.{name}" for name in found}

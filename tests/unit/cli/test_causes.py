"""The registry of causes: every row has advice and a test, and the page of the reference is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.cli.causes import ALL, markdown
from deployer.wire.cause import Cause

ROOT = Path(__file__).resolve().parents[3]
NAMES = [cause.name for cause in ALL]
MARK = re.compile(r"""\bcause\("([a-z-]+)"\)""")
OTHERS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
TESTED = {name for path in OTHERS for name in MARK.findall(path.read_text())}


def test_names_are_unique() -> None:
    """A name stands for one cause, in the page as in the tests."""
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("cause", ALL, ids=NAMES)
def test_each_cause_has_a_test(cause: Cause) -> None:
    """A test is marked with ``cause("name")``: it sees to it that this cause is told for what causes it."""
    assert cause.name in TESTED


def test_marks_name_causes_that_there_are() -> None:
    """A mark with a misspelt name would prove nothing."""
    assert set(NAMES) >= TESTED


@pytest.mark.parametrize("cause", ALL, ids=NAMES)
def test_each_cause_says_what_to_do(cause: Cause) -> None:
    """It tells by what it is observed, and at least one step; commands hold no prose."""
    assert cause.when and cause.next
    for step in cause.next:
        assert not re.search(r", |; |…", step.command.partition("'")[0]), step


def test_the_page_of_failures_is_the_registry() -> None:
    """Write it anew with the command that it names."""
    assert (ROOT / "docs/reference/failures.md").read_text() == markdown()

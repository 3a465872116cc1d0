"""A change of what hosts keep, where each variable comes from, and marks: read strictly, and never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.wire.environment import Change, mark, missing, parse_names, parse_sources
from deployer.wire.protocol import dumps

NAMES = st.sampled_from(["A", "B", "SECRET_KEY", "x_1"])


@given(st.dictionaries(NAMES, st.text("ab\n$", max_size=5)), st.sets(NAMES), st.integers(-1, 9))
def test_a_change_arrives_as_it_was_sent(put: dict[str, str], remove: set[str], version: int) -> None:
    """Over the channel, as JSON; unless it both puts and removes a variable."""
    change = Change(put=put, remove=tuple(sorted(remove)), version=version)
    sent = json.loads(dumps(change.as_json()))
    if put.keys() & remove:
        with pytest.raises(ValueError, match="both put and removed"):
            Change.parse(sent)
    else:
        assert Change.parse(sent) == change


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "change: must be an object"),
        ({"put": {}, "remove": []}, "change.version"),
        ({"put": {}, "remove": [], "version": -2}, "change.version"),
        ({"put": {}, "remove": [], "version": 0, "more": 1}, "unknown keys more"),
        ({"put": {"PATH": "x"}, "remove": [], "version": 0}, "'PATH' is set by systemd"),
        ({"put": {"A": "hunter2\0"}, "remove": [], "version": 0}, "the value of A holds a control character"),
        ({"put": {"A": 1}, "remove": [], "version": 0}, "the value of A must be a string"),
        ({"put": {}, "remove": ["A", "A"], "version": 0}, "twice"),
        ({"put": {}, "remove": ["A B"], "version": 0}, "'A B' is not a name"),
        ({"put": {}, "remove": [7], "version": 0}, "'7' is no name"),
        ({"put": {}, "remove": ["A"] * 2001, "version": 0}, "at most 2000"),
    ],
)
def test_what_is_no_change_is_refused_and_not_shown(value: Any, told: str) -> None:
    """By the name of what is wrong."""
    with pytest.raises(ValueError, match=told) as caught:
        Change.parse(value)
    assert "hunter2" not in str(caught.value)


def test_a_change_does_not_show_its_values() -> None:
    """Neither in a traceback nor in a log."""
    assert "hunter2" not in f"{Change(put={'A': 'hunter2'})!r} {Change(put={'A': 'hunter2'})}"


def test_sources_are_of_known_variables_and_in_order() -> None:
    """Those that are not named are of [env]."""
    values = {"A": "1", "B": "2"}
    assert parse_sources({"A": ["env_command", "env"]}, values) == {"A": ("env_command", "env"), "B": ("env",)}
    for wrong in (
        {"C": ["env"]},
        {"A": []},
        {"A": ["env", "env_file"]},
        {"A": ["host"]},
        {"A": ["env", "env"]},
        {"A": "env"},
        [],
    ):
        with pytest.raises(ValueError, match="sources"):
            parse_sources(wrong, values)


def test_marks_tell_equal_values_and_no_more() -> None:
    """With another salt all are different."""
    assert mark("a" * 32, "x") == mark("a" * 32, "x") != mark("a" * 32, "y")
    assert mark("a" * 32, "x") != mark("b" * 32, "x")
    assert "hunter2" not in mark("a" * 32, "hunter2")


def test_what_is_empty_is_missing() -> None:
    """As what is not there."""
    assert missing(("A", "B", "C"), {"A": "1", "B": ""}) == ("B", "C")
    assert parse_names(["A", "B"], "required") == ("A", "B")

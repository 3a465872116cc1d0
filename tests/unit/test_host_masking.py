"""Secret values never pass into an event."""

from __future__ import annotations

from typing import Any

from deployer.host.masking import masked, secret_values


def heard(values: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    masked(lambda name, **given: found.update(given), values)("output", **fields)
    return found


def test_a_secret_is_masked_wherever_it_stands() -> None:
    """In a line, in a list of log lines, several times over."""
    values = secret_values({"TOKEN": "hunter22", "PLAIN": "visible-value"}, ["TOKEN"])
    assert heard(values, line="hunter22, hunter22", logs=["x=hunter22", "visible-value"], seconds=1.5) == {
        "line": "****, ****",
        "logs": ["x=****", "visible-value"],
        "seconds": 1.5,
    }


def test_each_line_of_a_long_secret_is_masked() -> None:
    """A private key is printed line by line."""
    values = secret_values({"KEY": "first line\nsecond line"}, ["KEY"])
    assert heard(values, line="> second line") == {"line": "> ****"}


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    """The longer one first, or its rest would stay."""
    values = secret_values({"A": "abcdef", "B": "abcdef-and-more"}, ["A", "B"])
    assert heard(values, line="abcdef-and-more") == {"line": "****"}


def test_short_values_are_left_alone() -> None:
    """Hiding every `on` would hide nothing and spoil the line."""
    assert heard(secret_values({"A": "on"}, ["A"]), line="it is on") == {"line": "it is on"}

"""A dotenv text that is written here is read here as the same values, whatever they are."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.config.environment.dotenv import parse, written
from deployer.errors import ConfigError
from deployer.wire.environment import name_problem, value_problem

NAMES = st.text(string.ascii_uppercase + "_", min_size=1, max_size=8).filter(lambda name: not name_problem(name))
VALUES = (st.text(max_size=60) | st.text("'\"\\\\$ {}#=\n\t%:-a", max_size=40)).filter(
    lambda text: not value_problem("A", text)
)
HARD = (
    "", " ", "'", '"', "\\", "\\'", "a\\", "$", "${", "${A}", "${:-$}{", "$$", "#", " # x", "a\nb", "\n", "%", "=",
    "a=b",
    "-----BEGIN PRIVATE KEY-----\nabc+/=\n-----END PRIVATE KEY-----\n", "\t", "\u2028", "\xa0", "\u00e9\U0001f511",
)  # fmt: skip


def read(text: str) -> dict[str, str]:
    return {name: value.reveal() for name, value in parse(text, "file").items()}


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    """Quotes, newlines, dollars, backslashes, comments and references stay what they are."""
    assert read(written(values)) == values


@pytest.mark.parametrize("value", HARD)
def test_hard_values_are_read_again(value: str) -> None:
    """Those that some reader or other is known to stumble over; between others, which stay whole, too."""
    values = {"A": "first", "B": value, "C": "last"}
    assert read(written(values)) == values


def test_an_error_names_the_place_and_no_value() -> None:
    """The text may come from a file, from standard input or from a command."""
    with pytest.raises(ConfigError, match=r"^standard input:2: ") as caught:
        parse("A=1\nB='hunter2\n", "standard input")
    assert "hunter2" not in str(caught.value)

"""Untrusted JSON, key by key: the last value that is taken, the first that is not, and what is said of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deployer.wire.reader import LINE, TEXT, Reader

WORD = re.compile("[a-z]+")
LONG = "x" * 300

TAKEN: list[tuple[str, tuple[Any, ...], Any]] = [
    ("text", (), ""),
    ("text", (), "a\tb"),
    ("text", (), "x" * 4096),
    ("text", (WORD,), "x" * 4096),
    ("text", (WORD, 3), "abc"),
    ("choice", (("a", "b"),), "a"),
    ("choice", (("a", "b"),), "b"),
    ("integer", (2, 4), 2),
    ("integer", (2, 4), 4),
    ("integer", (-1, 1), 0),
    ("seconds", (0.5, 2), 0.5),
    ("seconds", (0.5, 2), 2),
    ("seconds", (0.5, 2), 1),
    ("boolean", (), True),
    ("boolean", (), False),
    ("texts", (), []),
    ("texts", (), ["x"] * 256),
    ("texts", (WORD,), ["x" * 16384]),
    ("texts", (WORD, 2), ["a", "b"]),
]
"""Method, arguments, a value that it takes as it is."""

NOT_ALLOWED, LISTED = "not allowed: {!r}", "{!r} is none of {}"
REFUSED: list[tuple[str, tuple[Any, ...], Any, str]] = [
    *(
        ("text", (), value, f"must be str, not {kind}")
        for value, kind in ((None, "NoneType"), (1, "int"), ([], "list"))
    ),
    ("text", (), "x" * 4097, NOT_ALLOWED.format("x" * 200)),
    ("text", (WORD, 3), "abcd", NOT_ALLOWED.format("abcd")),
    ("text", (WORD,), "a b", NOT_ALLOWED.format("a b")),
    ("text", (WORD,), "ab\n", NOT_ALLOWED.format("ab\n")),
    ("text", (WORD,), "", NOT_ALLOWED.format("")),
    ("text", (), "a\nb", NOT_ALLOWED.format("a\nb")),
    ("choice", (("a", "b"),), "c", LISTED.format("c", "a, b")),
    ("choice", (("a", "b"),), 1, "must be str, not int"),
    ("choice", (("a",),), LONG, LISTED.format(LONG[:200], "a")),
    ("integer", (2, 4), 1, "1 is not between 2 and 4"),
    ("integer", (2, 4), 5, "5 is not between 2 and 4"),
    ("integer", (0, 4), True, "must be int, not bool"),
    ("integer", (0, 4), 1.0, "must be int, not float"),
    *(("seconds", (0.5, 2), value, "must be seconds between 0.5 and 2") for value in (0.4, 2.1, True, "1", None, [])),
    ("seconds", (0, 2), float("nan"), "must be seconds between 0 and 2"),
    ("boolean", (), 1, "must be bool, not int"),
    ("boolean", (), None, "must be bool, not NoneType"),
    ("texts", (), {}, "must be list, not dict"),
    ("texts", (), ["x"] * 257, "too many"),
    ("texts", (WORD, 2), ["a"] * 3, "too many"),
    ("texts", (WORD,), ["a", "x" * 16385], NOT_ALLOWED.format("x" * 200)),
    ("texts", (), ["a", 1], NOT_ALLOWED.format("1")),
    ("texts", (WORD,), ["a", "a b"], NOT_ALLOWED.format("a b")),
    ("texts", (WORD,), ["ab\n"], NOT_ALLOWED.format("ab\n")),
    ("texts", (), ["a\nb", "a"], NOT_ALLOWED.format("a\nb")),
    ("texts", (), [[LONG]], NOT_ALLOWED.format(str([LONG])[:200])),
]


def ids(cases: list[Any]) -> list[str]:
    return [f"{case[0]} {str(case[2])[:20]}" for case in cases]


@pytest.mark.parametrize(("method", "arguments", "value"), TAKEN, ids=ids(TAKEN))
def test_what_may_be_is_taken_as_it_is(method: str, arguments: tuple[Any, ...], value: Any) -> None:
    """Up to the very limit; it is read once, and nothing of it is left then."""
    reader = Reader({"key": value, "other": 1}, "here")
    found = getattr(reader, method)("key", *arguments)
    assert found == (tuple(value) if isinstance(value, list) else value)
    assert type(found) is {"seconds": float, "texts": tuple}.get(method, type(value))
    assert (reader.has("key"), reader.has("other")) == (False, True)


@pytest.mark.parametrize(("method", "arguments", "value", "why"), REFUSED, ids=ids(REFUSED))
def test_what_may_not_be_is_refused_by_its_key(method: str, arguments: tuple[Any, ...], value: Any, why: str) -> None:
    """With the limit, and as much of the value as is good to show. What is not there is like null."""
    for values in ({"key": value, "other": 1}, *([{"other": 1}] if value is None else [])):
        with pytest.raises(ValueError) as caught:
            getattr(Reader(values, "here"), method)("key", *arguments)
        assert str(caught.value) == f"here.key: {why}"


@pytest.mark.parametrize("value", [None, [], "{}", 1, True])
def test_only_an_object_has_keys(value: Any) -> None:
    """And it says where there is none."""
    with pytest.raises(ValueError) as caught:
        Reader(value, "here")
    assert str(caught.value) == "here: must be an object"


def test_nothing_may_be_left_over() -> None:
    """A key that nobody has read is an error that names it; the object that came is not changed by being read."""
    given = {"b": 1, "a": [], "c": None}
    reader = Reader(given, "here")
    assert reader.raw("c") is None
    assert reader.raw("no such key") is None
    with pytest.raises(ValueError) as caught:
        reader.done()
    assert str(caught.value) == "here: unknown keys a, b"
    assert (reader.raw("a"), reader.raw("b")) == ([], 1)
    reader.done()
    assert given == {"b": 1, "a": [], "c": None}
    with pytest.raises(ValueError) as caught:
        Reader({"x" * 300: 1}, "here").done()
    assert str(caught.value) == f"here: unknown keys {'x' * 200}"


@pytest.mark.parametrize(("pattern", "refused"), [(LINE, "\0\x08\n\x1f\x7f\ud800\udfff"), (TEXT, "\0\ud800\udfff")])
def test_control_characters_and_halves_of_characters_are_no_text(pattern: re.Pattern[str], refused: str) -> None:
    """A line has no line feed but its own; an argument may have anything but what no argument can hold."""
    for code in range(0x300):
        character = chr(code)
        named = "\x00" <= character <= "\x08" or "\n" <= character <= "\x1f" or character == "\x7f"
        wanted = character != "\0" if pattern is TEXT else not named
        assert bool(pattern.fullmatch(f"a{character}b")) is wanted, hex(code)
    for character in refused:
        assert not pattern.fullmatch(character)
    assert pattern.fullmatch("\ud7ff\ue000\U0001f600")

"""An expression is compiled by its first use, and then is as the library's."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from deployer.wire.lazyre import pattern


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled during a test."""
    seen: list[str] = []
    real = re.compile

    def watched(text: str, flags: int = 0) -> Any:
        seen.append(text)
        return real(text, flags)

    monkeypatch.setattr(re, "compile", watched)
    return seen


def test_nothing_is_compiled_until_it_is_matched(compiled: list[str]) -> None:
    """Its text is there before, for what is built of it; each use after the first finds it compiled."""
    word = pattern(r"[a-z]+")
    assert (word.pattern, compiled) == ("[a-z]+", [])
    assert word.fullmatch("abc") and word.fullmatch("abc") and not word.fullmatch("Abc")
    assert compiled == ["[a-z]+"]


def test_it_does_what_the_librarys_does() -> None:
    """Methods and attributes, options, and bytes."""
    pair = pattern(r"(?P<key>\w+)=(\w*)", re.IGNORECASE)
    assert (pair.groups, dict(pair.groupindex)) == (2, {"key": 1}) and pair.flags & re.IGNORECASE
    assert pair.sub(r"\2=\1", "a=1 b=2") == "1=a 2=b"
    assert [found[0] for found in pair.finditer("a=1 b=2")] == ["a=1", "b=2"]
    assert pattern("x", re.IGNORECASE).match("X") and not pattern("x").match("X")
    assert pattern(rb"[0-9]+").findall(b"1 22") == [b"1", b"22"]


def test_a_wrong_expression_is_told_by_its_first_use() -> None:
    """With the library's error."""
    wrong = pattern("(")
    with pytest.raises(re.error):
        wrong.match("")


def test_it_can_be_copied_and_shown() -> None:
    """Before and after its first use."""
    word = pattern("[a-z]+", re.IGNORECASE)
    assert repr(word) == "pattern('[a-z]+')"
    assert copy.copy(word).match("A") and copy.deepcopy(word).match("A")
    assert word.match("A") and pickle.loads(pickle.dumps(pattern("a"))).match("a")

"""Versions of Python: how one is named, and which a specifier like ``>=3.11,<4`` accepts (PEP 440)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.wire.lazyre import pattern

PYTHON = pattern(r"3\.[0-9]{1,2}\Z")
OPTIONAL_PYTHON = pattern(rf"(?:{PYTHON.pattern})?\Z")
REQUIRES = pattern(r"[0-9A-Za-z<>=!~.,*+ -]{0,200}\Z")
"""A specifier, or nothing."""
_CLAUSE = pattern(r"\s*(===|==|!=|~=|<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)*)([.][*])?[0-9a-z.+-]*\s*\Z")


def fits(version: str, requires: str) -> bool:
    """Whether a specifier like ``>=3.11,<4`` accepts a Python: ``3.12.1``, or for ``3.12`` one of its patch releases.

    A clause that is not understood accepts all: the installer decides.
    """
    mine = numbers(version)
    patches = [mine] if len(mine) > 2 else [(*mine, 0), (*mine, 99)]
    clauses = [match for match in map(_CLAUSE.match, requires.split(",")) if match]
    return any(all(_accepts(patch, clause) for clause in clauses) for patch in patches)


def _accepts(mine: tuple[int, ...], clause: re.Match[str]) -> bool:
    operator, text, wildcard = clause.groups()
    wanted = numbers(text)
    same = mine[: len(wanted)] == wanted if wildcard else _padded(mine) == _padded(wanted)
    if operator == "~=":
        return _padded(mine) >= _padded(wanted) and mine[: len(wanted) - 1] == wanted[:-1]
    verdicts = {
        "==": same,
        "===": same,
        "!=": not same,
        ">=": _padded(mine) >= _padded(wanted),
        "<=": _padded(mine) <= _padded(wanted),
        ">": _padded(mine) > _padded(wanted),
        "<": _padded(mine) < _padded(wanted),
    }
    return verdicts[operator]


def numbers(version: str) -> tuple[int, ...]:
    """``3.12.1`` as (3, 12, 1); parts from the first that is no number are left out."""
    return tuple(_parts(version))


def _parts(version: str) -> Iterator[int]:
    for part in version.split("."):
        match = re.match(r"[0-9]+", part)
        if match is None:
            return
        yield int(match[0])


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers, 0, 0, 0)[:3]

"""Sorted sequences of which a few items change, without the rest being sorted, or looked at, again. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Line = TypeVar("Line", str, bytes)


def without(items: Sequence[T], places: Sequence[int]) -> list[T]:
    """All but those at some places, which are sorted."""
    left, done = list[T](), 0
    for place in places:
        left += items[done:place]
        done = place + 1
    return [*left, *items[done:]]


def with_new(items: Sequence[T], places: Sequence[int], new: Sequence[T]) -> list[T]:
    """All, and each new one before the item at its place; the places are sorted."""
    found, done = list[T](), 0
    for place, one in zip(places, new):
        found += [*items[done:place], one]
        done = place
    return [*found, *items[done:]]


def places(lines: Sequence[Line], wanted: Sequence[Line]) -> list[int]:
    """Where each of the wanted lines is, or would be; both are sorted."""
    found, done = list[int](), 0
    for line in wanted:
        done = bisect.bisect_left(lines, line, done)
        found.append(done)
    return found

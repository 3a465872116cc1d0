"""Numbers about numbers: medians, spreads, and the slope that counts round trips."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import combinations

Point = tuple[float, float]
"""Round-trip time in seconds, and what was measured at it."""


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank, as the load generator counts; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else float("nan")


def slope(points: Sequence[Point]) -> float:
    """Theil and Sen's: the median slope of all pairs of points at different round-trip times.

    Robust: a run that something else on the machine held up does not bend it, as it would a least-squares fit.
    """
    rises = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(rises)


def spread(values: Sequence[float], show: Callable[[float], str]) -> str:
    """``median (least to most)``."""
    if not values:
        return "-"
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))} to {show(max(values))})"


def seconds(value: float) -> str:
    """A time in seconds, with two decimals."""
    return f"{value:.2f}"


def milliseconds(value: float) -> str:
    """A time given in seconds, shown in milliseconds."""
    return f"{value * 1000:.0f}"


def kib(value: float) -> str:
    """A number of bytes, in KiB."""
    return f"{value / 1024:,.1f}"

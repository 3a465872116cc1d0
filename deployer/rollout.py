"""Pure: in which order the hosts of a fleet switch, and what each of them is told when."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Strategy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a fleet switches: all at once (0, 0), or in waves.

    ``batch`` is how many hosts switch at a time: a number (``"2"``) or a share of the fleet (``"25%"``, at least one);
    empty for all. ``canary`` hosts go first, and serve for ``bake`` seconds before the others follow. ``keep_going``
    leaves what was found good when a later wave fails.
    """

    batch: str = ""
    canary: int = 0
    bake: float = 0.0
    keep_going: bool = False

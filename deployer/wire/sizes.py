"""Amounts of bytes as people read them."""

from __future__ import annotations

__all__ = ["size"]


def size(count: float) -> str:
    """``512 B``, ``1.2 KiB``, ``34 MiB``."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if count < 9.95:
            return f"{count:.1f} {unit}"
        if count < 1000:
            break
    return f"{count:.0f} {unit}"

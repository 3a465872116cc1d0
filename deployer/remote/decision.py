"""What Ctrl-C means while a host is at work: a person decides."""

from __future__ import annotations

import enum
from collections.abc import Callable

__all__ = ["Decide", "Decision"]


class Decision(enum.Enum):
    """What a person who pressed Ctrl-C while the host is at work wants: all but ABORT leave the host to go on."""

    LEAVE = "leave"
    ABORT = "abort"
    FOLLOW = "follow"


Decide = Callable[[str], Decision]
"""Asks that person; the text says what the host is at (``v43 is at check``)."""

"""``pattern`` as :func:`re.compile`, but compiled when it is first matched.

Compiling an expression takes longer than importing the module that it stands in, and each start of the program uses a
few of two hundred.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import compile as _compile

    pattern = _compile
else:

    def pattern(text: str | bytes, flags: int = 0) -> Any:
        """As :func:`re.compile`, whose re.error comes with the first use. No argument of :mod:`re`'s functions."""
        return _Pattern(text, flags)


class _Pattern:
    """Has what a compiled expression has; each attribute is looked up once. ``pattern`` is there without compiling."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self.pattern = text
        self._options = flags

    def __repr__(self) -> str:
        return f"pattern({self.pattern!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(re.compile(self.pattern, self._options), name)
        setattr(self, name, found)
        return found

"""Reads untrusted JSON strictly: each key once, of the right type and form, and no other."""

from __future__ import annotations

from re import Pattern
from typing import Any

from deployer.wire.lazyre import pattern

LINE = pattern(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\Z")
TEXT = pattern(r"[^\x00\ud800-\udfff]*\Z")
"""Anything but NUL: an argument of a command."""
MOST_ITEMS = 256
"""Strings in a list, unless told otherwise."""
MOST_TEXT = 16384
"""Characters of a command, of an argument, and of any string in a list."""


class Reader:
    """Reads one JSON object strictly: each key once, of the right type; unknown keys refused by :meth:`done`.

    All methods raise ValueError naming the key's path.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: must be an object")
        self._values: dict[str, Any] = dict(value)
        self._where = where

    def _take(self, key: str, kind: type) -> Any:
        value = self._values.pop(key, None)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self._where}.{key}: must be {kind.__name__}, not {type(value).__name__}")
        return value

    def text(self, key: str, pattern: Pattern[str] = LINE, length: int = 4096) -> str:
        value: str = self._take(key, str)
        if len(value) > length or not pattern.fullmatch(value):
            raise ValueError(f"{self._where}.{key}: not allowed: {value[:200]!r}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value: str = self._take(key, str)
        if value not in choices:
            raise ValueError(f"{self._where}.{key}: {value[:200]!r} is none of {', '.join(choices)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value: int = self._take(key, int)
        if not low <= value <= high:
            raise ValueError(f"{self._where}.{key}: {value} is not between {low} and {high}")
        return value

    def seconds(self, key: str, low: float, high: float) -> float:
        value = self._values.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{self._where}.{key}: must be seconds between {low:g} and {high:g}")
        return float(value)

    def boolean(self, key: str) -> bool:
        value: bool = self._take(key, bool)
        return value

    def texts(self, key: str, pattern: Pattern[str] = LINE, count: int = MOST_ITEMS) -> tuple[str, ...]:
        values = self._take(key, list)
        if len(values) > count:
            raise ValueError(f"{self._where}.{key}: too many")
        for value in values:
            if not isinstance(value, str) or len(value) > MOST_TEXT or not pattern.fullmatch(value):
                raise ValueError(f"{self._where}.{key}: not allowed: {str(value)[:200]!r}")
        return tuple(values)

    def has(self, key: str) -> bool:
        return key in self._values

    def raw(self, key: str) -> Any:
        return self._values.pop(key, None)

    def done(self) -> None:
        if self._values:
            raise ValueError(f"{self._where}: unknown keys {', '.join(sorted(self._values))[:200]}")

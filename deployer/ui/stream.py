"""A text stream that survives a reader who leaves and characters it cannot encode: no deploy fails for its display."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO, cast

__all__ = ["can_unicode", "safe", "write_bytes"]

_ASCII = str.maketrans("→…✓✗–●○·━─│↺×", ">.+x-*o-=-|~x")
"""One for one, so that tables stay aligned."""
_PLAIN = ("C", "POSIX")
"""Locales whose terminals need know no more than ASCII."""
_COERCED = ("C.UTF-8", "C.utf8")


def safe(stream: TextIO) -> TextIO:
    """``stream``, but it replaces what its encoding lacks, and goes silent when its reader has gone."""
    return cast(TextIO, _Safe(stream))


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are, at once. Raises BrokenPipeError when its reader has gone."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def can_unicode(stream: TextIO) -> bool:
    """Whether ``stream`` can carry the marks; a stream without an encoding (``StringIO``) can."""
    return _encoding(stream).startswith("utf")


def _encoding(stream: TextIO) -> str:
    """What a stream can carry. In the C locale Python writes UTF-8 whatever the terminal makes of it."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
    return "ascii" if encoding.startswith("utf") and stream.isatty() and _is_plain(os.environ) else encoding


def _is_plain(environ: Mapping[str, str]) -> bool:
    """Whether the locale is C, be it that nothing names another: Python itself sets LC_CTYPE to C.UTF-8 then."""
    category = environ.get("LC_CTYPE", "")
    given = (environ.get("LC_ALL"), "" if category in _COERCED else category, environ.get("LANG"))
    return next((value for value in given if value), "C") in _PLAIN


class _Safe:
    """As much of a text stream as ``rich`` and the reporters use."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = _encoding(stream)
        self.gone = False

    def write(self, text: str) -> int:
        if not self.gone:
            try:
                self._stream.write(self._encodable(text))
            except BrokenPipeError:
                self._reader_left()
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._reader_left()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def _encodable(self, text: str) -> str:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII)
            return text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return text

    def _reader_left(self) -> None:
        """Point the descriptor at nothing, or Python complains of its buffer at exit (status 120)."""
        self.gone = True
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            return

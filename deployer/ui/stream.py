"""A text stream that outlives its reader and its encoding: a deploy never dies because of its display."""

from __future__ import annotations

import os
from typing import TextIO, cast

__all__ = ["can_unicode", "safe"]

_ASCII = str.maketrans("→…✓✗–●○·━─│", ">.+x-*o-=-|")
"""One for one, so that tables stay aligned."""


def safe(stream: TextIO) -> TextIO:
    """``stream``, but it replaces what its encoding lacks, and goes silent when its reader has gone."""
    return cast(TextIO, _Safe(stream))


def can_unicode(stream: TextIO) -> bool:
    """Whether ``stream`` can carry the marks; a stream without an encoding (``StringIO``) can."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


class _Safe:
    """As much of a text stream as ``rich`` and the reporters use."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
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

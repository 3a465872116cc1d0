"""The compressed contents of an upload, read in bounded pieces and checked to the last byte."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from deployer.wire.tree import Delta, Entry

CHUNK = 1 << 18


class Mismatch(ValueError):
    """What arrived, or what the base holds, is not what the delta says. ``path``: the file (empty: all)."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Body:
    """A compressed body that is read to its end, once, and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()
        self._digest, self._length = hashlib.sha256(), 0
        self._ready = memoryview(b"")

    def take(self, entry: Entry) -> Iterator[bytes]:
        """The next ``entry.size`` bytes, in pieces. Raises Mismatch when there are fewer."""
        left = entry.size
        while left:
            self._fill()
            piece, self._ready = self._ready[:left], self._ready[left:]
            if not piece:
                raise Mismatch(f"the body ends in the middle of {entry.path!r}", entry.path)
            left -= len(piece)
            yield bytes(piece)

    def finish(self, delta: Delta) -> None:
        """Raises Mismatch unless the body ends here and is the one that was announced."""
        self._fill()
        if self._ready or not self._inflate.eof or self._inflate.unused_data or self._read():
            raise Mismatch("the body goes on behind its last file, or is cut short")
        if (self._length, self._digest.hexdigest()) != (delta.length, delta.body):
            raise Mismatch("the body is not the one that was announced")

    def _fill(self) -> None:
        """Have a byte ready, unless the body is at its end. Raises Mismatch for what zlib cannot read."""
        while not self._ready and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read()
            try:
                self._ready = memoryview(self._inflate.decompress(packed, CHUNK))
            except zlib.error as error:
                raise Mismatch(f"the body is damaged: {error}") from error
            if not packed:
                return

    def _read(self) -> bytes:
        packed = self._file.read(CHUNK)
        self._digest.update(packed)
        self._length += len(packed)
        return packed

"""Contents kept on disk rather than in memory: an unnamed temporary file that vanishes with its last user."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 18
HEAD = 64
"""Bytes at the beginning of a content by which it is known for what it is."""


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes: ...


class Kept(NamedTuple):
    """Where a content begins, its length in bytes, its SHA-256 in hex, and its first bytes."""

    start: int
    size: int
    digest: str
    head: bytes


class Spool:
    """Contents one after the other. They may be added and read by several threads at once.

    ``lock`` is held by whoever writes one in pieces.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="deployer-")  # noqa: SIM115 (it lives as long as the spool)
        self.lock = threading.Lock()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes at the end. Raises OSError when the temporary directory is full."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, self.size)
            self.size += written
            view = view[written:]

    def add(self, stream: Readable) -> Kept:
        """Add all of a stream."""
        with self.lock:
            start, digest, head = self.size, hashlib.sha256(), b""
            while chunk := stream.read(CHUNK):
                head = head or chunk[:HEAD]
                digest.update(chunk)
                self.write(chunk)
            return Kept(start, self.size - start, digest.hexdigest(), head)

    def pread(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on; nothing at the end."""
        return os.pread(self._file.fileno(), size, offset)

    def open(self, start: int, size: int) -> BinaryIO:
        """A stream of its own over a range of bytes."""
        return cast(BinaryIO, io.BufferedReader(Range(self, start, size), CHUNK))


class Range(io.RawIOBase):
    """A readable range of a spool."""

    def __init__(self, spool: Spool, start: int, size: int) -> None:
        super().__init__()
        self._spool, self._at, self._end = spool, start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._spool.pread(self._at, min(len(view), self._end - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

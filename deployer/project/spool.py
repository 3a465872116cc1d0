"""Contents kept on disk rather than in memory: an unnamed temporary file that vanishes with its last user."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 18


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes: ...


class Spool:
    """Contents one after the other. They are added by one thread, and may be read by several at once."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="deployer-")  # noqa: SIM115 (it lives as long as the spool)
        self._lock = threading.Lock()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes at the end. Raises OSError when the temporary directory is full."""
        with self._lock:
            self._file.seek(self.size)
            self._file.write(data)
            self.size += len(data)

    def add(self, stream: Readable) -> tuple[int, int, str]:
        """Add all of a stream; where it begins, its length in bytes and its SHA-256 in hex."""
        start, digest = self.size, hashlib.sha256()
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            self.write(chunk)
        return start, self.size - start, digest.hexdigest()

    def pread(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on; nothing at the end."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

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

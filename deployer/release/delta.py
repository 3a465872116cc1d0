"""What one upload holds: the changes from a tree that the host has to the tree of a source."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field
from typing import BinaryIO

from deployer.project.source import Source
from deployer.project.spool import CHUNK, Spool
from deployer.wire.lazydata import dataclass
from deployer.wire.tree.entries import difference
from deployer.wire.tree.entry import Delta, Entry

LEVEL = 6
"""zlib's own default. It must not depend on anything: a resumed upload has to make the same bytes again."""
TOLD = 4 * CHUNK
"""Bytes between two reports of progress: less than a tenth of a second's work."""
AHEAD = 256
"""Files that are asked of git at once, where it still has them."""

Advance = Callable[[int, int], None]


def _ignore(done: int, total: int) -> None:
    """Takes progress that nobody wants."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A delta and its compressed body. Same source, same base: the same bytes, so that uploads can resume."""

    delta: Delta
    spool: Spool = field(repr=False, compare=False)

    def open_at(self, offset: int = 0) -> BinaryIO:
        """A stream over the body from ``offset`` (in bytes, of the compressed body) to its end."""
        if not 0 <= offset <= self.delta.length:
            raise ValueError(f"offset {offset} is outside the body of {self.delta.length} bytes")
        return self.spool.open(offset, self.delta.length - offset)


def make_delta(
    source: Source, base_key: str = "", base_ids: Collection[bytes] = (), advance: Advance = _ignore
) -> Upload:
    """What makes the source's tree out of a base, whose key and ids the host told (``""``: none).

    ``advance`` is told now and then how many bytes of how many are packed.
    """
    drop, add = difference(base_ids, source.entries)
    spool, digest = Spool(), hashlib.sha256()
    for piece in compressed(source, add, advance):
        digest.update(piece)
        spool.write(piece)
    delta = Delta(digest=source.digest, base=base_key, drop=drop, add=add, body=digest.hexdigest(), length=spool.size)
    return Upload(delta=delta, spool=spool)


def compressed(source: Source, entries: Sequence[Entry], advance: Advance = _ignore) -> Iterator[bytes]:
    """The contents of the entries, one after the other, as one zlib stream in pieces."""
    compressor = zlib.compressobj(LEVEL)
    total, done, told = sum(entry.size for entry in entries), 0, 0
    for start in range(0, len(entries), AHEAD):
        batch = entries[start : start + AHEAD]
        source.fetch(batch)
        for entry in batch:
            with source.open(entry) as stream:
                while chunk := stream.read(CHUNK):
                    yield compressor.compress(chunk)
                    done += len(chunk)
                    if done - told >= TOLD:
                        told = done
                        advance(done, total)
    yield compressor.flush()

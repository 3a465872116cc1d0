"""What is recorded of each file of a directory, as text and by path: of tens of thousands of files, few change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from deployer.wire.lazydata import dataclass
from deployer.wire.tree import lines

ByPath = dict[bytes, bytes]
"""What is known of each file and link, by its path below the directory."""

_LINK = b" 120777"
"""How what is seen of a link ends."""


class Record:
    """What is known of each file. Its text is a line for each, sorted, that ends in NUL."""

    def __init__(self, by_path: ByPath, sorted_lines: list[bytes] | None = None) -> None:
        """``sorted_lines``: the lines without their ends, where they are known already."""
        self.by_path, self._sorted = by_path, sorted_lines

    @classmethod
    def parse(cls, text: bytes) -> Record:
        """The record with that text; what a damaged one says may be anything."""
        return cls({path: one for one, _, path in (line.partition(b"  ") for line in text.split(b"\0") if line)})

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines, without their ends."""
        return self._sorted or sorted([b"%s  %s" % (one, path) for path, one in self.by_path.items()])

    @property
    def text(self) -> bytes:
        return b"".join([b"%s\0" % line for line in self.lines])

    @cached_property
    def paths(self) -> list[bytes]:
        """All paths, sorted."""
        return sorted(self.by_path)

    def changed(self, gone: Iterable[bytes], new: Mapping[bytes, bytes]) -> Record:
        """The record when some paths are gone, and others are new or say something new."""
        gone = {path for path in {*gone, *new} if path in self.by_path}
        old = sorted(b"%s  %s" % (self.by_path[path], path) for path in gone)
        left = lines.without(self.lines, lines.places(self.lines, old))
        added = sorted(b"%s  %s" % (one, path) for path, one in new.items())
        by_path = dict(self.by_path)
        for path in gone:
            del by_path[path]
        by_path.update(new)
        return Record(by_path, lines.with_new(left, lines.places(left, added), added))


@dataclass(frozen=True)
class Examined:
    """What the file system says of each file, each one's digest and mode, and the bytes in all of them."""

    seen: Record
    digests: Record
    size: int

    def prepared(self) -> Examined:
        """The same, with all sorted: that takes a while for many files, and :meth:`changed` needs it."""
        _ = self.seen.paths, self.seen.lines, self.digests.lines
        return self

    def changed(self, gone: Collection[bytes], new: ByPath, digests: ByPath) -> Examined:
        """The same, but for paths that are gone, and others that are ``new`` or changed, with their ``digests``."""
        before, seen = self.seen.by_path, self.seen.changed(gone, new)
        left = set(seen.by_path.values())
        lost = {before[path] for path in {*gone, *new} if path in before} - left
        added = set(new.values()).difference(before.values())
        size = self.size - size_of(lost) + size_of(added)
        return Examined(seen, self.digests.changed(gone, digests), size)


def size_of(seen: Iterable[bytes]) -> int:
    """The bytes in files of a listing, each counted once."""
    return sum(int(one.split(b" ", 2)[1]) for one in set(seen) if not one.endswith(_LINK))

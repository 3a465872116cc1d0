"""What is recorded of each file of a directory, as text and by path: of tens of thousands of files, few change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from deployer.wire import lines

ByPath = dict[bytes, bytes]
"""What is known of each file and link, by its path below the directory."""


class Record:
    """What is known of each file. Its text is a line for each, sorted, that ends in NUL."""

    def __init__(self, by_path: ByPath, sorted_lines: list[bytes] | None = None) -> None:
        """``sorted_lines``: the lines without their ends, where they are known already."""
        self.by_path, self._lines = by_path, sorted_lines

    @classmethod
    def parse(cls, text: bytes) -> Record:
        found = text.split(b"\0")[:-1]
        return cls({path: one for one, _, path in (line.partition(b"  ") for line in found)}, found)

    @property
    def lines(self) -> list[bytes]:
        """The lines, without their ends."""
        if self._lines is None:
            self._lines = sorted([b"%s  %s" % (one, path) for path, one in self.by_path.items()])
        return self._lines

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

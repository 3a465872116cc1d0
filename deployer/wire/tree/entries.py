"""The files of a tree as lines: what its digest is taken of. Pure; imported by both halves.

Of a large tree few files are ever looked at: an entry is made of its line when it is asked for.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from deployer.wire.tree import lines
from deployer.wire.tree.entry import ID_BYTES, Entry, as_lines, check_paths, directories_of, parse_line


class Entries(Sequence[Entry]):
    """The entries of a tree, sorted by path."""

    def __init__(self, sorted_lines: Sequence[str], ids: Sequence[bytes] = ()) -> None:
        """``sorted_lines``: one of each entry; ``ids`` are theirs in the same order, where they are known."""
        self.lines = sorted_lines
        self._ids: Sequence[bytes] = ids if len(ids) == len(sorted_lines) else ()
        self._text = b""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Entries:
        """Those of a tree, in any order."""
        return cls(as_lines(entries))

    @classmethod
    def parse(cls, text: bytes, ids: bytes = b"") -> Entries:
        """Those of a :attr:`text`. Raises UnicodeDecodeError; ValueError once a line is read that is none."""
        known = [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]
        found = cls(text.decode().split("\n")[:-1], known)
        found._text = text
        return found

    @property
    def text(self) -> bytes:
        """All lines."""
        self._text = self._text or "".join([f"{line}\n" for line in self.lines]).encode()
        return self._text

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of the text: it stands for the tree."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def ids(self) -> Sequence[bytes]:
        """The entries' ids, in their order."""
        self._ids = self._ids or [entry.id for entry in self]
        return self._ids

    @cached_property
    def paths(self) -> Sequence[str]:
        """The entries' paths, in their order."""
        return [line.partition("\0")[0] for line in self.lines]

    @cached_property
    def _all(self) -> list[Entry]:
        return [parse_line(line) for line in self.lines]

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        found = self.lines[index]
        return parse_line(found) if isinstance(found, str) else [parse_line(line) for line in found]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and list(self.lines) == list(other.lines)

    def __hash__(self) -> int:
        return hash(self.digest)

    def find(self, path: str) -> Entry | None:
        """The entry at a path, or None."""
        at = self._place(path)
        return parse_line(self.lines[at]) if self._is(at, path) else None

    def below(self, directory: str) -> list[Entry]:
        """The entries in a directory, and below it; all of them for the empty path."""
        return self[slice(*self._range(directory))] if directory else self[:]

    def has_directory(self, path: str) -> bool:
        """Whether there are files in a directory of that path; one behind a link does not count."""
        start, end = self._range(path)
        return start < end

    def places(self, paths: Iterable[str]) -> list[int]:
        """Where the entries of some paths are, those of them that there are, in their order."""
        found = ((self._place(path), path) for path in set(paths))
        return sorted(place for place, path in found if self._is(place, path))

    def those(self, paths: Iterable[str]) -> list[Entry]:
        """The entries of some paths, those of them that there are, in their order."""
        return [self[place] for place in self.places(paths)]

    def but(self, places: Sequence[int]) -> Entries:
        """Those that are left without the ones at some places, which are sorted."""
        if not places:
            return self
        return Entries(lines.without(self.lines, places), lines.without(self._ids, places))

    def plus(self, added: Sequence[Entry]) -> Entries:
        """Those of a tree that has others besides.

        Raises ValueError when a path leads outside, is there twice, or is below a file or a link.
        """
        check_paths(added)
        self._refuse_in_the_way(added)
        new = Entries.of(added)
        places = lines.places(self.lines, new.lines)
        ids = lines.with_new(self._ids, places, new.ids) if self._ids else ()
        return Entries(lines.with_new(self.lines, places, new.lines), ids)

    def _refuse_in_the_way(self, added: Sequence[Entry]) -> None:
        """Each of the two is known to be a tree by itself."""
        if not self.lines:
            return
        for path in (entry.path for entry in added):
            if self.find(path) is not None:
                raise ValueError(f"twice in one release: {path!r}")
            start, end = self._range(path)
            if start < end:
                raise _below(self[start].path, path)
        above = next((one for one in directories_of([entry.path for entry in added]) if self.find(one)), None)
        if above is not None:
            raise _below(min(entry.path for entry in added if entry.path.startswith(f"{above}/")), above)

    def _place(self, path: str) -> int:
        """Where the line of a path is, or would be."""
        return bisect.bisect_left(self.lines, f"{path}\0")

    def _is(self, place: int, path: str) -> bool:
        return place < len(self.lines) and self.lines[place].startswith(f"{path}\0")

    def _range(self, directory: str) -> tuple[int, int]:
        start = bisect.bisect_left(self.lines, f"{directory}/")
        return start, bisect.bisect_left(self.lines, f"{directory}0", start)  # 0 is the character behind /


def _below(path: str, above: str) -> ValueError:
    return ValueError(f"{path!r} is below {above!r}, which is a file or a link")


def difference(have: Iterable[bytes], want: Entries) -> tuple[tuple[bytes, ...], tuple[Entry, ...]]:
    """The ids to drop from ``have`` and the entries to add, so that it becomes ``want``."""
    held = set(have)
    added = [place for place, name in enumerate(want.ids) if name not in held]
    return tuple(sorted(held.difference(want.ids))), tuple(want[place] for place in added)

"""Where the contents of a release's files are: in a temporary file, or still in git, from where they are read once they
are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO

from deployer.errors import ConfigError
from deployer.project.commit.blobs import Blobs
from deployer.project.spool import Kept, Readable, Spool
from deployer.wire.advice import do
from deployer.wire.tree.entry import Entry

Find = Callable[[Sequence[str]], Mapping[str, str]]
"""Finds the blobs of some paths, by path; it may find those of others besides."""


class Contents:
    """The contents of files by path. They are added by one thread, and may be opened by several at once.

    Of the repositories that they are in, one git runs at a time.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._asked: Blobs | None = None
        self._places: dict[str, int | str] = {}
        """By path: where a content begins in the spool, or the name of its blob."""
        self._blobs: dict[str, Blobs] = {}
        """By the name of a blob: what can read it."""
        self._later: tuple[Blobs, Find] | None = None

    def add(self, path: str, stream: Readable) -> Kept:
        """Keep all of a stream. Raises OSError when the temporary directory is full."""
        kept = self.spool.add(stream)
        self._places[path] = kept.start
        return kept

    def add_blobs(self, blobs: Blobs, names: Mapping[str, str]) -> None:
        """Have contents read from git, once they are opened; ``names`` has the blob of each path."""
        self._places.update(names)
        self._blobs.update(dict.fromkeys(names.values(), blobs))

    def add_later(self, blobs: Blobs, find: Find) -> None:
        """Have git asked for the blobs of other paths, once they are opened."""
        self._later = blobs, find

    def add_from(self, other: Contents, path: str) -> None:
        """Take over a path of another with the same spool."""
        place = self._places[path] = other._places[path]
        if isinstance(place, str):
            self._blobs[place] = other._blobs[place]

    def add_all(self, other: Contents) -> None:
        """Take over all paths of another with the same spool."""
        self._places.update(other._places)
        self._blobs.update(other._blobs)
        self._later = other._later or self._later

    def fetch(self, entries: Iterable[Entry]) -> None:
        """Read all those that are still in git, in one go. Raises ConfigError with git's words when it cannot be."""
        entries, wanted = list(entries), dict[Blobs, dict[str, Entry]]()
        unknown = [entry.path for entry in entries if entry.path not in self._places]
        if unknown and self._later is not None:
            blobs, find = self._later
            self.add_blobs(blobs, {path: name for path, name in find(unknown).items() if path not in self._places})
        for entry in entries:
            place = self._places[entry.path]
            if isinstance(place, str):
                wanted.setdefault(self._blobs[place], {})[place] = entry
        for blobs, named in wanted.items():
            asked, self._asked = self._asked, blobs
            if asked is not None and asked is not blobs:
                asked.rest()
            for name, known in blobs.read(named).items():
                _refuse_other(named[name], known.digest)

    def open(self, entry: Entry) -> BinaryIO:
        """A stream of its own over a file's content. Raises ConfigError with git's words when it cannot be read."""
        self.fetch((entry,))
        place = self._places[entry.path]
        if isinstance(place, str):
            return self._blobs[place].open(place)
        return self.spool.open(place, entry.size)


def _refuse_other(entry: Entry, digest: str) -> None:
    """Raises ConfigError when a content is not the one that is recorded."""
    if entry.digest != digest:
        raise ConfigError(
            message=f"{entry.path} has another content in git than was recorded of it on this machine",
            state="nothing was touched",
            next=do("remove the directory deployer in ~/.cache (or in $XDG_CACHE_HOME), then again"),
        )

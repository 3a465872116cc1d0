"""Make a tree out of another one and a delta. Neither the delta, nor its body, nor the base is trusted.

The caller owns an empty directory that nobody else can write to; only that is written. Memory use is bounded, and so is
what is written: never more than the sizes that the delta declares.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from deployer.host.build import hardlinks
from deployer.host.build.code import clone
from deployer.wire.lazydata import dataclass
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, LINK, Delta, Entry

_CHUNK = 1 << 18


class Mismatch(ValueError):
    """The upload or the base is not what the delta declares. ``paths`` are the files (none: the whole)."""

    def __init__(self, message: str, *paths: str) -> None:
        super().__init__(message)
        self.paths = paths


@dataclass(frozen=True)
class Base:
    """The tree that an upload builds on: where it is, and its entries.

    ``shares``: it is sealed, and what stays of it becomes a hard link; else a copy. Of modules that become links the
    ``bytecode`` does, too. ``altered`` are paths that it has, or had, besides its entries.
    """

    directory: str
    entries: Entries
    shares: bool = False
    bytecode: bool = False
    altered: Sequence[str] = ()


class Merged(NamedTuple):
    """The entries of a tree, those of them that stay from its base, and the paths of the base's others."""

    entries: Entries
    kept: Entries
    dropped: Sequence[str]


def merge(delta: Delta, base: Base | None) -> Merged:
    """What a delta makes of its base.

    Raises Mismatch when they are not the tree with ``delta.digest``, ValueError when a path leads outside.
    """
    had, ids = base.entries if base else Entries(()), set(delta.drop)
    places = [place for place, name in enumerate(had.ids) if name in ids] if ids else []
    if len(places) < len(ids):
        raise Mismatch("the delta drops files that the base does not have")
    kept = had.but(places)
    entries = kept.plus(delta.add)
    if entries.digest != delta.digest:
        raise Mismatch("the base and the delta do not make the tree that was announced")
    return Merged(entries, kept, [had[place].path for place in places])


def apply(
    delta: Delta, body_path: str, base: Base | None, merged: Merged, destination: str, *, cloned: bool = False
) -> None:
    """Build the delta's tree in ``destination``, an empty directory or, if ``cloned``, a clone of the base.

    Files get the mode 0644 or 0755, directories 0755; links are made last. Nothing is synced. Raises Mismatch (a
    ValueError) naming the file when a digest or a size is wrong, OSError (ENOSPC and others); remove the destination
    then.
    """
    tree = _Tree(destination, merged.kept if cloned else Entries(()))
    if base is not None and cloned:
        clone.reduce(Path(destination), [*merged.dropped, *base.altered], merged.kept)
    elif base is not None and base.shares:
        tree.has(_share(base, merged.kept, delta, destination))
    elif base is not None:
        _copy_kept(tree, base.directory, merged.kept)
    _unpack_added(tree, body_path, delta)
    tree.make_links()


def _share(base: Base, kept: Sequence[Entry], delta: Delta, destination: str) -> set[str]:
    shipped = {entry.path for entry in (*base.entries, *delta.add)}.union(base.altered) if base.bytecode else ()
    try:
        return hardlinks.share(base.directory, destination, kept, shipped, modules=base.bytecode)
    except hardlinks.Missing as error:
        raise Mismatch(str(error), *error.paths) from error


class _Tree:
    """The tree under construction. Each file is new: nothing is ever written through a link."""

    def __init__(self, destination: str, there: Entries) -> None:
        """``there``: what it has already."""
        self._destination, self._there = Path(destination), there
        self._directories = {""}
        self._links: dict[str, str] = {}

    def write(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        """Write a file, or remember a link. Raises Mismatch when the content is not the entry's."""
        if entry.kind == LINK:
            self._links[entry.path] = _link_target(entry, b"".join(_checked(entry, pieces)))
            return
        self._make_parents(entry.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._place(entry.path), flags, 0o600), "wb") as file:
            for piece in _checked(entry, pieces):
                file.write(piece)
            os.fchmod(file.fileno(), 0o755 if entry.kind == EXECUTABLE else 0o644)

    def has(self, directories: set[str]) -> None:
        """Note directories that are there already."""
        self._directories |= directories

    def make_links(self) -> None:
        """Make the remembered links, now that all files are written."""
        for path in sorted(self._links):
            self._make_parents(path)
            self._place(path).symlink_to(self._links[path])

    def _make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._directories and not self._there.has_directory(parent):
            self._make_parents(parent)
            self._place(parent).mkdir(0o700)
            self._place(parent).chmod(0o755)
            self._directories.add(parent)

    def _place(self, path: str) -> Path:
        return self._destination / path


def _link_target(entry: Entry, content: bytes) -> str:
    """A link's target. Raises Mismatch for what cannot be one."""
    try:
        target = content.decode("utf-8")
    except UnicodeDecodeError:
        target = ""
    if not target or "\0" in target:
        raise Mismatch(f"not a link's target: {entry.path!r}", entry.path)
    return target


def _checked(entry: Entry, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces. Raises Mismatch when they exceed the entry's size, or in the end are not its content."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > entry.size:
            break
        digest.update(piece)
        yield piece
    if size != entry.size or digest.hexdigest() != entry.digest:
        raise Mismatch(f"not the content that was announced: {entry.path!r}", entry.path)


def _copy_kept(tree: _Tree, base_dir: str, entries: Sequence[Entry]) -> None:
    """Copy the kept files of the base. A build may have changed it: no link is followed, digests are checked."""
    base = os.open(base_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in entries:
            tree.write(entry, _kept_pieces(base, entry))
    finally:
        os.close(base)


def _kept_pieces(base: int, entry: Entry) -> Iterator[bytes]:
    """The base's content for an entry. Raises Mismatch when there is none, or another kind of file."""
    *parents, name = entry.path.split("/")
    parent = os.dup(base)
    try:
        for directory in parents:
            inner = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            os.close(parent)
            parent = inner
        if entry.kind == LINK:
            yield os.fsencode(os.readlink(name, dir_fd=parent))
        else:
            yield from _regular_file(parent, name, entry)
    except OSError as error:
        raise Mismatch(f"the base does not have it any more ({error.strerror}): {entry.path!r}", entry.path) from error
    finally:
        os.close(parent)


def _regular_file(parent: int, name: str, entry: Entry) -> Iterator[bytes]:
    """A regular file's content in pieces. Raises Mismatch for pipes, devices and the like."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=parent), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Mismatch(f"no longer a file in the base: {entry.path!r}", entry.path)
        while True:
            piece = file.read(_CHUNK)
            if not piece:
                return
            yield piece


def _unpack_added(tree: _Tree, body_path: str, delta: Delta) -> None:
    """Write the files in the body. Raises Mismatch when it is cut short, has more, or is another body."""
    with Path(body_path).open("rb") as file:
        body = _Body(file)
        for entry in delta.add:
            tree.write(entry, body.take(entry))
        body.finish(delta)


class _Body:
    """The compressed content of an upload, read once to its end and hashed on the way."""

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
        """Raises Mismatch unless the body ends here and is the declared one."""
        self._fill()
        if self._ready or not self._inflate.eof or self._inflate.unused_data or self._read():
            raise Mismatch("the body goes on behind its last file, or is cut short")
        if (self._length, self._digest.hexdigest()) != (delta.length, delta.body):
            raise Mismatch("the body is not the one that was announced")

    def _fill(self) -> None:
        """Have a byte ready, unless the body is at its end. Raises Mismatch for what zlib cannot decompress."""
        while not self._ready and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read()
            try:
                self._ready = memoryview(self._inflate.decompress(packed, _CHUNK))
            except zlib.error as error:
                raise Mismatch(f"the body is damaged: {error}") from error
            if not packed:
                return

    def _read(self) -> bytes:
        packed = self._file.read(_CHUNK)
        self._digest.update(packed)
        self._length += len(packed)
        return packed

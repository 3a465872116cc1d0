"""Make a tree out of another one and a delta. Neither the delta, nor its body, nor the base is trusted.

The caller owns an empty directory that nobody else can write to; only it is written to. Memory stays bounded, and so
does what is written: never more than the sizes that the delta declares.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from deployer.wire.tree import EXECUTABLE, LINK, Delta, Entry, check_paths, tree_digest

_CHUNK = 1 << 18


class Mismatch(ValueError):
    """What arrived, or what the base holds, is not what the delta says. ``path``: the file (empty: all)."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def _final_entries(delta: Delta, base_entries: Sequence[Entry]) -> list[Entry]:
    """The entries of the tree that the delta makes, sorted by path.

    Raises Mismatch when they are not the tree that ``delta.digest`` names, ValueError when they could reach
    outside.
    """
    dropped = set(delta.drop)
    if not dropped <= {entry.id for entry in base_entries}:
        raise Mismatch("the delta drops files that the base does not have")
    kept = [entry for entry in base_entries if entry.id not in dropped]
    entries = sorted([*kept, *delta.add], key=lambda entry: entry.path)
    check_paths(entries)
    if tree_digest(entries) != delta.digest:
        raise Mismatch("the base and the delta do not make the tree that was announced")
    return entries


def apply(
    delta: Delta, body_path: str, base_dir: str | None, base_entries: Sequence[Entry], destination: str
) -> list[Entry]:
    """Build the delta's tree in ``destination``, which exists and is empty; its entries, sorted by path.

    Files get the mode 0644 or 0755, directories 0755; links are made last. Nothing is fsynced. Raises
    Mismatch (a ValueError) naming the file when a digest or a size is wrong, ValueError for entries that
    could reach outside, OSError (ENOSPC and others) as it comes; then throw the destination away.
    """
    entries = _final_entries(delta, base_entries)
    added = {entry.path for entry in delta.add}
    tree = _Tree(destination)
    kept = [entry for entry in entries if entry.path not in added]
    if kept and base_dir is None:
        raise Mismatch("the delta keeps files of a base, and there is none")
    if kept and base_dir is not None:
        _copy_kept(tree, base_dir, kept)
    _unpack_added(tree, body_path, delta)
    tree.make_links()
    return entries


class _Tree:
    """The tree under construction. Each file is new: nothing is ever written through a link."""

    def __init__(self, destination: str) -> None:
        self._destination = Path(destination)
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

    def make_links(self) -> None:
        """Make the links that were remembered, now that no file is written any more."""
        for path in sorted(self._links):
            self._make_parents(path)
            self._place(path).symlink_to(self._links[path])

    def _make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._directories:
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
    """The same pieces. Raises Mismatch once they are longer, and at their end when not the entry's."""
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
    """Copy what stays of the base. A build may have changed it: links are not followed, digests checked."""
    base = os.open(base_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in entries:
            tree.write(entry, _kept_pieces(base, entry))
    finally:
        os.close(base)


def _kept_pieces(base: int, entry: Entry) -> Iterator[bytes]:
    """The base's content for an entry. Raises Mismatch when it has none, or another kind of file."""
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
    """A regular file's content, in pieces. Raises Mismatch for pipes, devices and the like."""
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
    """Write what the body holds. Raises Mismatch when it is cut short, goes on, or is another body."""
    with Path(body_path).open("rb") as file:
        body = _Body(file)
        for entry in delta.add:
            tree.write(entry, body.take(entry))
        body.finish(delta)


class _Body:
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

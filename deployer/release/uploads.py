"""The uploads of a source: one for each tree that hosts have of it, however many hosts have that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace

from deployer.project.cache import Cache, cache_directory
from deployer.project.source import Source
from deployer.release.delta import Advance, Upload, make_delta
from deployer.remote.facts import BaseTree
from deployer.wire.tree.entry import FEW, ID_BYTES

_MOST = 5 << 20
"""Bytes of one tree's ids in the cache: those of a million files."""
_PATIENCE = 5.0
"""Seconds to wait for another host's answer before this one is asked for the same."""


class Uploads:
    """Any thread may use it."""

    def __init__(self, source: Source, cache: Cache | None = None) -> None:
        """``cache``: another one than in the user's cache directory."""
        self._cache = cache or Cache(cache_directory("trees"))
        self._source = source
        self._made: dict[tuple[str, frozenset[bytes]], Upload] = {}
        self._known: dict[str, frozenset[bytes]] = {}
        self._asking, self._making = threading.Lock(), threading.Lock()

    def upload(self, base: BaseTree, packed: Advance) -> Upload:
        """What a host with that tree lacks. Asks the host for the ids of the tree's files where nobody here knows them.
        Raises DeployerError."""
        made = self._made.get((base.digest, base.altered))
        ids = () if made else self._ids(base)
        with self._making:
            made = self._made.get((base.digest, base.altered)) or make_delta(self._source, base.key, ids, packed)
            if not self._made:
                self._remember_source()
            self._made[base.digest, base.altered] = made
        return replace(made, delta=replace(made.delta, base=base.key))

    def _ids(self, base: BaseTree) -> Collection[bytes]:
        """The ids of what can be taken over."""
        if base.told or not base.digest:
            return base.told
        with _held(self._asking, _PATIENCE):
            known = self._known.get(base.digest) or self._load(base.digest) or base.altered.union(base.ask())
            self._known[base.digest] = known
        return known - base.altered if base.altered else known

    def _load(self, digest: str) -> frozenset[bytes]:
        text = self._cache.load(digest, _MOST)
        return frozenset(text[at : at + ID_BYTES] for at in range(0, len(text), ID_BYTES))

    def _remember_source(self) -> None:
        """The next upload builds on this one. What a host says of a tree is not kept: it may be wrong."""
        if len(self._source.entries) > FEW:
            self._cache.save(self._source.digest, b"".join(self._source.entries.ids))


@contextlib.contextmanager
def _held(lock: threading.Lock, seconds: float) -> Iterator[None]:
    """Hold a lock for the block, or do without when it cannot be had within so many seconds."""
    had = lock.acquire(timeout=seconds)
    try:
        yield
    finally:
        if had:
            lock.release()

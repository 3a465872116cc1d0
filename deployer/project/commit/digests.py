"""What was found out about blobs before: one file for each project in the user's cache directory."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from deployer.project.cache import Cache, cache_directory, name_of
from deployer.project.commit.blobs import Known

_MAGIC = b"deployer blobs 1\n"
"""Another number is needed when the records change, or what ``filters`` takes for a content that stands for another."""
_RECORD = struct.Struct("<B32s32sQB")
_MOST = 400_000
"""Blobs in one file: 30 MB."""
_SPARE = 5_000
"""Blobs of other commits that are kept whatever the size of the project, beside as many as the project has files."""


class Digests:
    """The digests of one project's blobs, by their names in git."""

    def __init__(self, project: Path, directory: Path | None = None) -> None:
        """``directory``: another one than the user's cache directory."""
        self._cache = Cache(directory or cache_directory())
        self._name = name_of(project)

    def load(self) -> dict[str, Known]:
        """All that is known; nothing when there is no file, or it is damaged, of another version, or another user's."""
        return _parse(self._cache.load(self._name, len(_MAGIC) + _MOST * _RECORD.size))

    def save(self, used: Mapping[str, Known], known: Mapping[str, Known]) -> None:
        """Keep what the project uses now, and of what was known before as much as there is room for."""
        kept = dict(list(used.items())[:_MOST])
        room = min(_MOST, 2 * len(kept) + _SPARE) - len(kept)
        kept.update([item for item in known.items() if item[0] not in kept][: max(room, 0)])
        self._cache.save(self._name, _format(kept))


def _format(blobs: Mapping[str, Known]) -> bytes:
    records = [
        _RECORD.pack(len(name) // 2, bytes.fromhex(name), bytes.fromhex(known.digest), known.size, known.raw)
        for name, known in blobs.items()
    ]
    return b"".join([_MAGIC, *records])


def _parse(data: bytes) -> dict[str, Known]:
    if not data.startswith(_MAGIC) or (len(data) - len(_MAGIC)) % _RECORD.size:
        return {}
    return {
        name[:length].hex(): Known(size, digest.hex(), raw)
        for length, name, digest, size, raw in _RECORD.iter_unpack(memoryview(data)[len(_MAGIC) :])
    }

"""The files of a tree as they were shipped: ``<key>.entries`` beside it, the lines that its digest is taken of.

``<key>.ids`` has the ids of those that an upload may build on, in the same order: a laptop is told them without any of
it being parsed. Trees that were sealed by earlier versions have their entries in the seal.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployer.host.state.content.store import ENTRIES, IDS, Store
from deployer.host.system import files
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import FEW, ID_BYTES, Entry, pack_ids

Seal = Mapping[str, Any]


def record(store: Store, key: str, entries: Entries) -> None:
    """Record the entries of a tree that is being made; they last once it is sealed. Raises OSError."""
    files.write_file(store.beside(key, ENTRIES), entries.text, 0o600, durable=False)


def seal(store: Store, key: str, entries: Entries, altered: Sequence[str]) -> dict[str, Any]:
    """What the seal of a tree says of its entries; ``altered`` are paths that are not as they were shipped. Raises
    OSError."""
    ids = b"".join(entries.but(entries.places(altered)).ids)
    files.write_file(store.beside(key, IDS), ids, 0o600, durable=False)
    return {"altered": list(altered), "ids": hashlib.sha256(ids).hexdigest()}


def is_listed(seal: Seal) -> bool:
    """Whether a tree was sealed by a version that records its entries beside it."""
    return "entries" not in seal


def entries(store: Store, key: str, seal: Seal) -> Entries:
    """The entries of a sealed tree; none when their record is damaged or gone."""
    if not is_listed(seal):
        return Entries.of(Entry(*value) for value in seal["entries"])
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = unsealed(store, key)
        if found.digest == seal.get("source"):
            return found
    return Entries(())


def unsealed(store: Store, key: str) -> Entries:
    """The entries of a tree that is being made. Raises OSError."""
    return Entries.parse(store.beside(key, ENTRIES).read_bytes())


def base(store: Store, key: str, seal: Seal) -> Entries:
    """The entries that are unchanged since they were shipped: what an upload may build on."""
    if seal.get("damaged"):
        return Entries(())
    found = entries(store, key, seal)
    there = found.but(found.places(seal.get("altered", ())))
    return Entries(there.lines, _recorded_ids(store, key, seal))


def told(store: Store, key: str, seal: Seal) -> dict[str, Any]:
    """What a laptop is told of a tree that an upload may build on: the digest of its source (empty when nothing can be
    taken over), the ids of the files that cannot, and where there are few, of all that can."""
    known = entries(store, key, seal) if not seal.get("damaged") else Entries(())
    if not known:
        return {"key": key, "digest": "", "altered": "", "ids": ""}
    return {
        "key": key,
        "digest": known.digest,
        "altered": pack_ids(entry.id for entry in known.those(seal.get("altered", ()))),
        "ids": pack_ids(base(store, key, seal).ids) if len(known) <= FEW else "",
    }


def _recorded_ids(store: Store, key: str, seal: Seal) -> list[bytes]:
    """The ids of :func:`base` as they were recorded; none when that is damaged or gone."""
    with contextlib.suppress(OSError):
        ids = store.beside(key, IDS).read_bytes()
        if hashlib.sha256(ids).hexdigest() == seal.get("ids"):
            return [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]
    return []


def mark_altered(store: Store, key: str, paths: Iterable[str]) -> None:
    """Record that files differ from what was shipped: no upload builds on them any more. Raises OSError."""
    seal = store.record(key)
    if seal is not None:
        store.mark(key, seal, altered=[*seal.get("altered", ()), *sorted(paths)], ids="")


def migrations(store: Store, key: str) -> list[str]:
    """``path digest`` of each file that could be a migration."""
    seal = store.record(key)
    found = entries(store, key, seal) if seal is not None else Entries(())
    likely = (found[place] for place, path in enumerate(found.paths) if "migrations/" in path or "versions/" in path)
    return [f"{entry.path} {entry.digest}" for entry in likely]

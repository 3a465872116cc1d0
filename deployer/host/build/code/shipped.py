"""The files of a tree as they were shipped: ``<key>.entries`` beside it, the lines that its digest is taken of.

``<key>.ids`` has the ids of those that an upload may build on, in the same order: a laptop is told them without any of
it being parsed. Trees that were sealed by earlier versions have their entries in the seal.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployer.host.state.store import ENTRIES, IDS, Store
from deployer.host.system import files
from deployer.wire.tree import FEW, ID_BYTES, Entry, as_text, pack_ids, parse_line, text_digest

Seal = Mapping[str, Any]


def record(store: Store, key: str, text: bytes) -> None:
    """Record the entries of a tree that is being made, as text; they last once it is sealed. Raises OSError."""
    files.write_file(store.beside(key, ENTRIES), text, 0o600, durable=False)


def seal(store: Store, key: str, by_path: Mapping[str, bytes], altered: Sequence[str]) -> dict[str, Any]:
    """What the seal of a tree says of its entries, of which these are the ids; ``altered`` are paths that are not as
    they were shipped. Raises OSError."""
    outside = set(altered)
    ids = b"".join([name for path, name in by_path.items() if path not in outside])
    files.write_file(store.beside(key, IDS), ids, 0o600, durable=False)
    return {"altered": list(altered), "ids": hashlib.sha256(ids).hexdigest()}


def is_listed(seal: Seal) -> bool:
    """Whether a tree was sealed by a version that records its entries beside it."""
    return "entries" not in seal


def lines(store: Store, key: str, seal: Seal) -> list[str]:
    """The entries of a sealed tree, sorted, as lines; none when their record is damaged or gone."""
    if not is_listed(seal):
        return as_text(Entry(*value) for value in seal["entries"]).decode().split("\n")[:-1]
    with contextlib.suppress(OSError):
        text = store.beside(key, ENTRIES).read_bytes()
        if text_digest(text) == seal.get("source"):
            return text.decode().split("\n")[:-1]
    return []


def entries(store: Store, key: str, seal: Seal) -> list[Entry]:
    """The entries of a sealed tree, sorted by path; none when their record is damaged or gone."""
    return [parse_line(line) for line in lines(store, key, seal)]


def unsealed(store: Store, key: str) -> list[Entry]:
    """The entries of a tree that is being made. Raises OSError."""
    text = store.beside(key, ENTRIES).read_bytes().decode()
    return [parse_line(line) for line in text.split("\n")[:-1]]


def base(store: Store, key: str, seal: Seal) -> list[Entry]:
    """The entries that are unchanged since they were shipped: what an upload may build on."""
    if seal.get("damaged"):
        return []
    altered = set(seal.get("altered", ()))
    found = entries(store, key, seal)
    return [entry for entry in found if entry.path not in altered] if altered else found


def base_ids(store: Store, key: str, seal: Seal) -> list[bytes]:
    """The ids of :func:`base`, in its order."""
    ids = _recorded_ids(store, key, seal)
    if ids and not seal.get("damaged") and lines(store, key, seal):
        return ids
    return [entry.id for entry in base(store, key, seal)]


def told(store: Store, key: str, seal: Seal) -> dict[str, Any]:
    """What a laptop is told of a tree that an upload may build on: the digest of its source (empty when nothing can be
    taken over), the ids of the files that cannot, and where there are few, of all that can."""
    known = lines(store, key, seal) if not seal.get("damaged") else []
    if not known:
        return {"key": key, "digest": "", "altered": "", "ids": ""}
    altered = {f"{path}\0" for path in seal.get("altered", ())}
    changed = [line for line in known if line[: line.index("\0") + 1] in altered] if altered else []
    return {
        "key": key,
        "digest": seal["source"] if is_listed(seal) else text_digest("".join([f"{one}\n" for one in known]).encode()),
        "altered": pack_ids(parse_line(line).id for line in changed),
        "ids": pack_ids(base_ids(store, key, seal)) if len(known) <= FEW else "",
    }


def ids_of(store: Store, key: str, seal: Seal, found: Sequence[Entry]) -> list[bytes]:
    """The ids of what :func:`base` has ``found``."""
    ids = _recorded_ids(store, key, seal)
    return ids if len(ids) == len(found) else [entry.id for entry in found]


def _recorded_ids(store: Store, key: str, seal: Seal) -> list[bytes]:
    """The ids as they were recorded; none when that is damaged or gone."""
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
    found = lines(store, key, seal) if seal is not None else []
    likely = (parse_line(line) for line in found if "migrations/" in line or "versions/" in line)
    return [f"{entry.path} {entry.digest}" for entry in likely]

"""What differs in content from its seal, and what is done about that."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from deployer.host.state.content import contents
from deployer.host.state.content.listing import Listing
from deployer.host.state.content.records import ByPath, Record
from deployer.host.state.content.store import Store
from deployer.wire.lazydata import dataclass

_NOTHING: Mapping[bytes, bytes] = {}


@dataclass(frozen=True)
class Compared:
    """What differs from a seal, for people (empty: nothing does), the paths that do, where it is these, and what the
    file system said of all files before any was read; None when that is what is recorded, or nothing was read."""

    damage: str = ""
    paths: Sequence[bytes] = ()
    seen: Mapping[bytes, bytes] | None = None


def damage_of(store: Store, key: str, recorded: Mapping[bytes, bytes] = _NOTHING) -> str:
    """What differs from the seal, for people; empty when nothing does.

    Every file is read from the medium, but those of which the file system still says what is ``recorded``: what
    :meth:`Store.seen` returns, where that may be trusted.
    """
    return compare_content(store, key, recorded).damage


def compare_content(
    store: Store,
    key: str,
    recorded: Mapping[bytes, bytes],
    suspect: Collection[bytes] = (),
    listing: Listing | None = None,
) -> Compared:
    """As :func:`damage_of`, with all that was found out. Files at the ``suspect`` paths are read in any case.
    ``listing`` is one of this content that was started already."""
    record = store.record(key)
    if record is None:
        return Compared(f"{store.path(key)} is gone, or its seal is")
    if "sums" not in record:
        return Compared()  # sealed by a version that took no sums
    try:
        with listing or store.begin_listing(key) as listed:
            seen = listed.result()
        same = bool(recorded) and seen == recorded
        if same and not suspect:
            return Compared()
        other = () if same else (path for path, one in seen.items() if recorded.get(path) != one)
        changed = _changed(store, key, str(record["sums"]), seen, itertools.chain(suspect, other))
    except OSError as error:
        return Compared(f"{store.path(key)} cannot be read: {error}")
    except ValueError as error:
        return Compared(str(error))
    text = f"below {store.path(key)}: {contents.named(changed)}" if changed else ""
    return Compared(text, changed, None if same else seen)


def _changed(store: Store, key: str, sums: str, seen: ByPath, suspect: Iterable[bytes]) -> list[bytes]:
    """The paths that differ from what was sealed, of those that are ``suspect``, new or gone. Raises ValueError
    when the list of digests differs, OSError."""
    digests, place = store.sums(key, sums).by_path, os.fsencode(store.path(key))
    if not digests:
        found = contents.digests(place, seen, {}, cached=False)
        if contents.text_digest(Record(found).text) == sums:
            return []
        raise ValueError(str(store.sums_path(key)))
    unknown = {path: seen[path] for path in suspect if path in seen}
    unknown.update({path: one for path, one in seen.items() if path not in digests})
    gone = [path for path in digests if path not in seen]
    before = {path: digests[path] for path in (*gone, *unknown) if path in digests}
    return contents.changed(before, contents.digests(place, unknown, {}, cached=False))


def mark_damaged(store: Store, key: str, damage: str) -> None:
    """Record in the seal that the content is damaged: it is not used again, but what runs from it goes on.

    So is all other content that shares a damaged file.
    """
    record = store.record(key)
    if record is None:
        return  # it has just been removed
    store.mark(key, record, damaged=damage)
    for other in _sharing(store, key, str(record.get("sums", ""))):
        sharing = store.record(other)
        if sharing is not None and not sharing.get("damaged"):
            store.mark(other, sharing, damaged=damage)


def _sharing(store: Store, key: str, sums: str) -> list[str]:
    """Other content with one of the files of ``key`` that are damaged."""
    try:
        seen = contents.listing(os.fsencode(store.path(key)))
        damaged = [os.fsdecode(path) for path in _changed(store, key, sums, seen, seen)]
    except (OSError, ValueError):
        return []
    others = (one for one in store.all_keys() if one != key)
    return [one for one in others if any(store.has(one, path, store.path(key) / path) for path in damaged)]

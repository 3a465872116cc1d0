"""The description of an upload, parsed as strictly as anything that a laptop sends. Pure."""

from __future__ import annotations

from typing import Any

from deployer.wire.protocol import DIGEST
from deployer.wire.tree.entry import LINK, Delta, Entry, check_paths, unpack_ids

_MAX_NAME = 255
_MAX_TARGET = 4095
"""Bytes: the longest name of a file, and the longest target of a link, on Linux."""
_KEYS = {"digest", "base", "drop", "add", "body", "length"}


def parse_delta(message: Any) -> Delta:
    """The delta in a JSON value. Raises ValueError saying what is wrong with it."""
    if not isinstance(message, dict) or set(message) != _KEYS:
        raise ValueError("a delta must be an object with the keys " + ", ".join(sorted(_KEYS)))
    if not isinstance(message["add"], list) or not isinstance(message["drop"], str):
        raise ValueError("a delta's add must be a list, and its drop a string")
    add = tuple(_parse_entry(item) for item in message["add"])
    check_paths(add)
    return Delta(
        digest=_parse_digest(message["digest"]),
        base=_parse_digest(message["base"]) if message["base"] != "" else "",
        drop=tuple(unpack_ids(message["drop"])),
        add=add,
        body=_parse_digest(message["body"]),
        length=_parse_size(message["length"]),
    )


def _parse_entry(item: Any) -> Entry:
    """One entry. Raises ValueError for wrong types, names that no file system holds, and negative sizes."""
    if not isinstance(item, list) or len(item) != 4 or not all(isinstance(part, str) for part in item[:2]):
        raise ValueError("an entry must be a list of path, kind, size and digest")
    entry = Entry(item[0], item[1], _parse_size(item[2]), _parse_digest(item[3]))
    if any(len(part) > _MAX_NAME for part in entry.path.encode("utf-8").split(b"/")):
        raise ValueError(f"a name is longer than {_MAX_NAME} bytes: {entry.path[:80]!r}")
    if entry.kind == LINK and not 0 < entry.size <= _MAX_TARGET:
        raise ValueError(f"not the size of a link's target: {entry.path!r}")
    return entry


def _parse_digest(value: Any) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError("not a SHA-256 digest in hex")
    return value


def _parse_size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError("not a size in bytes")
    return value

"""Which files of a static directory have a hash of their content in their name, by the manifest in it. Pure.

Such a name means the same bytes in every release. Anything else in a manifest is skipped: its author writes what he
likes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from deployer.wire.lazyre import pattern

LONGEST = 200
"""Bytes of one part of a name. A file system allows 255, also for a temporary name."""
ENCODED = (".gz", ".br", ".zst")
"""How the name of a file goes on that holds another one compressed, as WhiteNoise and plugins of Vite write them."""
_DJANGO_HASH = pattern(r"\.[A-Za-z0-9_-]{6,64}\Z")
_VITE_HASH = pattern(r"[-.](?=[A-Za-z0-9_-]*(?:[0-9]|(?<![-.])[A-Z]))[A-Za-z0-9_-]{8}(?:\.[A-Za-z0-9]+)+\Z")
"""``-DiwrgTda.js``; not ``-calendar.js`` or ``-Calendar.js``, which a project may have named itself."""


def hashed_names(manifest: str, text: bytes) -> set[str]:
    """The hashed files that a manifest (one of MANIFESTS) names, relative to the static directory.

    Raises ValueError when it is not JSON.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return {name for name in MANIFESTS[manifest](value) if is_plain(name)}


def is_plain(name: str) -> bool:
    """Whether a name may be a path below a directory: nothing hidden in it, no way out of it."""
    try:
        parts = name.encode().split(b"/")
    except UnicodeEncodeError:  # half a character
        return False
    return "\0" not in name and all(0 < len(part) <= LONGEST and part[:1] != b"." for part in parts)


def _django(value: Any) -> Iterator[str]:
    """``staticfiles.json`` of Django, and of WhiteNoise: ``css/a.css`` to ``css/a.0123456789ab.css``."""
    paths = value.get("paths") if isinstance(value, dict) else None
    for plain, name in paths.items() if isinstance(paths, dict) else ():
        root, ending = os.path.splitext(plain)
        if not isinstance(name, str) or not name.startswith(root) or not name.endswith(ending):
            continue
        if _DJANGO_HASH.fullmatch(name[len(root) : len(name) - len(ending)]):
            yield name


def _vite(value: Any) -> Iterator[str]:
    """``manifest.json`` of Vite: each entry has its file, its style sheets and its assets."""
    for entry in value.values() if isinstance(value, dict) else ():
        if not isinstance(entry, dict):
            continue
        lists = (entry.get(key) for key in ("css", "assets"))
        names = [entry.get("file"), *(name for one in lists if isinstance(one, list) for name in one)]
        yield from (name for name in names if isinstance(name, str) and _VITE_HASH.search(name))


MANIFESTS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "staticfiles.json": _django,
    "manifest.json": _vite,
    ".vite/manifest.json": _vite,
}
"""Where they lie in a static directory, and how each is read."""

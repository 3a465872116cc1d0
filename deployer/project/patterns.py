"""Patterns for file names, the same on every Python: ``*``, ``?``, ``[abc]`` within a name, ``**`` for any directories.

The standard library's own have changed between its versions, and with them what would ship.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_ANY = "**"


def glob(root: Path, pattern: str) -> Iterator[str]:
    """The paths below ``root`` that a pattern matches, relative to it, with ``/``; some may come twice.

    ``**`` stands for any number of directories, none too, and follows no link; nothing in ``.git`` is found. Names are
    compared letter by letter, whatever the disk thinks of capitals. Raises ValueError for what is not a pattern.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise ValueError("it names nothing")
    for part in parts:
        if _ANY in part and part != _ANY:
            raise ValueError("** must stand alone between two slashes")
    return _expand(root, "", [None if part == _ANY else name_pattern(part) for part in parts])


def name_pattern(part: str) -> re.Pattern[str]:
    """The pattern of one name. A bracket that is never closed is a bracket. Raises ValueError for an empty range."""
    made, at = "", 0
    while at < len(part):
        end = _bracket_end(part, at) if part[at] == "[" else -1
        if end > 0:
            made += _bracket(part[at + 1 : end])
            at = end
        else:
            made += {"*": "[^/]*", "?": "[^/]"}.get(part[at], re.escape(part[at]))
        at += 1
    return re.compile(made + r"\Z", re.DOTALL)


def _bracket_end(part: str, at: int) -> int:
    """Where the bracket that opens at ``at`` closes; -1 for nowhere. A ``]`` at its beginning is one of its letters."""
    first = at + 2 if part[at + 1 : at + 2] in ("!", "^") else at + 1
    return part.find("]", first + 1)


def _bracket(inner: str) -> str:
    negated = inner[0] in "!^"
    letters = inner[1:] if negated else inner
    made, at = "", 0
    while at < len(letters):
        low, high = letters[at], letters[at + 2 : at + 3]
        if letters[at + 1 : at + 2] == "-" and high:
            if low > high:
                raise ValueError(f"[{inner}] has a range that goes backwards")
            made += f"{re.escape(low)}-{re.escape(high)}"
            at += 3
        else:
            made += re.escape(low)
            at += 1
    return f"[^/{made}]" if negated else f"[{made}]"


def _expand(root: Path, base: str, parts: Sequence[re.Pattern[str] | None]) -> Iterator[str]:
    """The paths below ``base`` that the parts match. None stands for any directories."""
    if not parts:
        if base:
            yield base
        return
    first, rest = parts[0], parts[1:]
    if first is None:
        yield from _expand(root, base, rest) if rest or base else ()
        for name, inner in _entries(root, base):
            if inner.is_dir(follow_symlinks=False):
                yield from _expand(root, _join(base, name), parts)
            elif not rest:
                yield _join(base, name)
        return
    for name, inner in _entries(root, base):
        if first.match(name) and (not rest or inner.is_dir()):
            yield from _expand(root, _join(base, name), rest)


def _entries(root: Path, base: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What a directory holds; nothing when it cannot be read, or is none."""
    try:
        with os.scandir(root / base) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    yield from ((entry.name, entry) for entry in entries if entry.name != ".git")


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name

"""The history of an app on this host, append-only: a line for each attempt that began, ended or was pruned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.system import files
from deployer.wire.lazydata import dataclass
from deployer.wire.protocol import MOST_MOMENT, RELEASE, dumps

BEGUN, ENDED, PRUNED = "begun", "ended", "pruned"
_TAIL = 64 * 1024
"""Bytes at the end of the ledger in which the last attempts are looked for."""


@dataclass(frozen=True)
class Ledger:
    """One JSON object a line: ``at`` (seconds since 1970), ``what`` (BEGUN, ENDED, PRUNED) and its fields."""

    path: Path

    def add(self, what: str, at: float, **fields: Any) -> None:
        """Append an entry durably. Raises OSError."""
        files.append_line(self.path, dumps({"at": at, "what": what, **fields}).rstrip(b"\n"))

    def entries(self) -> Iterator[dict[str, Any]]:
        """All entries, oldest first. Invalid lines (torn by a power cut) are skipped."""
        if self.path.exists():
            yield from _parse(self.path.read_bytes())

    def last_number(self) -> int:
        """The highest release number in the last entries; 0 when there is none."""
        found = [number_of(entry) for entry in self._tail()]
        return max(found, default=0)

    def open_numbers(self) -> list[int]:
        """Of the last entries, the numbers of attempts that began and have no end."""
        found: dict[int, bool] = {}
        for entry in self._tail():
            if entry["what"] == BEGUN:
                found[number_of(entry)] = True
            elif entry["what"] == ENDED:
                found.pop(number_of(entry), None)
        return list(found)

    def _tail(self) -> list[dict[str, Any]]:
        try:
            with open(str(self.path), "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL))
                return list(_parse(file.read()))
        except FileNotFoundError:
            return []


def number_of(entry: dict[str, Any]) -> int:
    """The number of the release that an entry is about; 0 when it is about none."""
    name = entry.get("release")
    return int(name[1:]) if isinstance(name, str) and RELEASE.fullmatch(name) else 0


def _parse(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.split(b"\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and _is_as_written(entry):
            yield entry


def _is_as_written(entry: dict[str, Any]) -> bool:
    """Whether a line has the fields of an entry with the right types: it may be torn, or somebody else's."""
    names = entry.get("releases", [])
    numbered = isinstance(names, list) and all(_is_name(name) for name in names)
    texts = ("what", "release", "kind", "by", "commit", "ref", "of", "result", "phase", "serving", "reason")
    told = all(isinstance(entry.get(key, ""), str) for key in texts)
    named = all(not entry.get(key) or _is_name(entry[key]) for key in ("release", "of", "serving"))
    return (
        "what" in entry
        and type(entry.get("at")) in (int, float)
        and 0 <= entry["at"] < MOST_MOMENT
        and told
        and numbered
        and named
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and RELEASE.fullmatch(value) is not None

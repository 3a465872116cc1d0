"""Pure: every attempt at a release, from the records that are there and the ledger, which forgets none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployer.remote.report import ReleaseRow

__all__ = ["merge"]

Entry = Mapping[str, Any]

_INTERRUPTED = "interrupted"
_STATES = {"good": "retired"}
"""What the ledger calls an end, where the list of releases calls it otherwise."""


def merge(rows: Sequence[ReleaseRow], entries: Iterable[Entry]) -> tuple[ReleaseRow, ...]:
    """One row for each release there ever was, the newest first; a release that has a record is told by that.

    ``entries`` are the ledger's, the oldest first. What this version does not know in them is passed over.
    """
    told: dict[str, ReleaseRow] = {}
    for entry in entries:
        kind = entry.get("what")
        if kind == "begun" and entry.get("release"):
            told[entry["release"]] = _begun(entry)
        elif kind == "ended" and entry.get("release"):
            number = entry["release"]
            told[number] = _ended(told.get(number) or ReleaseRow(number=number, state=""), entry)
        elif kind == "pruned":
            told.update({number: replace(told[number], state="pruned") for number in _good(entry, told)})
    known = {row.number: row for row in rows}
    merged = {**told, **{number: _recorded(row, told.get(number)) for number, row in known.items()}}
    return tuple(sorted(merged.values(), key=_number, reverse=True))


def _begun(entry: Entry) -> ReleaseRow:
    """An attempt of which no end is known: it may be running, or have died in a way that nobody has noticed yet."""
    return ReleaseRow(
        number=entry["release"],
        state="unfinished",
        kind=str(entry.get("kind") or ""),
        by=str(entry.get("by") or ""),
        at=float(entry.get("at") or 0),
        commit=str(entry.get("commit") or ""),
        ref=str(entry.get("ref") or ""),
        of=str(entry.get("of") or ""),
    )


def _ended(row: ReleaseRow, entry: Entry) -> ReleaseRow:
    result = str(entry.get("result") or "")
    phase, serving = str(entry.get("phase") or ""), str(entry.get("serving") or "")
    reason = str(entry.get("reason") or "")
    if result == _INTERRUPTED:
        cut = f"interrupted at {phase or 'its start'}"
        reason = f"{reason or cut}; {serving or 'nothing'} served then"
    return replace(row, state=_STATES.get(result, result), phase=phase or row.phase, reason=reason)


def _good(entry: Entry, told: Mapping[str, ReleaseRow]) -> list[str]:
    """Those of the pruned that served well: of the others the end says more than that they are gone."""
    return [number for number in entry.get("releases") or () if number in told and told[number].state == "retired"]


def _recorded(row: ReleaseRow, told: ReleaseRow | None) -> ReleaseRow:
    """A record, with what only the ledger kept."""
    if told is None:
        return row
    reason = told.reason if row.state == _INTERRUPTED and told.reason else row.reason
    return replace(row, reason=reason or told.reason, phase=row.phase or told.phase)


def _number(row: ReleaseRow) -> int:
    digits = row.number.removeprefix("v")
    return int(digits) if digits.isdigit() else 0

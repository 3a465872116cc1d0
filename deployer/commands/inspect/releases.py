"""``fab releases``: the releases of a host, and with ``--all`` every attempt, also those that only its ledger has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from deployer.remote.answers import History, LedgerEntry, ReleaseRow, Releases
from deployer.remote.site import Site, open_remote

__all__ = ["attempts", "merge", "releases"]

_INTERRUPTED = "interrupted"
_STATES = {"good": "retired"}
"""What the ledger calls an end, where the list of releases calls it otherwise."""


def releases(site: Site) -> tuple[ReleaseRow, ...]:
    """Every release the host has a record of, newest first."""
    with open_remote(site) as (remote, _):
        return remote.query({"op": "releases"}, Releases).releases


def attempts(site: Site) -> tuple[ReleaseRow, ...]:
    """Every attempt that the host's ledger has or that left a record, newest first."""
    with open_remote(site) as (remote, _):
        records = remote.query({"op": "releases"}, Releases).releases
        entries = remote.query({"op": "history"}, History).entries
    return merge(records, entries)


def merge(rows: Sequence[ReleaseRow], entries: Iterable[LedgerEntry]) -> tuple[ReleaseRow, ...]:
    """One row for each release there ever was, the newest first; a release that has a record is told by that.

    ``entries`` are the ledger's, the oldest first. What this version does not know in them is passed over.
    """
    told: dict[str, ReleaseRow] = {}
    for entry in entries:
        number = entry.release
        if entry.what == "begun" and number:
            told[number] = _begun(entry)
        elif entry.what == "ended" and number:
            told[number] = _ended(told.get(number) or ReleaseRow(number=number, state=""), entry)
        elif entry.what == "pruned":
            told.update({number: replace(told[number], state="pruned") for number in _good(entry, told)})
    known = {row.number: row for row in rows}
    merged = {**told, **{number: _recorded(row, told.get(number)) for number, row in known.items()}}
    return tuple(sorted(merged.values(), key=_number, reverse=True))


def _begun(entry: LedgerEntry) -> ReleaseRow:
    """An attempt of which no end is known: it may be running, or have died in a way that nobody has noticed yet."""
    return ReleaseRow(
        number=entry.release,
        state="unfinished",
        kind=entry.kind,
        by=entry.by,
        at=entry.at,
        commit=entry.commit,
        ref=entry.ref,
        of=entry.of,
    )


def _ended(row: ReleaseRow, entry: LedgerEntry) -> ReleaseRow:
    reason = entry.reason
    if entry.result == _INTERRUPTED:
        cut = f"interrupted at {entry.phase or 'its start'}"
        reason = f"{reason or cut}; {entry.serving or 'nothing'} served then"
    return replace(row, state=_STATES.get(entry.result, entry.result), phase=entry.phase or row.phase, reason=reason)


def _good(entry: LedgerEntry, told: Mapping[str, ReleaseRow]) -> list[str]:
    """Those of the pruned that served well: of the others the end says more than that they are gone."""
    return [number for number in entry.releases if number in told and told[number].state == "retired"]


def _recorded(row: ReleaseRow, told: ReleaseRow | None) -> ReleaseRow:
    """A record, with what only the ledger kept."""
    if told is None:
        return row
    reason = told.reason if row.state == _INTERRUPTED and told.reason else row.reason
    return replace(row, reason=reason or told.reason, phase=row.phase or told.phase)


def _number(row: ReleaseRow) -> int:
    digits = row.number.removeprefix("v")
    return int(digits) if digits.isdigit() else 0

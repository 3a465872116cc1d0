"""Every attempt is told: by its record where there is one, else by the ledger."""

from __future__ import annotations

from typing import Any

from deployer.commands.inspect.releases import merge
from deployer.remote.answers import LedgerEntry, ReleaseRow


def begun(number: int, **more: Any) -> LedgerEntry:
    fields = {"kind": "deploy", "by": "ada@laptop", "commit": "c0ffee1", "ref": "main", "of": "", **more}
    return LedgerEntry(what="begun", at=100.0 + number, release=f"v{number}", **fields)


def ended(number: int, result: str, **more: Any) -> LedgerEntry:
    fields = {"phase": "watch", "reason": "", "serving": f"v{number}", **more}
    return LedgerEntry(what="ended", at=150.0 + number, release=f"v{number}", result=result, **fields)


def test_attempts_whose_record_is_gone_come_from_the_ledger() -> None:
    """The newest first; what was pruned after it served is said so, a failure stays one though its record is pruned."""
    entries = [
        begun(1), ended(1, "good"), begun(2), ended(2, "failed", reason="no health", phase="start"),
        LedgerEntry(what="pruned", at=160.0, releases=("v1", "v2", "v99")), begun(3, kind="reload", of="v1"),
    ]  # fmt: skip
    third, second, first = merge([], entries)
    assert (first.number, first.state, first.at, first.by) == ("v1", "pruned", 101.0, "ada@laptop")
    assert (second.state, second.reason, second.phase) == ("failed", "no health", "start")
    assert (third.number, third.state, third.kind, third.of) == ("v3", "unfinished", "reload", "v1")


def test_an_interrupted_attempt_tells_who_when_where_and_what_became_of_it() -> None:
    """What served then is in the ledger only, and is told beside the record's reason, too."""
    entries = [begun(6), ended(6, "interrupted", phase="check", reason="interrupted at check: killed", serving="v5")]
    record = ReleaseRow(number="v6", state="interrupted", reason="interrupted at check: killed", size=7)
    for rows in ([], [record]):
        (row,) = merge(rows, entries)
        assert row.state == "interrupted"
        assert row.reason == "interrupted at check: killed; v5 served then"
        assert row.phase == "check"
    (bare,) = merge([], [begun(6), ended(6, "interrupted", phase="", serving="")])
    assert bare.reason == "interrupted at its start; nothing served then"


def test_a_record_says_more_than_the_ledger() -> None:
    """State, size and reason are the record's; attempts from before there was a ledger are not forgotten."""
    rows = [ReleaseRow(number="v11", state="current", reason="r", size=5), ReleaseRow(number="v2", state="retired")]
    merged = merge(rows, [begun(11), ended(11, "good")])
    assert merged == (ReleaseRow(number="v11", state="current", reason="r", size=5, phase="watch"), rows[1])


def test_what_a_newer_host_writes_is_passed_over() -> None:
    """Entries of another kind, without a release, or with an end alone do no harm."""
    entries = [
        LedgerEntry(what="moved"),
        LedgerEntry(what="begun"),
        LedgerEntry(what=""),
        ended(4, "good"),
        LedgerEntry(what="pruned"),
    ]
    assert [(row.number, row.state) for row in merge([], entries)] == [("v4", "retired")]

"""The ledger only grows, and what a power cut tears spoils no line but itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployer.host.state.ledger import BEGUN, ENDED, Ledger
from deployer.host.system import files


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_entries_come_back_in_their_order(ledger: Ledger) -> None:
    """Each with what it was written with; the file is root's alone."""
    ledger.add(BEGUN, 1.0, release="v1", by="ada")
    ledger.add(ENDED, 2.0, release="v1", result="good")
    assert [(one["what"], one["at"], one["release"]) for one in ledger.entries()] == [
        (BEGUN, 1.0, "v1"),
        (ENDED, 2.0, "v1"),
    ]
    assert ledger.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_line_spoils_nothing_else(ledger: Ledger, cut: int) -> None:
    """Wherever the last line was cut: the ones before it are there, and so is the next."""
    ledger.add(BEGUN, 1.0, release="v1")
    whole = ledger.path.read_bytes()
    ledger.add(ENDED, 2.0, release="v1")
    ledger.path.write_bytes(ledger.path.read_bytes()[: len(whole) + cut])
    before = ledger.path.read_bytes()
    ledger.add(BEGUN, 3.0, release="v2")
    assert [one["at"] for one in ledger.entries()] == [1.0, 3.0]
    assert ledger.path.read_bytes().startswith(before)
    assert ledger.open_numbers() == [1, 2]


def test_a_line_for_which_there_is_no_room_is_left_out_whole(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is told, and the file is as it was."""
    ledger.add(BEGUN, 1.0, release="v1")
    before, write = ledger.path.read_bytes(), os.write

    def full(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:5])

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        ledger.add(ENDED, 2.0, release="v1")
    assert ledger.path.read_bytes() == before


def test_the_last_number_is_found_in_a_long_ledger(ledger: Ledger) -> None:
    """Without reading all of it."""
    for number in range(1, 2001):
        ledger.path.open("ab").write(b'{"at":1,"what":"begun","release":"v%d"}\n' % number)
    assert ledger.last_number() == 2000
    assert ledger.open_numbers()[-1] == 2000


def test_nothing_was_written_yet(ledger: Ledger) -> None:
    """No file is no history."""
    assert (list(ledger.entries()), ledger.last_number(), ledger.open_numbers()) == ([], 0, [])

"""The run of a timer that is started by hand: one that never begins is not taken for the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from deployer.host.processes import lifecycle, timerrun
from deployer.host.system import systemd
from deployer.host.system.journald import JournalEntry

DOWN = systemd.UnitState(active="inactive", sub="dead", result="", restarts=0, main_pid=0, memory=0, since=0.0)


def test_a_run_that_is_cancelled_while_it_waits_never_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit still has the invocation, and the result, of the run before."""
    monkeypatch.setattr(systemd, "properties", lambda *_: [{"InvocationID": "before"}])
    monkeypatch.setattr(systemd, "show", lambda _: DOWN)
    assert timerrun._follow("shop-tidy@v1.service", "before", lambda _: None) is False


def test_a_run_that_ended_before_it_was_looked_at_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it printed is read from the journal, and nothing of the run before."""

    def entries(arguments: Sequence[str]) -> Iterator[JournalEntry]:
        assert "_SYSTEMD_INVOCATION_ID=now" in arguments
        return iter([JournalEntry(lines=("one", "two"))])

    def portions(*_: Any, **__: Any) -> Iterator[list[bytes]]:
        return iter(())

    monkeypatch.setattr(systemd, "properties", lambda *_: [{"InvocationID": "now"}])
    monkeypatch.setattr(systemd, "show", lambda _: DOWN)
    monkeypatch.setattr(timerrun.journald, "portions", portions)
    monkeypatch.setattr(timerrun.journald, "entries", entries)
    told: list[str] = []
    assert timerrun._follow("shop-tidy@v1.service", "before", told.append) is True
    assert told == ["one", "two"]


@pytest.mark.parametrize(
    ("shown", "anew"),
    [
        ({"ActiveState": "active", "InvocationID": "new"}, True),
        ({"ActiveState": "active", "InvocationID": "old"}, False),
        ({"ActiveState": "deactivating", "InvocationID": "old"}, False),
        ({"ActiveState": "activating", "SubState": "start", "InvocationID": "new"}, False),
        ({"ActiveState": "activating", "SubState": "auto-restart", "InvocationID": "new"}, True),
        ({"ActiveState": "failed", "InvocationID": "new"}, True),
        ({"ActiveState": "failed", "InvocationID": "old"}, False),
        ({"ActiveState": "inactive", "InvocationID": ""}, False),
    ],
)
def test_what_has_begun_anew(shown: dict[str, str], anew: bool) -> None:
    """A crash loop has: waiting for it would end in "still finishes a job"."""
    assert lifecycle._is_anew(shown, "old") is anew

"""The file of events that a deploy leaves on its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host import eventlog
from deployer.host.eventlog import EventLog


def test_endless_output_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound what commands print is left out; what the deploy itself says is not."""
    monkeypatch.setattr(eventlog, "_LARGEST", 1000)
    log = EventLog(tmp_path / "events.jsonl")
    for _ in range(100):
        log("output", phase="build", line="x" * 50)
    log("finished", exit=0)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) < 15
    assert '"finished"' in lines[-1]

"""The file of events that a deploy leaves on its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host import eventlog, jobs
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


def test_a_glance_tells_how_far_a_job_is(tmp_path: Path) -> None:
    """When it began, its last phase, and whether it is over: whatever a build prints, and wherever the log is cut."""
    log = EventLog(tmp_path / "events.jsonl")
    assert jobs.glance(tmp_path) == jobs.Glance()
    log("warn", text="x")
    log("phase.started", phase="upload")
    log("phase.started", phase="build")
    log("output", line='{"event":"phase.started","phase":"faked"}\n{"event":"finished"}')
    seen = jobs.glance(tmp_path)
    assert (seen.phase, seen.finished, seen.since > 0) == ("build", False, True)
    log("finished", exit=0)
    assert jobs.glance(tmp_path).finished
    log("warn", text="a recovery found no room for a log of its own")
    assert jobs.glance(tmp_path).finished
    text = (tmp_path / "events.jsonl").read_bytes()
    text = text[: text.rfind(b"\n", 0, -1) + 1]
    (tmp_path / "events.jsonl").write_bytes(text[:-3])
    assert jobs.glance(tmp_path) == seen

"""The file of events that a deploy leaves on its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.job import events, lock
from deployer.host.job.events import EventLog
from deployer.host.state import jobs


def test_endless_output_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound what commands print is left out; what the deploy itself says is not."""
    monkeypatch.setattr(events, "_LARGEST", 1000)
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


def test_a_glance_tells_for_whom_a_job_waits(tmp_path: Path) -> None:
    """A job at a barrier is at no phase; one that went on, or is being put right, waits for nobody."""
    log = EventLog(tmp_path / "events.jsonl")
    log("phase.started", phase="check")
    log("ready", phase="switch", release="v2")
    seen = jobs.glance(tmp_path)
    assert (seen.phase, seen.waits) == ("check", "switch")
    log("recovering")
    assert jobs.glance(tmp_path).waits == ""
    log("ready", phase="switch", release="v2")
    log("phase.started", phase="switch")
    assert jobs.glance(tmp_path).waits == ""


@pytest.mark.parametrize(
    ("phase", "waits", "told"),
    [
        ("", "", "at its start"),
        ("build", "", "at build"),
        ("check", "switch", "waiting for its fleet before switch"),
        ("watch", "keep", "at watch, until its fleet is through"),
    ],
)
def test_who_is_sent_away_is_told_how_far_the_other_is(phase: str, waits: str, told: str) -> None:
    """That it waits for its fleet is told; behind the switch it is watched meanwhile."""
    job = {"by": "ada@laptop", "kind": "deploy", "since": 1.0, "phase": phase, "waits": waits, "job": "00000007"}
    assert lock.busy_text(job).endswith(told)

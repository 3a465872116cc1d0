"""The file of events that a deploy leaves on its host."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.job import events, lock
from deployer.host.job.events import EventLog
from deployer.host.state import jobs
from deployer.host.state.app import AppSettings, Context
from deployer.host.state.paths import AppPaths


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
    assert jobs.status_of(tmp_path) == jobs.JobStatus()
    log("warn", text="x")
    log("phase.started", phase="upload")
    log("phase.started", phase="build")
    log("output", line='{"event":"phase.started","phase":"faked"}\n{"event":"finished"}')
    seen = jobs.status_of(tmp_path)
    assert (seen.phase, seen.finished, seen.since > 0) == ("build", False, True)
    log("finished", exit=0)
    assert jobs.status_of(tmp_path).finished
    log("warn", text="a recovery found no room for a log of its own")
    assert jobs.status_of(tmp_path).finished
    text = (tmp_path / "events.jsonl").read_bytes()
    text = text[: text.rfind(b"\n", 0, -1) + 1]
    (tmp_path / "events.jsonl").write_bytes(text[:-3])
    assert jobs.status_of(tmp_path) == seen


def test_a_glance_tells_for_whom_a_job_waits(tmp_path: Path) -> None:
    """A job at a barrier is at no phase; one that went on, or is being put right, waits for nobody."""
    log = EventLog(tmp_path / "events.jsonl")
    log("phase.started", phase="check")
    log("ready", phase="switch", release="v2")
    seen = jobs.status_of(tmp_path)
    assert (seen.phase, seen.waits) == ("check", "switch")
    log("recovering")
    assert jobs.status_of(tmp_path).waits == ""
    log("ready", phase="switch", release="v2")
    log("phase.started", phase="switch")
    assert jobs.status_of(tmp_path).waits == ""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of a job's events were read, each time that some were."""
    sizes: list[int] = []

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(-1 if size is None else size) or b""
            sizes.extend([len(found)] if found else [])
            return found

    monkeypatch.setattr(jobs, "open", lambda path, _: Counted(path), raising=False)
    return sizes


def test_who_looks_again_reads_only_what_is_new(tmp_path: Path, read: list[int]) -> None:
    """A build may have printed megabytes: they are read once, in portions. Each look tells what a first one would."""
    log, progress = EventLog(tmp_path / "events.jsonl"), jobs.JobProgress(tmp_path)
    log("phase.started", phase="build")
    for _ in range(30):
        log("output", line="x" * 100_000)
    assert progress.look() == jobs.status_of(tmp_path)
    assert max(read) <= 1 << 20
    for name, fields in (("phase.started", {"phase": "check"}), ("ready", {"phase": "switch"}), ("finished", {})):
        read.clear()
        log(name, **fields)
        seen = progress.look()
        assert 0 < sum(read) < 1000
        assert seen == jobs.status_of(tmp_path)
    assert (seen.phase, seen.waits, seen.finished) == ("check", "switch", True)


def test_half_an_event_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """Also one that is longer than what is read at a time."""
    progress, path = jobs.JobProgress(tmp_path), tmp_path / "events.jsonl"
    long = b'{"event":"output","line":"%s"}\n' % (b"x" * (3 << 20))
    whole = (
        b'{"event":"phase.started","at":5,"phase":"build"}\n' + long + b'{"event":"phase.started","phase":"check"}\n'
    )
    for cut, phase in ((20, ""), (60, "build"), (2 << 20, "build"), (-5, "build"), (None, "check")):
        path.write_bytes(whole[:cut])
        assert (progress.look().phase, progress.look().since) == (phase, 5.0 if phase else 0.0)


def test_who_waits_for_a_job_to_leave_reads_its_events_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[int]
) -> None:
    """It is asked thirty times a second whether it has gone."""
    paths, moments = AppPaths("shop", tmp_path), itertools.count()
    (paths.jobs / "00000001").mkdir(parents=True)
    log = EventLog(paths.jobs / "00000001" / "events.jsonl")
    log("output", line="x" * 5000)
    log("finished", exit=0)
    shown = {"ActiveState": "active", "Description": "deployer job 00000001: deploy shop"}
    monkeypatch.setattr(lock, "_shown", lambda _: shown)
    monkeypatch.setattr(lock, "time", SimpleNamespace(monotonic=lambda: next(moments) / 30, sleep=lambda _: None))

    def emit(*_: Any, **__: Any) -> None: ...

    ctx = Context(paths=paths, settings=AppSettings("deploy", "www-data"), emit=emit, clock=lambda: 0.0)
    job = lock.running(ctx)
    assert job is not None and next(moments) > 100
    assert sum(read) < 6000


def test_an_event_is_told_soon_and_systemd_asked_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a job reads its file a hundred times a second, and asks once in one whether it lives."""
    now, asked = [100.0], list[float]()
    log = EventLog(tmp_path / "events.jsonl")
    log("phase.started", phase="build")

    def sleep(seconds: float) -> None:
        assert seconds <= 0.01
        now[0] += seconds
        if now[0] >= 105:
            log("finished", exit=0)

    def is_alive(_: Context) -> bool:
        asked.append(now[0])
        return True

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, time=lambda: 0.0)
    monkeypatch.setattr(events, "time", clock)
    monkeypatch.setattr(lock, "is_alive", is_alive)
    ctx: Any = SimpleNamespace()
    assert [one["event"] for one in events.follow(ctx, tmp_path)] == ["phase.started", "finished"]
    assert 3 <= len(asked) <= 5


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

"""The directories of an app's jobs: their numbers, their requests, what they have said so far."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.system import files

JOB = re.compile(r"(?:[0-9]{8})?\Z")
KEPT = 20
_PHASE, _FINISHED = b'{"event":"phase.started"', b'{"event":"finished"'
_READY, _RECOVERING = b'{"event":"ready"', b'{"event":"recovering"'
"""As :func:`deployer.wire.protocol.dumps` writes it; within a string its quotes would be escaped."""
_PORTION = 1 << 20
"""Bytes of a job's events that are read at a time."""


@contextlib.contextmanager
def new_directory(jobs: Path) -> Iterator[Path]:
    """Under a number that only grows: no clock has a say in which job is the newest. Locked for the block."""
    directory, descriptor = _make(jobs)
    try:
        yield directory
    finally:
        os.close(descriptor)


def _make(jobs: Path) -> tuple[Path, int]:
    while True:
        last = max((int(path.name) for path in _all(jobs)), default=0)
        directory = jobs / f"{last + 1:08d}"
        with contextlib.suppress(FileExistsError):  # another laptop's, made this moment
            directory.mkdir(mode=0o700)
            descriptor = files.lock(directory)
            if descriptor is not None:
                return directory, descriptor  # else somebody took it for abandoned, this moment


@contextlib.contextmanager
def held_lock(directory: Path) -> Iterator[None]:
    """Nobody takes a job for abandoned in this block, and anybody once its process has died."""
    descriptor = files.lock(directory)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def abandoned(jobs: Path) -> list[Path]:
    """Directories of jobs that never said a word, and that nobody is at: whoever was making them has died."""
    silent = (path for path in _all(jobs) if not _log_size(path))
    return [path for path in silent if not files.is_locked(path)]


def _log_size(directory: Path) -> int:
    try:
        return (directory / "events.jsonl").stat().st_size
    except OSError:
        return 0


def latest(jobs: Path) -> Path | None:
    """The newest job that has said something: one that has not is only just being made, or never was."""
    return next((path for path in reversed(_all(jobs)) if _log_size(path)), None)


def remove_old(jobs: Path) -> None:
    """All but the newest, and whatever else has come to lie there."""
    kept = {path.name for path in _all(jobs)[-KEPT:]}
    for path in list(jobs.iterdir()):
        if path.name not in kept:
            with contextlib.suppress(OSError):
                files.remove_tree(path)


def _all(jobs: Path) -> list[Path]:
    return sorted(path for path in jobs.iterdir() if path.name and JOB.fullmatch(path.name))


def request_of(directory: Path) -> dict[str, Any]:
    """What was asked for; empty when that cannot be read."""
    with contextlib.suppress(Damaged):
        return files.read_object(directory / "request.json") or {}
    return {}


def why_aborted(directory: Path) -> str:
    """Why somebody had a job end; empty when nobody did. Never raises: it is asked in a signal handler, too."""
    with contextlib.suppress(Damaged, OSError, KeyError, TypeError):
        if asked := files.read_object(directory / "abort.json"):
            return str(asked.get("why") or f"aborted by {asked['by']}")
    return ""


def events_of(directory: Path) -> Iterator[dict[str, Any]]:
    """The events of a job so far; up to a line that is not whole."""
    try:
        lines = (directory / "events.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return
    for line in lines:
        event = parse_event(line)
        if event is None:
            return
        yield event


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None when it is none: of a host that lost its power there may be anything."""
    with contextlib.suppress(ValueError, RecursionError):
        event = json.loads(line)
        return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
    return None


@dataclass(frozen=True)
class JobStatus:
    """As much of a job's events as tells how far it is: when it began (0.0: unknown), its phase, whether it is over.

    ``waits`` is the barrier at which it stands until its fleet goes on; empty when it is at work.
    """

    since: float = 0.0
    phase: str = ""
    finished: bool = False
    waits: str = ""


def status_of(directory: Path) -> JobStatus:
    """How far a job is now. Who asks again and again keeps a :class:`JobProgress`."""
    return JobProgress(directory).look()


class JobProgress:
    """How far a job is, asked again and again: each look reads only what has been written since the one before.

    Cheap however much a build has printed: only three lines are parsed. What is over stays over, even when a recovery
    that found no room for a log of its own has added to this one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read = 0
        self._seen = JobStatus()

    def look(self) -> JobStatus:
        try:
            file = open(str(self.directory / "events.jsonl"), "rb")  # noqa: SIM115  (only what fails here is forgiven)
        except FileNotFoundError:
            return JobStatus()
        with file:
            file.seek(self._read)
            rest = b""
            while portion := file.read(_PORTION):
                whole, newline, rest = (rest + portion).rpartition(b"\n")
                if newline:
                    self._seen = self._after(whole + newline)
                    self._read += len(whole) + 1
        return self._seen

    def _after(self, whole: bytes) -> JobStatus:
        """What is known when these lines have been read, too."""
        seen, waits = self._seen, self._seen.waits
        began, stands = whole.rfind(_PHASE), whole.rfind(_READY)
        if max(began, whole.rfind(_RECOVERING)) > stands:
            waits = ""
        elif stands >= 0:
            waits = str(_line(whole, stands).get("phase", ""))
        return JobStatus(
            since=_seconds(_line(whole, 0).get("at")) if not self._read else seen.since,
            phase=str(_line(whole, began).get("phase", "")) if began >= 0 else seen.phase,
            finished=seen.finished or _FINISHED in whole,
            waits=waits,
        )


def _line(text: bytes, start: int) -> dict[str, Any]:
    """The event that begins at ``start`` (-1: none)."""
    return (parse_event(text[start : text.find(b"\n", start)]) if start >= 0 else None) or {}


def _seconds(value: Any) -> float:
    return float(value) if type(value) in (int, float) else 0.0

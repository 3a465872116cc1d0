"""The directories of an app's jobs: their numbers, requests and events."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged
from deployer.host.system import files
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

JOB = pattern(r"(?:[0-9]{8})?\Z")
"""The name of a job's directory; empty for "the newest"."""
KEPT = 20
"""How many jobs are kept."""
_PHASE, _FINISHED = b'{"event":"phase.started"', b'{"event":"finished"'
_READY, _RECOVERING = b'{"event":"ready"', b'{"event":"recovering"'
"""As :func:`deployer.wire.protocol.dumps` writes it; within a string its quotes would be escaped."""
_PORTION = 1 << 20
"""Bytes of a job's events that are read at a time."""


@contextlib.contextmanager
def new_directory(jobs: Path) -> Iterator[Path]:
    """A new job directory, locked for the block. Its number is the next one: no clock decides which job is newest."""
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
    """Lock a job's directory for the block, so that it does not count as abandoned until this process dies."""
    descriptor = files.lock(directory)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def abandoned(jobs: Path) -> list[Path]:
    """Directories of jobs without events that no living process holds."""
    silent = (path for path in _all(jobs) if not _log_size(path))
    return [path for path in silent if not files.is_locked(path)]


def _log_size(directory: Path) -> int:
    try:
        return (directory / "events.jsonl").stat().st_size
    except OSError:
        return 0


def latest(jobs: Path) -> Path | None:
    """The newest job that has reported something; one without events is being created, or its creation failed."""
    return next((path for path in reversed(_all(jobs)) if _log_size(path)), None)


def remove_old(jobs: Path) -> None:
    """Remove all but the newest jobs, and anything else in the directory."""
    kept = {path.name for path in _all(jobs)[-KEPT:]}
    for path in list(jobs.iterdir()):
        if path.name not in kept:
            with contextlib.suppress(OSError):
                files.remove_tree(path)


def _all(jobs: Path) -> list[Path]:
    return sorted(path for path in jobs.iterdir() if path.name and JOB.fullmatch(path.name))


def request_of(directory: Path) -> dict[str, Any]:
    """The request of a job; empty when it cannot be read."""
    with contextlib.suppress(Damaged):
        return files.read_object(directory / "request.json") or {}
    return {}


def why_aborted(directory: Path) -> str:
    """Why a job was aborted; empty when it was not. Never raises: a signal handler asks, too."""
    with contextlib.suppress(Damaged, OSError, KeyError, TypeError):
        if asked := files.read_object(directory / "abort.json"):
            return str(asked.get("why") or f"aborted by {asked['by']}")
    return ""


def events_of(directory: Path) -> Iterator[dict[str, Any]]:
    """The events of a job so far, up to the first line that is not a whole event."""
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
    """The event in a line; None if it is not one: after a power cut a log may contain anything."""
    with contextlib.suppress(ValueError, RecursionError):
        event = json.loads(line)
        return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
    return None


@dataclass(frozen=True)
class JobStatus:
    """How far a job is: when it began (seconds since 1970, 0.0 unknown), its phase, whether it has finished.

    ``waits`` is the barrier at which it waits for its fleet; empty while it works.
    """

    since: float = 0.0
    phase: str = ""
    finished: bool = False
    waits: str = ""


def status_of(directory: Path) -> JobStatus:
    """How far a job is now. To ask repeatedly, keep a :class:`JobProgress`."""
    return JobProgress(directory).look()


class JobProgress:
    """How far a job is, asked repeatedly: each call reads only what was appended since the last one.

    Its cost does not grow with a build's output: at most three lines of each portion are parsed. A finished job stays
    finished, even if a recovery without room for a log of its own appends to this one.
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
        """The status after these lines."""
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

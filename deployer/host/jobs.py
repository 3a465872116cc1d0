"""The directories of an app's jobs: their numbers, their requests, what they have said so far."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deployer.host import files
from deployer.host.errors import Damaged

JOB = re.compile(r"(?:[0-9]{8})?\Z")
KEPT = 20


def new_directory(jobs: Path) -> Path:
    """Under a number that only grows: no clock has a say in which job is the newest."""
    while True:
        last = max((int(path.name) for path in _all(jobs)), default=0)
        directory = jobs / f"{last + 1:08d}"
        with contextlib.suppress(FileExistsError):  # another laptop's, made this moment
            directory.mkdir(mode=0o700)
            return directory


def latest(jobs: Path) -> Path | None:
    """The newest job that has said something: one that has not is only just being made, or never was."""
    logs = [path / "events.jsonl" for path in _all(jobs)]
    return next((log.parent for log in reversed(logs) if log.exists() and log.stat().st_size), None)


def forget_old(jobs: Path) -> None:
    """All but the newest, and whatever else has come to lie there."""
    kept = {path.name for path in _all(jobs)[-KEPT:]}
    for path in list(jobs.iterdir()):
        if path.name not in kept:
            with contextlib.suppress(OSError):
                files.remove_tree(path)


def _all(jobs: Path) -> list[Path]:
    return sorted(path for path in jobs.iterdir() if path.name and JOB.match(path.name))


def request_of(directory: Path) -> dict[str, Any]:
    """What was asked for; empty when that cannot be read."""
    with contextlib.suppress(Damaged):
        return dict(files.read_json(directory / "request.json") or {})
    return {}


def events_of(directory: Path) -> Iterator[dict[str, Any]]:
    """The events of a job so far; up to a line that is not whole."""
    try:
        lines = (directory / "events.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return


def has_finished(events: Iterable[dict[str, Any]]) -> bool:
    """Whether the last word was said."""
    return any(event.get("event") == "finished" for event in events)

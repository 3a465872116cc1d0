"""Starting the job of an app, and following it. The transient unit's name is the lock: systemd holds one of a name."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host import files, systemd
from deployer.host.context import Context
from deployer.host.errors import HostError
from deployer.host.paths import job_unit
from deployer.host.protocol import PROGRAM, Exit, dumps
from deployer.host.request import Request

_POLL = 0.03
_ASK = 1.0
"""Seconds between looks at a job's file, and between questions to systemd whether it runs: they cost PID 1 time."""
_ALIVE = ("active", "activating", "deactivating", "reloading")
KEPT_JOBS = 20
_LARGEST_LOG = 16 * 1024 * 1024
"""Bytes of a job's events after which what its commands print is left out."""


class EventLog:
    """Appends events to a job's file, one JSON object a line; whoever follows reads them there.

    An event that the disk has no room for is left out whole: a deploy must not fail for its log, nor its log be cut.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(str(path), "ab", buffering=0)  # noqa: SIM115  (open as long as the job runs)

    def __call__(self, name: str, **fields: Any) -> None:
        if name == "output" and os.fstat(self._file.fileno()).st_size > _LARGEST_LOG:
            return  # a build that prints for ever must not fill root's disk; what it fails of is kept elsewhere
        line, size = dumps({"event": name, "at": time.time(), **fields}), os.fstat(self._file.fileno()).st_size
        with contextlib.suppress(OSError):
            if self._file.write(line) == len(line):
                return
        os.ftruncate(self._file.fileno(), size)


def running(ctx: Context) -> dict[str, Any] | None:
    """The job that runs now: who, since when, at which phase, and its directory; None when there is none.

    A job that has said its last word is given a moment to leave.
    """
    deadline = time.monotonic() + 5
    while _is_alive(ctx):
        directory = _latest(ctx)
        if directory is None:
            return {"by": "", "since": 0.0, "phase": "", "kind": "", "job": ""}
        last = list(_events(directory))
        if not (last and last[-1].get("event") == "finished") or time.monotonic() >= deadline:
            phase = next((one.get("phase") for one in reversed(last) if one.get("event") == "phase.started"), "")
            request = files.read_json(directory / "request.json") or {}
            return {
                "by": request.get("by", ""),
                "kind": request.get("kind", ""),
                "since": directory.stat().st_mtime,
                "phase": phase,
                "job": directory.name,
            }
        time.sleep(_POLL)
    return None


def refuse_if_busy(ctx: Context) -> None:
    """Raises HostError (exit 4) saying who holds the lock, since when and at which phase."""
    job = running(ctx)
    if job is not None:
        since = time.strftime("%H:%M:%S UTC", time.gmtime(job["since"]))
        raise HostError(
            f"busy: a {job['kind'] or 'deploy'} by {job['by'] or 'someone'} runs since {since}, "
            f"at {job['phase'] or 'its start'}",
            exit=Exit.BUSY,
            state="nothing was touched",
            next="fab attach   (follows it)",
        )


def submit(ctx: Context, request: Request) -> Path:
    """Start the job for ``request``; returns its directory. Raises HostError (exit 4) when another one runs."""
    refuse_if_busy(ctx)
    directory = ctx.paths.jobs / f"{int(ctx.clock() * 1000):013d}-{secrets.token_hex(4)}"
    try:
        files.make_directory(directory, 0o700)
        files.write_json(directory / "request.json", request.as_json(), 0o600)
        (directory / "events.jsonl").touch(mode=0o600)
    except OSError:
        files.remove_tree(directory)  # half of one would be taken for the last job
        raise
    settings = [
        "Type=exec",
        "TimeoutStopSec=180",
        "KillMode=mixed",
        f"Description=deployer: {request.kind} {ctx.app}",
    ]
    argv = [PROGRAM, "job", ctx.app, directory.name]
    done = systemd.run(systemd.transient(job_unit(ctx.app), settings, argv, wait=False))
    if not done.ok:
        files.remove_tree(directory)
        refuse_if_busy(ctx)
        raise HostError("systemd did not start the deploy's unit", state="nothing was touched", logs=done.tail())
    return directory


def follow(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """Every event of a job from the first one on, until its last; then says so itself if the job died without one."""
    position, dead, asked = 0, False, time.monotonic()
    while True:
        with open(str(directory / "events.jsonl"), "rb") as file:
            file.seek(position)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        position += len(complete)
        for line in complete.splitlines():
            event: dict[str, Any] = json.loads(line)
            yield event
            if event["event"] == "finished":
                return
        if dead:
            yield from _died(ctx)
            return
        if not complete:
            time.sleep(_POLL)
        if time.monotonic() - asked > _ASK:
            dead, asked = not _is_alive(ctx), time.monotonic()


def _is_alive(ctx: Context) -> bool:
    return systemd.show(job_unit(ctx.app)).active in _ALIVE


def _died(ctx: Context) -> Iterator[dict[str, Any]]:
    number = ctx.catalog.current()
    serving = f"v{number}" if number else ""
    message = "the deploy ended on the host without a result: it was killed, or the host went down"
    yield {
        "event": "failed",
        "exit": int(Exit.MIXED),
        "message": message,
        "state": f"current is {serving or 'nothing'}",
        "next": "fab status, then fab deploy",
        "logs": systemd.own_lines(job_unit(ctx.app), 20),
    }
    yield {"event": "finished", "exit": int(Exit.MIXED), "serving": serving, "summary": message}


def find_job(ctx: Context) -> Path:
    """The newest job's directory. Raises HostError when there never was one."""
    directory = _latest(ctx)
    if directory is None:
        raise HostError("no deploy has run on this host yet", exit=Exit.USAGE, state="nothing was touched")
    return directory


def forget_old_jobs(ctx: Context) -> None:
    for directory in sorted(ctx.paths.jobs.iterdir())[:-KEPT_JOBS]:
        files.remove_tree(directory)


def _latest(ctx: Context) -> Path | None:
    found = sorted(ctx.paths.jobs.iterdir())
    return found[-1] if found else None


def _events(directory: Path) -> Iterator[dict[str, Any]]:
    for line in (directory / "events.jsonl").read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return

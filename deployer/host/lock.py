"""Starting the job of an app, and following it. The transient unit's name is the lock: systemd holds one of a name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host import files, systemd
from deployer.host.catalog import DEAD, ROLLED_BACK
from deployer.host.context import Context
from deployer.host.errors import Damaged, HostError
from deployer.host.paths import job_unit
from deployer.host.protocol import PROGRAM, Exit
from deployer.host.request import Request

_POLL = 0.03
_ASK = 1.0
"""Seconds between looks at a job's file, and between questions to systemd whether it runs: they cost PID 1 time."""
_ALIVE = ("active", "activating", "deactivating", "reloading")
KEPT_JOBS = 20
_LEAVING = 5.0
"""Seconds that a job has for its end after its last word."""
RECOVER = "recover"
"""The kind of a job that only puts right what others have left."""
JOB = re.compile(r"(?:[0-9]{8})?\Z")


def running(ctx: Context) -> dict[str, Any] | None:
    """The job that runs now: who, since when, at which phase, and its directory; None when there is none.

    A job that has said its last word is given a moment to leave.
    """
    deadline = time.monotonic() + _LEAVING
    while True:
        shown = _shown(ctx)
        if not _is_alive(shown):
            return None
        directory = _directory_of(ctx, shown)
        events = list(events_of(directory)) if directory else []
        if not _has_finished(events) or time.monotonic() >= deadline:
            return _description(directory, events)
        time.sleep(_POLL)


def _description(directory: Path | None, events: list[dict[str, Any]]) -> dict[str, Any]:
    request = _request_of(directory) if directory else {}
    phase = next((event.get("phase") for event in reversed(events) if event.get("event") == "phase.started"), "")
    return {
        "by": request.get("by", ""),
        "kind": request.get("kind", ""),
        "since": events[0].get("at", 0.0) if events else time.time(),
        "phase": phase,
        "job": directory.name if directory else "",
    }


def _request_of(directory: Path) -> dict[str, Any]:
    with contextlib.suppress(Damaged):
        return dict(files.read_json(directory / "request.json") or {})
    return {}


def refuse_if_busy(ctx: Context) -> None:
    """Raises HostError (exit 4) saying who holds the lock, since when and at which phase."""
    job = running(ctx)
    if job is not None:
        raise HostError(
            busy_text(job),
            exit=Exit.BUSY,
            state="nothing was touched",
            next="fab attach   (follows it)",
        )


def busy_text(job: dict[str, Any]) -> str:
    since = time.strftime("%H:%M:%S UTC", time.gmtime(job["since"]))
    at = f"at {job['phase'] or 'its start'}"
    if job["kind"] == RECOVER:
        return f"busy: the host puts an interrupted deploy right since {since}, {at}"
    return f"busy: a {job['kind'] or 'deploy'} by {job['by'] or 'someone'} runs since {since}, {at}"


def submit(ctx: Context, request: Request, body: Path | None = None) -> Path:
    """Start the job for ``request``; returns its directory. Raises HostError (exit 4) when another one runs.

    The job takes the file ``body`` for its own.
    """
    refuse_if_busy(ctx)
    directory = _new_directory(ctx)
    try:
        files.write_json(directory / "request.json", request.as_json(), 0o600)
        (directory / "events.jsonl").touch(mode=0o600)
        if body is not None:
            os.replace(str(body), str(directory / "body"))
        files.sync_directory(directory)
        _start(ctx, directory, f"{request.kind} {ctx.app}")
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove_tree(directory)  # half of one would be taken for the last job
        raise
    return directory


def submit_recovery(ctx: Context) -> Path:
    """Start a job that puts right what others have left; in the newest one's place if that never came to its end.

    Raises HostError (exit 4) when a job runs: it sees to it itself.
    """
    refuse_if_busy(ctx)
    directory = _latest(ctx)
    if directory is None or _has_finished(events_of(directory)):
        again = directory is not None and _request_of(directory).get("kind") == RECOVER
        directory = directory if again and directory is not None else _new_directory(ctx)
        (directory / "events.jsonl").write_bytes(b"")
        files.write_json(directory / "request.json", {"kind": RECOVER, "by": "the host"}, 0o600)
    _start(ctx, directory, f"put {ctx.app} right")
    return directory


def _new_directory(ctx: Context) -> Path:
    """Under a number that only grows: no clock has a say in which job is the newest."""
    while True:
        last = max((int(path.name) for path in _jobs(ctx)), default=0)
        directory = ctx.paths.jobs / f"{last + 1:08d}"
        with contextlib.suppress(FileExistsError):  # another laptop's, made this moment
            directory.mkdir(mode=0o700)
            return directory


def _start(ctx: Context, directory: Path, what: str) -> None:
    settings = [
        "Type=exec",
        "Restart=on-failure",
        "RestartSec=100ms",
        "TimeoutStopSec=180",
        "KillMode=mixed",
        f"Description=deployer job {directory.name}: {what}",
    ]
    argv = [PROGRAM, "job", ctx.app, directory.name]
    done = systemd.run(systemd.transient(job_unit(ctx.app), settings, argv, wait=False))
    if not done.ok:
        refuse_if_busy(ctx)
        raise HostError("systemd did not start the deploy's unit", state="nothing was touched", logs=done.tail())


def abort(ctx: Context, by: str, name: str = "") -> dict[str, Any]:
    """Have the running job undo what it did. Returns what it is.

    Raises HostError (exit 2) when none runs, or not the one that is named.
    """
    job = running(ctx)
    if job is None or (name and job["job"] != name):
        raise HostError("no deploy is running", exit=Exit.USAGE, state="nothing was touched", next="fab status")
    if job["job"]:
        with contextlib.suppress(OSError):
            files.write_json(ctx.paths.jobs / job["job"] / "abort.json", {"by": by}, 0o600)
    systemd.require("stop", "--no-block", job_unit(ctx.app))
    return job


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
            yield from _died(ctx, directory)
            return
        if not complete:
            time.sleep(_POLL)
        if time.monotonic() - asked > _ASK:
            dead, asked = not _is_alive(_shown(ctx)), time.monotonic()


def _shown(ctx: Context) -> dict[str, str]:
    done = systemd.systemctl("show", "-p", "ActiveState,Description", job_unit(ctx.app))
    return dict(line.partition("=")[::2] for line in done.out.splitlines())


def _is_alive(shown: dict[str, str]) -> bool:
    return shown.get("ActiveState") in _ALIVE


def _directory_of(ctx: Context, shown: dict[str, str]) -> Path | None:
    """The directory of the job that runs: its unit's description has the number."""
    found = re.match(r"deployer job ([0-9]{8}):", shown.get("Description", ""))
    directory = ctx.paths.jobs / found.group(1) if found else None
    return directory if directory is not None and directory.is_dir() else None


def _died(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """A job that is gone without a last word: what became of it, as far as the records tell."""
    number = ctx.catalog.current()
    serving = f"v{number}" if number else ""
    name = next((str(one["release"]) for one in reversed(list(events_of(directory))) if one.get("release")), "")
    release = ctx.catalog.find(int(name[1:])) if name else None
    exit, state = Exit.MIXED, f"{serving or 'nothing'} is current; the host puts that right by itself"
    if release is None:
        exit, state = Exit.REFUSED, "nothing was touched"
    elif release.result in DEAD:
        exit = Exit.ROLLED_BACK if release.result == ROLLED_BACK else Exit.REFUSED
        state = f"{serving or 'nothing'} serves; {name} is {release.result}"
    elif not release.unfinished:
        exit, state = Exit.OK, f"{serving} serves"
    message = "the deploy ended on the host without a last word: it was killed, or the disk had no room for it"
    if exit != Exit.OK:
        yield {
            "event": "failed",
            "exit": int(exit),
            "message": message,
            "state": state,
            "next": "fab status, then fab deploy",
            "logs": systemd.own_lines(job_unit(ctx.app), 20),
        }
    yield {"event": "finished", "exit": int(exit), "release": name, "serving": serving, "summary": message}


def find_job(ctx: Context, name: str = "") -> Path:
    """The directory of the job that is named, else of the one that runs, else of the newest. Raises HostError."""
    if name:
        if (ctx.paths.jobs / name / "events.jsonl").exists():
            return ctx.paths.jobs / name
        raise HostError(f"there is no job {name} any more", exit=Exit.USAGE, next="fab releases --all")
    shown = _shown(ctx)
    directory = (_directory_of(ctx, shown) if _is_alive(shown) else None) or _latest(ctx)
    if directory is None:
        raise HostError("no deploy has run on this host yet", exit=Exit.USAGE, state="nothing was touched")
    return directory


def forget_old_jobs(ctx: Context) -> None:
    """All but the newest, and whatever else has come to lie there."""
    kept = {path.name for path in _jobs(ctx)[-KEPT_JOBS:]}
    for path in list(ctx.paths.jobs.iterdir()):
        if path.name not in kept:
            with contextlib.suppress(OSError):
                files.remove_tree(path)


def _jobs(ctx: Context) -> list[Path]:
    return sorted(path for path in ctx.paths.jobs.iterdir() if path.name and JOB.match(path.name))


def _latest(ctx: Context) -> Path | None:
    """The newest job that has said something: one that has not is only just being made, or never was."""
    found = _jobs(ctx)
    spoken = [path for path in found if (path / "events.jsonl").exists() and (path / "events.jsonl").stat().st_size]
    return next(reversed(spoken or found), None)


def _has_finished(events: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> bool:
    return any(event.get("event") == "finished" for event in events)


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

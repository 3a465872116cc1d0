"""Start and abort the job of an app. The name of its transient unit is the lock: systemd runs one unit of a name."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deployer.host.deployment.request import Request
from deployer.host.errors import HostError
from deployer.host.job.prune import Prune
from deployer.host.state import jobs
from deployer.host.state.app import Context
from deployer.host.state.operator import deploylock
from deployer.host.state.paths import job_unit
from deployer.host.system import files, orders, proc, runner, systemd
from deployer.wire.advice import run
from deployer.wire.protocol import BEHIND_THE_SWITCH, PROGRAM, Exit, standing

_POLL = 0.03
_ALIVE = ("active", "activating", "deactivating", "reloading")
_GRACE = 5.0
"""Seconds that a finished job gets to exit."""
_TRIES = 30
"""How often to start a job while systemd refuses the unit's name, though no job runs."""
RECOVER = "recover"
"""The kind of a job that only recovers."""
RECOVERY = "put right"
"""What the description of its unit says."""


def running(ctx: Context) -> dict[str, Any] | None:
    """The job that runs now: who, since when, at which phase, and its directory; None when there is none.

    Waits up to 5 s for a job that has finished, or for a recovery, before it returns that.
    """
    deadline = time.monotonic() + _GRACE
    progress: jobs.JobProgress | None = None
    while True:
        shown = _shown(ctx)
        if not _is_shown_alive(ctx, shown):
            return None
        directory = _directory_of(ctx, shown)
        if directory and (progress is None or progress.directory != directory):
            progress = jobs.JobProgress(directory)
        seen = progress.look() if directory and progress else jobs.JobStatus()
        recovers = f": {RECOVERY} " in shown.get("Description", "")
        ends_soon = seen.finished or (recovers and seen.phase not in BEHIND_THE_SWITCH)
        if not ends_soon or time.monotonic() >= deadline:
            return _description(directory, seen, recovers)
        time.sleep(_POLL)


def _description(directory: Path | None, seen: jobs.JobStatus, recovers: bool) -> dict[str, Any]:
    request = jobs.request_of(directory) if directory else {}
    return {
        "by": request.get("by", ""),
        "kind": RECOVER if recovers else request.get("kind", ""),
        "since": seen.since or time.time(),
        "phase": seen.phase,
        "waits": seen.waits,
        "job": directory.name if directory else "",
    }


def refuse_if_busy(ctx: Context) -> None:
    """Raises HostError (exit 4) that says who holds the lock, since when and at which phase."""
    job = running(ctx)
    if job is not None:
        raise HostError(
            busy_text(job),
            exit=Exit.BUSY,
            state="nothing was touched",
            next=run("fab attach", "follows it"),
        )


def busy_text(job: dict[str, Any]) -> str:
    """Who holds the lock, since when and at which phase."""
    since = time.strftime("%H:%M:%S UTC", time.gmtime(job["since"]))
    at = standing(job["phase"], job["waits"])
    if job["kind"] == RECOVER:
        return f"busy: the host has been finishing an interrupted deploy since {since}, {at}"
    return f"busy: a {job['kind'] or 'deploy'} by {job['by'] or 'someone'} runs since {since}, {at}"


def submit(ctx: Context, request: Request | Prune, body: Path | None = None) -> Path:
    """Start the job for ``request``; returns its directory. Raises HostError (exit 4) when another one runs, and a
    release while deploys are locked.

    The file ``body`` is moved into the job's directory.
    """
    refuse_if_busy(ctx)
    if not isinstance(request, Prune):
        deploylock.refuse(ctx)
    with _new_directory(ctx, request.as_json()) as directory:
        if body is not None:
            os.replace(str(body), str(directory / "body"))
        for path in (directory, directory.parent):  # after a power cut it shows that the job never ended
            files.sync_directory(path)
        _start(ctx, directory, f"{request.kind} {ctx.app}")
    return directory


def submit_recovery(ctx: Context) -> Path:
    """Start a job that recovers; in the directory of the newest job if that never ended. Returns the directory.

    Raises HostError (exit 4) when a job runs: it recovers itself.
    """
    refuse_if_busy(ctx)
    newest = jobs.latest(ctx.paths.jobs)
    if newest is not None and not jobs.status_of(newest).finished:
        _start_recovery(ctx, newest)
        return newest
    try:
        with _new_directory(ctx, {"kind": RECOVER, "by": "the host"}) as directory:
            _start_recovery(ctx, directory)
    except OSError:
        if newest is None:
            raise
        _start_recovery(ctx, newest)  # on a full disk: only a recovery frees space
        return newest
    if newest is not None and jobs.request_of(newest).get("kind") == RECOVER:  # else the timer adds one at each run
        with contextlib.suppress(OSError):
            files.remove_tree(newest)
    return directory


@contextlib.contextmanager
def _new_directory(ctx: Context, request: dict[str, Any]) -> Iterator[Path]:
    """A directory for a new job, to be started in the block. Removed again when that fails: it would look like the
    newest job."""
    with jobs.new_directory(ctx.paths.jobs) as directory:
        try:
            files.write_json(directory / "request.json", request, 0o600)
            (directory / "events.jsonl").touch(mode=0o600)
            yield directory
        except BaseException:
            with contextlib.suppress(OSError):
                files.remove_tree(directory)
            raise


def _start_recovery(ctx: Context, directory: Path) -> None:
    _start(ctx, directory, f"{RECOVERY} {ctx.app}", RECOVER)


def _start(ctx: Context, directory: Path, what: str, *how: str) -> None:
    settings = [
        "Type=exec",
        "Restart=on-failure",
        "RestartSec=100ms",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=5",
        "TimeoutStopSec=180",
        "KillMode=mixed",
        f"Description=deployer job {directory.name}: {what}",
    ]
    argv = systemd.transient(job_unit(ctx.app), settings, [PROGRAM, "job", ctx.app, directory.name, *how], wait=False)
    for _ in range(_TRIES):
        done = _run(argv)
        if done.ok or _is_at(ctx, directory):
            return
        refuse_if_busy(ctx)
        with files.alone(ctx.paths.jobs) as first:
            if first:
                orders.ensure_free(job_unit(ctx.app))
        time.sleep(_POLL)  # another job has the name: one that is about to start or has just ended is not shown yet
    raise HostError("systemd did not start the deploy's unit", state="nothing was touched", logs=done.tail())


def _run(argv: Sequence[str]) -> runner.CommandResult:
    """Raises HostError when systemd does not answer: the job may have begun nevertheless."""
    try:
        return runner.run(argv)
    except HostError as error:
        raise HostError(
            error.message,
            exit=Exit.MIXED,
            state="it is not known whether the deploy has begun",
            next=run("fab attach", "follows it, if it has"),
        ) from None


def _is_at(ctx: Context, directory: Path) -> bool:
    """Whether the job in ``directory`` runs: it was started, and only the answer was lost."""
    return running_directory(ctx) == directory


def abort(ctx: Context, by: str, name: str = "", why: str = "") -> dict[str, Any]:
    """Abort the running job: it undoes what it did. Returns its description. ``why`` is reported instead of ``by``.

    Raises HostError (exit 2) when none runs, or not the one with that ``name``.
    """
    job = running(ctx)
    if job is None or (name and job["job"] != name):
        raise _ended_by_itself()
    if job["job"]:
        with contextlib.suppress(OSError):
            files.write_json(ctx.paths.jobs / job["job"] / "abort.json", {"by": by, "why": why}, 0o600)
    if not _terminate(ctx, job["job"]):
        raise _ended_by_itself()
    return job


def _terminate(ctx: Context, name: str) -> bool:
    """Send SIGTERM to the process of that job only: the next job may have the unit by now. False when it has ended."""
    deadline = time.monotonic() + _GRACE
    while (pid := _process_of(ctx, name)) is not None and time.monotonic() < deadline:
        if pid and proc.terminate(pid, lambda: _process_of(ctx, name) == pid):
            return True
        time.sleep(_POLL)
    return False


def _process_of(ctx: Context, name: str) -> int | None:
    """The PID of that job; 0 when it is about to be started again, None when another job runs, or none."""
    shown = _shown(ctx)
    directory = _directory_of(ctx, shown)
    if not _is_shown_alive(ctx, shown) or (directory.name if directory else "") != name:
        return None
    return int(shown.get("MainPID") or 0)


def _ended_by_itself() -> HostError:
    return HostError("no deploy is running", exit=Exit.USAGE, state="nothing was touched", next=run("fab status"))


def is_alive(ctx: Context) -> bool:
    """Whether a job runs."""
    return _is_shown_alive(ctx, _shown(ctx))


def running_directory(ctx: Context) -> Path | None:
    """The directory of the running job; None when none runs."""
    shown = _shown(ctx)
    return _directory_of(ctx, shown) if _is_shown_alive(ctx, shown) else None


def _shown(ctx: Context) -> dict[str, str]:
    """Properties of the job's unit, by name."""
    names = ("ActiveState", "SubState", "ControlGroup", "Description", "MainPID")
    return systemd.properties([job_unit(ctx.app)], *names)[0]


def _is_shown_alive(ctx: Context, shown: dict[str, str]) -> bool:
    """Whether the job runs. With RemainAfterExit, set by an admin, its unit stays active: then the job has ended when
    it has reported so, or has no process left."""
    if shown.get("ActiveState") not in _ALIVE:
        return False
    if (shown["ActiveState"], shown.get("SubState")) != orders.HOLLOW:
        return True
    directory = _directory_of(ctx, shown)
    finished = directory is not None and jobs.status_of(directory).finished
    return not finished and proc.in_group(shown.get("ControlGroup", ""))


def _directory_of(ctx: Context, shown: dict[str, str]) -> Path | None:
    """The directory of the job: its number is in the unit's description."""
    found = re.fullmatch(r"deployer job ([0-9]{8}): .*", shown.get("Description", ""))
    directory = ctx.paths.jobs / found.group(1) if found else None
    return directory if directory is not None and directory.is_dir() else None

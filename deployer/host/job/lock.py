"""Starting the job of an app, and following it. The transient unit's name is the lock: systemd holds one of a name."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deployer.host.deployment.request import Request
from deployer.host.errors import Damaged, HostError
from deployer.host.state import jobs
from deployer.host.state.app import Context
from deployer.host.state.paths import job_unit
from deployer.host.state.releases import CONDEMNED, DEAD, ROLLED_BACK
from deployer.host.system import files, journald, orders, proc, runner, systemd
from deployer.wire.advice import run
from deployer.wire.protocol import BEHIND_THE_SWITCH, PROGRAM, RELEASE, Exit, standing

_POLL = 0.03
_ASK = 1.0
"""Seconds between looks at a job's file, and between questions to systemd whether it runs: they cost PID 1 time."""
_ALIVE = ("active", "activating", "deactivating", "reloading")
_LEAVING = 5.0
"""Seconds that a job has for its end after its last word."""
_NO_LAST_WORD = "the deploy ended on the host without a last word: it was killed, or the disk had no room for it"
_TRIES = 30
"""How often a job is started whose unit's name systemd does not give, though no job runs."""
RECOVER = "recover"
"""The kind of a job that only puts right what others have left."""
RIGHTING = "put right"
"""What the description of its unit says."""


def running(ctx: Context) -> dict[str, Any] | None:
    """The job that runs now: who, since when, at which phase, and its directory; None when there is none.

    A job that has said its last word is given a moment to leave, and one that only clears away what a dead one has
    left the time for it: nobody need hear that they came in that second.
    """
    deadline = time.monotonic() + _LEAVING
    progress: jobs.Progress | None = None
    while True:
        shown = _shown(ctx)
        if not _is_alive(ctx, shown):
            return None
        directory = _directory_of(ctx, shown)
        if directory and (progress is None or progress.directory != directory):
            progress = jobs.Progress(directory)
        seen = progress.look() if directory and progress else jobs.Glance()
        recovers = f": {RIGHTING} " in shown.get("Description", "")
        leaves = seen.finished or (recovers and seen.phase not in BEHIND_THE_SWITCH)
        if not leaves or time.monotonic() >= deadline:
            return _description(directory, seen, recovers)
        time.sleep(_POLL)


def _description(directory: Path | None, seen: jobs.Glance, recovers: bool) -> dict[str, Any]:
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
    """Raises HostError (exit 4) saying who holds the lock, since when and at which phase."""
    job = running(ctx)
    if job is not None:
        raise HostError(
            busy_text(job),
            exit=Exit.BUSY,
            state="nothing was touched",
            next=run("fab attach", "follows it"),
        )


def busy_text(job: dict[str, Any]) -> str:
    since = time.strftime("%H:%M:%S UTC", time.gmtime(job["since"]))
    at = standing(job["phase"], job["waits"])
    if job["kind"] == RECOVER:
        return f"busy: the host puts an interrupted deploy right since {since}, {at}"
    return f"busy: a {job['kind'] or 'deploy'} by {job['by'] or 'someone'} runs since {since}, {at}"


def submit(ctx: Context, request: Request, body: Path | None = None) -> Path:
    """Start the job for ``request``; returns its directory. Raises HostError (exit 4) when another one runs.

    The job takes the file ``body`` for its own.
    """
    refuse_if_busy(ctx)
    with jobs.new_directory(ctx.paths.jobs) as directory:
        try:
            files.write_json(directory / "request.json", request.as_json(), 0o600)
            (directory / "events.jsonl").touch(mode=0o600)
            if body is not None:
                os.replace(str(body), str(directory / "body"))
            for path in (directory, directory.parent):  # after a power cut it tells that it never came to its end
                files.sync_directory(path)
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
    newest = jobs.latest(ctx.paths.jobs)
    if newest is not None and not jobs.glance(newest).finished:
        _start(ctx, newest, f"{RIGHTING} {ctx.app}", RECOVER)
        return newest
    try:
        return _submit_fresh_recovery(ctx, newest)
    except OSError:
        if newest is None:
            raise
        _start(ctx, newest, f"{RIGHTING} {ctx.app}", RECOVER)  # a full disk is freed by nothing but this
        return newest


def _submit_fresh_recovery(ctx: Context, newest: Path | None) -> Path:
    """In a directory of its own. That of the recovery just before goes: else every half minute would leave one."""
    with jobs.new_directory(ctx.paths.jobs) as directory:
        try:
            files.write_json(directory / "request.json", {"kind": RECOVER, "by": "the host"}, 0o600)
            (directory / "events.jsonl").touch(mode=0o600)
            _start(ctx, directory, f"{RIGHTING} {ctx.app}", RECOVER)
        except BaseException:
            with contextlib.suppress(OSError):
                files.remove_tree(directory)
            raise
    if newest is not None and jobs.request_of(newest).get("kind") == RECOVER:
        with contextlib.suppress(OSError):
            files.remove_tree(newest)
    return directory


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
        time.sleep(_POLL)  # the name is another's whose job is about to start, or has just ended: neither shows as one
    raise HostError("systemd did not start the deploy's unit", state="nothing was touched", logs=done.tail())


def _run(argv: Sequence[str]) -> runner.CommandResult:
    """Raises HostError for a systemd that gives no answer: it may have begun all the same."""
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
    """Whether that very job runs: it was started all the same, and only the answer was lost."""
    shown = _shown(ctx)
    return _is_alive(ctx, shown) and _directory_of(ctx, shown) == directory


def abort(ctx: Context, by: str, name: str = "", why: str = "") -> dict[str, Any]:
    """Have the running job undo what it did. Returns what it is. ``why`` is told in place of who it was.

    Raises HostError (exit 2) when none runs, or not the one that is named.
    """
    job = running(ctx)
    if job is None or (name and job["job"] != name):
        raise _ended_by_itself()
    if job["job"]:
        with contextlib.suppress(OSError):
            files.write_json(ctx.paths.jobs / job["job"] / "abort.json", {"by": by, "why": why}, 0o600)
    if not _end(ctx, job["job"]):
        raise _ended_by_itself()
    return job


def _end(ctx: Context, name: str) -> bool:
    """Send SIGTERM to the process of that job, and to no other: the unit's name may be the next one's by now. False
    when it has ended by itself."""

    deadline = time.monotonic() + _LEAVING
    while (pid := _process_of(ctx, name)) is not None and time.monotonic() < deadline:
        if pid and proc.terminate(pid, lambda: _process_of(ctx, name) == pid):
            return True
        time.sleep(_POLL)
    return False


def _process_of(ctx: Context, name: str) -> int | None:
    """The process of that job; 0 when it is about to be started again, None when another job runs, or none."""
    shown = _shown(ctx)
    directory = _directory_of(ctx, shown)
    if not _is_alive(ctx, shown) or (directory.name if directory else "") != name:
        return None
    return int(shown.get("MainPID") or 0)


def _ended_by_itself() -> HostError:
    return HostError("no deploy is running", exit=Exit.USAGE, state="nothing was touched", next=run("fab status"))


def follow(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """Every event of a job from the first one on, until its last; then says so itself if the job died without one."""
    position, dead, asked = 0, False, time.monotonic()
    while True:
        with open(str(directory / "events.jsonl"), "rb") as file:
            file.seek(position)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        position += len(complete)
        for event in filter(None, map(jobs.parse_event, complete.split(b"\n"))):
            yield event
            if event["event"] == "finished":
                return
        if dead:
            yield from _died(ctx, directory)
            return
        if not complete:
            time.sleep(_POLL)
        if time.monotonic() - asked > _ASK:
            dead, asked = not _is_alive(ctx, _shown(ctx)), time.monotonic()


def _shown(ctx: Context) -> dict[str, str]:
    names = ("ActiveState", "SubState", "ControlGroup", "Description", "MainPID")
    return systemd.properties([job_unit(ctx.app)], *names)[0]


def _is_alive(ctx: Context, shown: dict[str, str]) -> bool:
    """Whether the job runs. Its unit may be active without it, where an admin has set RemainAfterExit: then the job has
    ended when it has said so, or no process is left of it."""
    if shown.get("ActiveState") not in _ALIVE:
        return False
    if (shown["ActiveState"], shown.get("SubState")) != orders.HOLLOW:
        return True
    directory = _directory_of(ctx, shown)
    finished = directory is not None and jobs.glance(directory).finished
    return not finished and proc.in_group(shown.get("ControlGroup", ""))


def _directory_of(ctx: Context, shown: dict[str, str]) -> Path | None:
    """The directory of the job that runs: its unit's description has the number."""
    found = re.fullmatch(r"deployer job ([0-9]{8}): .*", shown.get("Description", ""))
    directory = ctx.paths.jobs / found.group(1) if found else None
    return directory if directory is not None and directory.is_dir() else None


def _died(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """A job that is gone without a last word: what became of it, as far as the records tell."""
    number, serving = ctx.catalog.current(), ctx.catalog.serving_name()
    events = list(jobs.events_of(directory))
    if not events:  # ended before its program could hear of it: nothing but a later release would take this away
        with contextlib.suppress(OSError):
            (directory / "body").unlink()
    told = [str(one["release"]) for one in events if one.get("release")]
    name = next((one for one in reversed(told) if RELEASE.fullmatch(one)), "")
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(int(name[1:])) if name else None
    now = serving or "nothing"
    exit, state = Exit.MIXED, f"{now} is current; the host puts that right by itself"
    if release is None:
        exit, state = Exit.REFUSED, "nothing was touched"
    elif release.result in DEAD:
        exit = Exit.ROLLED_BACK if release.result == ROLLED_BACK else Exit.REFUSED
        state = f"{now} serves; {name} is {release.result}"
    elif release.result == CONDEMNED and release.number != number:
        exit, state = Exit.ROLLED_BACK, f"{now} serves; the host clears away what {name} left"
    elif not release.unfinished:
        exit, state = Exit.OK, f"{now} serves"
    elif release.number != number:
        exit, state = Exit.REFUSED, f"{now} serves, uninterrupted; the host clears away what {name} left"
    message = jobs.why_aborted(directory) if release is None else ""  # it was stopped before it could say so itself
    message = message or _NO_LAST_WORD
    if exit != Exit.OK:
        yield {
            "event": "failed",
            "exit": int(exit),
            "message": message,
            "state": state,
            **(run("fab status") + run("fab deploy")).fields(),
            "logs": journald.own_lines(job_unit(ctx.app), 20),
        }
    yield {"event": "finished", "exit": int(exit), "release": name, "serving": serving, "summary": message}


def _never_began(ctx: Context) -> HostError:
    """A job that somebody still follows and that is gone was swept: it had not said a word when its host went down."""
    serving = ctx.catalog.serving_name()
    now = f"{serving} serves, uninterrupted" if serving else "nothing serves yet"
    return HostError(
        "the deploy never began: the host went down before its first word",
        state=f"{now}; nothing was touched",
        next=run("fab deploy"),
    )


def find_job(ctx: Context, name: str = "") -> Path:
    """The directory of the job that is named, else of the one that runs, else of the newest. Raises HostError."""
    if name:
        if (ctx.paths.jobs / name / "events.jsonl").exists():
            return ctx.paths.jobs / name
        raise _never_began(ctx)
    shown = _shown(ctx)
    directory = (_directory_of(ctx, shown) if _is_alive(ctx, shown) else None) or jobs.latest(ctx.paths.jobs)
    if directory is None:
        raise HostError("no deploy has run on this host yet", exit=Exit.USAGE, state="nothing was touched")
    return directory

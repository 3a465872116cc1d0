"""The events of a job, in a file on the host: the job appends to it, and sessions follow it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployer.host.errors import Damaged, HostError
from deployer.host.job import lock
from deployer.host.state import jobs
from deployer.host.state.app import Context
from deployer.host.state.paths import job_unit
from deployer.host.state.releases import DEAD, ROLLED_BACK, ROLLING_BACK, Release
from deployer.host.system import journald
from deployer.wire.advice import run
from deployer.wire.protocol import RELEASE, Exit, dumps

_LARGEST = 16 * 1024 * 1024
"""Bytes of events after which the output of commands is left out."""
_POLL = 0.01
"""Seconds between two reads of the file, which cost microseconds. The last event waits for half of that on average."""
_ASK = 1.0
"""Seconds between two questions to systemd, which cost PID 1 time."""
_NO_END = "the deploy ended on the host without reporting how: it was killed, or the disk was full"


class EventLog:
    """Appends events to a job's file, one JSON object a line.

    On a full disk a whole event is left out: a deploy must not fail for its log, nor leave half a line there.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(str(path), "ab", buffering=0)  # noqa: SIM115  (open as long as the job runs)
        self._end_torn_line(path)

    def _end_torn_line(self, path: Path) -> None:
        """Cut off half a line, as a power cut leaves it: every line is a whole event."""
        text = path.read_bytes()
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), text.rfind(b"\n") + 1)

    def __call__(self, name: str, **fields: Any) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if name == "output" and size > _LARGEST:
            return  # endless output must not fill root's disk; the end of it goes into the error
        line = dumps({"event": name, "at": time.time(), **fields})
        with contextlib.suppress(OSError):
            if self._file.write(line) == len(line):
                return
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), size)


def follow(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """Every event of a job, from the first to ``finished``. If the job died without that, ``finished`` is made up."""
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
            dead, asked = not lock.is_alive(ctx), time.monotonic()


def _died(ctx: Context, directory: Path) -> Iterator[dict[str, Any]]:
    """The last events of a job that died without them: how its release ended, by its record."""
    serving = ctx.catalog.serving_name()
    events = list(jobs.events_of(directory))
    if not events:  # it died before its program ran: remove the upload, as it would have done
        with contextlib.suppress(OSError):
            (directory / "body").unlink()
    names = [str(one["release"]) for one in events if one.get("release")]
    name = next((one for one in reversed(names) if RELEASE.fullmatch(one)), "")
    release = None
    with contextlib.suppress(Damaged):
        release = ctx.catalog.find(int(name[1:])) if name else None
    exit, state = _state_of(release, ctx.catalog.current(), serving or "nothing")
    message = jobs.why_aborted(directory) if release is None else ""  # it was stopped before it could report that
    message = message or _NO_END
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


def _state_of(release: Release | None, current: int, serving: str) -> tuple[Exit, str]:
    """The exit and state of a job that died, by the record of its release (None: it had not made one). Pure."""
    if release is None:
        return Exit.REFUSED, "nothing was touched"
    if release.result in DEAD:
        exit = Exit.ROLLED_BACK if release.result == ROLLED_BACK else Exit.REFUSED
        return exit, f"{serving} serves; {release.name} is {release.result}"
    if not release.unfinished:
        return Exit.OK, f"{serving} serves"
    if release.number == current:
        return Exit.MIXED, f"{serving} is current; the host recovers by itself"
    if release.result == ROLLING_BACK:
        return Exit.ROLLED_BACK, f"{serving} serves; the host removes what {release.name} left"
    return Exit.REFUSED, f"{serving} serves, uninterrupted; the host removes what {release.name} left"


def _never_began(ctx: Context) -> HostError:
    """For a followed job whose directory is gone: the host went down before its first event, and it was removed."""
    serving = ctx.catalog.serving_name()
    now = f"{serving} serves, uninterrupted" if serving else "nothing serves yet"
    return HostError(
        "the deploy never began: the host went down first",
        state=f"{now}; nothing was touched",
        next=run("fab deploy"),
    )


def find_job(ctx: Context, name: str = "") -> Path:
    """The directory of the named job, else of the running one, else of the newest. Raises HostError."""
    if name:
        if (ctx.paths.jobs / name / "events.jsonl").exists():
            return ctx.paths.jobs / name
        raise _never_began(ctx)
    directory = lock.running_directory(ctx) or jobs.latest(ctx.paths.jobs)
    if directory is None:
        raise HostError("no deploy has run on this host yet", exit=Exit.USAGE, state="nothing was touched")
    return directory

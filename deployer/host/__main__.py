"""The host program. The deploy user may only run ``session APP``, through sudo; the rest is for root.

deployer-host session APP             serve one laptop
deployer-host job APP ID [recover]    run a deploy, or a recovery, inside its transient unit
deployer-host start|stop|reload APP   for APP.service
deployer-host recover APP             for the recovery timer of unfinished deploys
deployer-host clone APP               clone the code that serves, for the next deploy
deployer-host scrub APP               for the timer of the weekly scrub of the app's releases
deployer-host dump APP                for the timer of the daily dump of the app's database
deployer-host maintenance APP         serve the maintenance page, as the app's user

``fab setup`` sends this program and runs :func:`set_up`, which installs it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import select
import sys
import time
from typing import Any

from deployer.host.errors import BadRequest, HostError
from deployer.host.state.app import Context, open_context
from deployer.wire.protocol import Exit, dumps
from deployer.wire.release.spec import parse_app

SILENCE = 300.0
"""Seconds without input after which the laptop counts as gone."""
GARBAGE = 20_000
"""New objects after which Python looks for garbage. Its own 700 come thirty times in the imports of a start."""
SWITCH_INTERVAL = 0.0005
"""Seconds that a thread may compute while another wants to: what starts a candidate is not held up by the comparison of
tens of thousands of files beside it."""


def main(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    os.umask(0o022)
    gc.set_threshold(GARBAGE)
    sys.setswitchinterval(SWITCH_INTERVAL)
    atexit.register(gc.freeze)  # nothing is looked through once more at the end
    try:
        return int(_run(argv))
    except HostError as error:
        print(f"deployer-host: {error.message}", *error.logs, sep="\n", file=sys.stderr)
        if error.next:
            print(*(f"next: {step}" for step in error.next), sep="\n", file=sys.stderr)
        return int(error.exit)
    except OSError as error:
        print(f"deployer-host: {error}", file=sys.stderr)
        return int(Exit.BUG)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["maintenance"] and len(argv) == 2:
        from deployer.host.maintenance import server
        from deployer.host.state.paths import AppPaths

        return server.serve(AppPaths(_app(argv[1])))
    if os.geteuid() != 0:
        raise BadRequest("deployer-host must run as root: through sudo, by systemd, or by root")
    if len(argv) < 2:
        raise BadRequest(__doc__ or "")
    command, app, rest = argv[0], _app(argv[1]), argv[2:]
    if command == "session" and not rest:
        return _session(app)
    if command == "job" and rest and rest[1:] in ([], ["recover"]):
        return _job(app, rest[0], recovering=len(rest) > 1)
    if command in ("start", "stop", "reload", "recover") and not rest:
        from deployer.host import service

        return Exit(getattr(service, command)(open_context(app, _silent, time.time)))
    if command == "clone" and not rest:
        from deployer.host.build.code import clone

        clone.make(open_context(app, _silent, time.time))
        return Exit.OK
    if command == "scrub" and not rest:
        from deployer.host.setup import scrub

        return scrub.scrub(open_context(app, _silent, time.time))
    if command == "dump" and not rest:
        from deployer.host.setup.software import dumps

        return dumps.dump(open_context(app, _silent, time.time))
    raise BadRequest(__doc__ or "")


def set_up(program: bytes) -> int:
    """Prepare this host for an app; the request is on standard input. ``program`` is this program, as a zip."""
    from deployer.host.setup.main import main as provision

    def report(name: str, **fields: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # the laptop has gone: finish the setup nevertheless
            emit(name, **fields)

    os.umask(0o022)
    return int(provision(sys.stdin.buffer, report, program))


def _app(text: str) -> str:
    try:
        return parse_app(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _session(app: str) -> Exit:
    from deployer.host.session.session import Session

    sys.stdout.buffer.write(b"\n")  # the login may have printed a line without an end
    try:
        ctx: Context = open_context(app, emit, time.time)
    except HostError as error:
        emit("failed", exit=int(error.exit), message=error.message, state=error.state, **error.next.fields(), logs=[])
        emit("finished", exit=int(error.exit), serving="", summary=error.message)
        return error.exit
    try:
        return Session(ctx, io.BufferedReader(TimedInput(0)), forward).serve()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the laptop has gone; the job, if any, goes on
        return Exit.OK


def _job(app: str, name: str, *, recovering: bool) -> int:
    from deployer.host.job.events import EventLog
    from deployer.host.job.main import run_job
    from deployer.host.state.paths import AppPaths

    directory = AppPaths(app).jobs / os.path.basename(name)
    ctx = open_context(app, EventLog(directory / "events.jsonl"), time.time)
    return run_job(ctx, directory, recovering=recovering)


class TimedInput(io.RawIOBase):
    """A descriptor whose reads time out: a laptop that lost its network never closes the connection."""

    def __init__(self, descriptor: int, seconds: float = SILENCE) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._seconds = seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError after ``seconds`` without a byte."""
        ready, _, _ = select.select([self._descriptor], [], [], self._seconds)
        if not ready:
            raise TimeoutError(f"the laptop has sent nothing for {self._seconds:g} s")
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def emit(name: str, **fields: Any) -> None:
    """Send one event to the laptop."""
    forward({"event": name, "at": time.time(), **fields})


def forward(event: dict[str, Any]) -> None:
    sys.stdout.buffer.write(dumps(event))
    sys.stdout.buffer.flush()


def _silent(name: str, **fields: Any) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

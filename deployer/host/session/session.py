"""The host's end of one SSH channel: answers questions, starts jobs and follows them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deployer.host.build.code.delta import parse_delta
from deployer.host.build.upload import receive
from deployer.host.deployment import barrier, visitors
from deployer.host.deployment.failures import Failures, serving_name, understood
from deployer.host.deployment.request import PhasesRequest, phases_request
from deployer.host.deployment.reuse import complete
from deployer.host.errors import BadRequest, HostError
from deployer.host.inspect import environment, facts, logs
from deployer.host.inspect.doctor import examine
from deployer.host.inspect.status import recover_if_needed, releases_report, status_report
from deployer.host.job import events, held, lock
from deployer.host.job import queue as tickets
from deployer.host.processes import preview
from deployer.host.processes.run import RunRequest, run
from deployer.host.session import requests
from deployer.host.session.laptop import end_with_laptop
from deployer.host.session.operations import Operations
from deployer.host.state import cleanup, jobs, masking
from deployer.host.state.app import Context
from deployer.host.state.operator import deploylock
from deployer.host.system import timers
from deployer.host.units import overrides
from deployer.wire.message import read_message
from deployer.wire.protocol import Exit

_UNTOUCHED = "nothing was touched"
_GOES_ON = "what runs on the host goes on by itself, to a whole release, the new or the old one; fab attach follows it"
_TOLD = "what runs may have been told to abort: then it undoes what it did; fab attach follows it"
_MAY_HAVE_RUN = "the command may have run, or still run until it notices that the connection is gone"
"""The state of the host when a request fails, by what the session has done so far."""
_PORTION = 128 * 1024
"""Characters of logs that go into one event."""
_READING = ("status", "releases", "history", "logs", "attach", "environment", "variables", "stage")
"""Requests before which an interrupted deploy is recovered. A release does that itself."""


class Session:
    """Serves requests from ``stream`` until it ends. Answers are emitted through the context."""

    def __init__(self, ctx: Context, stream: BinaryIO, forward: Callable[[dict[str, Any]], None]) -> None:
        self.ctx = ctx
        self.stream = stream
        self.forward = forward
        self._ticket: Path | None = None
        self._held = contextlib.ExitStack()
        self._over = False
        self._state = _UNTOUCHED
        self._answers: dict[str, Callable[[Any], None]] = {
            "ask": lambda _: self._answer(**facts.look(self.ctx)),
            "base": lambda key: self._answer(ids=facts.ids(self.ctx, key)),
            "release": self._release,
            "phases": self._phases,
            "status": lambda _: self._answer(status=self._masked(status_report(self.ctx))),
            "releases": lambda _: self._answer(releases=releases_report(self.ctx)),
            "logs": self._logs,
            "calendars": self._calendars,
            "run": self._run,
            "attach": self._attach,
            "wait": self._wait,
            "hold": lambda _: None,  # a keep-alive: the user is being asked something
            "abort": self._abort,
            "preview": self._preview,
            "discard": lambda asked: self._follow(held.discard(self.ctx, asked.release, asked.by)),
            "doctor": self._doctor,
            "environment": lambda salt: self._answer(**environment.report(self.ctx, salt)),
            "variables": lambda names: self._answer(**environment.values(self.ctx, names)),
            "history": lambda _: self._answer(entries=list(self.ctx.ledger.entries())),
            **Operations(ctx, self._answer, self._follow, self._left_as).handlers(),
        }

    def serve(self) -> Exit:
        """Answer until the stream ends or a request fails. Returns how it ended.

        Every input is answered by events. Raises BrokenPipeError when the laptop has gone.
        """
        with self._held:
            return self._serve()

    def _serve(self) -> Exit:
        try:
            while not self._over:
                message = self._read()
                if message is None:
                    break
                self._dispatch(message)
            return Exit.OK
        except HostError as error:
            return self._failed(error)
        except Exception as error:
            return self._failed(understood(error, self.ctx, "writing on the host"))

    def _read(self) -> dict[str, Any] | None:
        """The next message; None at the end. Raises BadRequest."""
        try:
            return read_message(self.stream)
        except ValueError as error:
            raise BadRequest(f"not a request: {error}") from None

    def _dispatch(self, message: dict[str, Any]) -> None:
        op, asked = requests.parse(message, requests.REQUESTS)
        if op in _READING:
            recover_if_needed(self.ctx)
        self._answers[op](asked)

    def _failed(self, error: HostError) -> Exit:
        """Report why the session ends. Failing to follow a job says nothing about how that job ends."""
        follows = self._state is _GOES_ON and error.exit == Exit.REFUSED
        exit = Exit.MIXED if follows else error.exit
        self.ctx.emit(
            "failed",
            exit=int(exit),
            message=error.message,
            state=error.state or self._state,
            **error.next.fields(),
            logs=list(error.logs),
        )
        self.ctx.emit("finished", exit=int(exit), serving=serving_name(self.ctx), summary=error.message)
        return exit

    def _masked(self, value: dict[str, Any]) -> dict[str, Any]:
        """For what quotes an app, such as its answer to the health check."""
        masked: dict[str, Any] = masking.clean(value, masking.Secrets(self.ctx.paths).values())
        return masked

    def _answer(self, **fields: Any) -> None:
        self.ctx.emit("answer", **fields)

    def _left_as(self, state: str) -> None:
        """What is known of the host should the request fail from here on."""
        self._state = state

    def _release(self, upload: requests.UploadRequest) -> None:
        self.ctx.catalog.check_number(upload.request.number)
        request = complete(self.ctx, upload.request)
        overrides.check(request.spec.units, self.ctx.settings.units)
        deploylock.refuse(self.ctx)
        lock.refuse_if_busy(self.ctx)
        self.ctx.catalog.refuse_if_taken(request.number)
        if upload.length or request.delta is not None:  # a resumed upload may have no bytes left to come
            incoming, delta = self.ctx.paths.incoming, parse_delta(request.delta)
            cleanup.make_room(self.ctx)
            with receive(self.stream, incoming, delta, upload.offset, upload.length) as body:
                directory = lock.submit(self.ctx, request, body)
        else:
            directory = lock.submit(self.ctx, request)
        self._leave_queue()
        self._follow(directory)

    def _wait(self, queue: bool) -> None:
        """Wait in the queue; the place is kept until the job of this session begins. Without ``queue``, refuse unless
        it is the first place."""
        if self._ticket is None:
            self._ticket = self._held.enter_context(tickets.ticket(self.ctx.paths.tickets))
        if not queue:
            tickets.refuse_if_not_first(self.ctx, self._ticket)
        with end_with_laptop():
            tickets.wait(self.ctx, self._ticket, lambda job: self.ctx.emit("waiting", **job))
        self._answer()

    def _leave_queue(self) -> None:
        self._held.close()
        self._ticket = None

    def _abort(self, asked: requests.AbortRequest) -> None:
        """Abort the running job; with ``job``, only if it is that one: the next may have begun meanwhile."""
        self._state = _TOLD
        self._answer(job=lock.abort(self.ctx, asked.by, asked.job))

    def _attach(self, job: str) -> None:
        """Follow the named job, else the one that runs or ran last."""
        self._follow(events.find_job(self.ctx, job))

    def _doctor(self, fix: bool) -> None:
        if fix:
            self._follow(lock.submit_recovery(self.ctx))
        else:
            self._answer(**self._masked(examine(self.ctx)))

    def _preview(self, number: int) -> None:
        """Carry connections to a release until the laptop goes: all further input is theirs."""
        connections = preview.Connections(self.ctx, preview.previewed(self.ctx, number))
        self._answer(release=connections.release.name)
        self._over = True
        try:
            while (message := self._read()) is not None:
                op, (at, value) = requests.parse(message, requests.PREVIEW)
                connections.take(op, at, value)
        finally:
            connections.close()

    def _phases(self, asked: PhasesRequest) -> None:
        """Run phases of an unfinished release."""
        self._follow(lock.submit(self.ctx, phases_request(self.ctx.catalog, asked)))

    def _follow(self, directory: Path) -> None:
        self._state = _GOES_ON
        self.ctx.emit("following", job=directory.name)
        with end_with_laptop():
            if jobs.request_of(directory).get("barriers"):
                self._receive_signals(directory)
            site = None if jobs.status_of(directory).finished else visitors.LastCheck(self.ctx)
            for event in events.follow(self.ctx, directory):
                if site is not None:
                    site.hear(event)
                self.forward(event)
        jobs.remove_old(self.ctx.paths.jobs)

    def _receive_signals(self, directory: Path) -> None:
        """From now on to the end of the session, all input is barrier signals for the job in ``directory``."""

        def receive() -> None:
            with contextlib.suppress(OSError, ValueError, RecursionError):  # the laptop has gone, or sends nonsense
                while (message := read_message(self.stream)) is not None:
                    with Failures(self.ctx).kept("a signal of the fleet"):  # an unknown one, or a full disk
                        self._relay(message, directory)

        self._over = True
        threading.Thread(target=receive, daemon=True, name="signals").start()

    def _relay(self, message: dict[str, Any], directory: Path) -> None:
        op, value = requests.parse(message, requests.SIGNALS)
        if op == "hold":
            self.ctx.emit("holding")
            barrier.keep_alive(directory)
        elif op == "go":
            barrier.allow(directory, value)
        else:
            lock.abort(self.ctx, value.by, directory.name, value.why)  # raises HostError when it has ended already

    def _logs(self, asked: requests.LogsRequest) -> None:
        """Lines of the journal, with secrets masked."""
        unit = asked.process or self.ctx.app
        secrets = masking.Secrets(self.ctx.paths)
        if not asked.follow:
            for lines in _in_portions(logs.read(self.ctx, asked.process, asked.lines)):
                self.ctx.emit("logs", unit=unit, lines=masking.clean(lines, secrets.values()))
            self._answer()
            return
        with end_with_laptop():
            for new in logs.follow(self.ctx, asked.process, asked.lines):
                known = secrets.values()  # of all releases that may have printed it
                for lines in _in_portions(iter(new)):
                    self.ctx.emit("logs", unit=unit, lines=masking.clean(lines, known))

    def _calendars(self, expressions: tuple[str, ...]) -> None:
        """When each calendar expression elapses next on this host; ``problem`` says what is wrong with one."""
        self._answer(calendars=[timers.upcoming(one) for one in expressions])

    def _run(self, command: RunRequest) -> None:
        """Run a command in a release. It is the last request: all that comes after it is for the command."""
        self._state, self._over = _MAY_HAVE_RUN, True
        with end_with_laptop():
            ended = run(self.ctx, command, self.stream)
        self._answer(status=ended.status, timed_out=ended.timed_out, masked=ended.masked)


def _in_portions(lines: Iterator[str]) -> Iterator[list[str]]:
    """Lists of lines that fit into one event each; at least one list, which may be empty."""
    portion: list[str] = []
    size, yielded = 0, False
    for line in lines:
        if portion and size + len(line) > _PORTION:
            yield portion
            portion, size, yielded = [], 0, True
        portion.append(line)
        size += len(line)
    if portion or not yielded:
        yield portion

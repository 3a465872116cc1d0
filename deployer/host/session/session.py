"""The host's end of one SSH channel: questions answered, releases started and followed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deployer import host
from deployer.host.build import builder
from deployer.host.build.delta import parse_delta
from deployer.host.build.disk import free_bytes
from deployer.host.build.upload import partials, receive
from deployer.host.deployment import barrier
from deployer.host.deployment.complete import complete, rollback_target
from deployer.host.deployment.failures import Failures, understood
from deployer.host.deployment.request import Phases, phases_request
from deployer.host.errors import BadRequest, HostError
from deployer.host.inspect import logs
from deployer.host.inspect.doctor import examine
from deployer.host.inspect.status import look_after, readable, releases_report, status_report
from deployer.host.job import lock
from deployer.host.job import queue as tickets
from deployer.host.processes.run import RunRequest, run
from deployer.host.session import requests
from deployer.host.state import jobs, masking
from deployer.host.state.app import Context
from deployer.host.state.releases import Release
from deployer.host.state.seal import known_damage
from deployer.host.system import timers
from deployer.host.units import overrides
from deployer.wire.message import read_message
from deployer.wire.protocol import PROTOCOL, Exit
from deployer.wire.tree import pack_ids

_UNTOUCHED = "nothing was touched"
_GOES_ON = "what runs on the host goes on by itself, to a whole release, the new or the old one; fab attach follows it"
_TOLD = "what runs may have been told to abort: then it undoes what it did; fab attach follows it"
_MAY_HAVE_RUN = "the command may have been run, or be running until it is noticed that nobody listens"
"""What is known of the host when something fails, once a request has done something."""
_PORTION = 128 * 1024
"""Characters of logs that go into one event."""
_LOOKING = ("status", "releases", "history", "logs", "attach")
"""What only looks has the host put right what nobody has finished. A release does so itself, before it begins."""


class Session:
    """Serves requests from ``stream`` until it ends. What goes back goes through the context's ``emit``."""

    def __init__(self, ctx: Context, stream: BinaryIO, forward: Callable[[dict[str, Any]], None]) -> None:
        self.ctx = ctx
        self.stream = stream
        self.forward = forward
        self._ticket: Path | None = None
        self._held = contextlib.ExitStack()
        self._over = False
        self._state = _UNTOUCHED
        self._answers: dict[str, Callable[[Any], None]] = {
            "ask": self._ask,
            "release": self._release,
            "phases": self._phases,
            "status": lambda _: self._answer(status=self._masked(status_report(self.ctx))),
            "releases": lambda _: self._answer(releases=releases_report(self.ctx)),
            "logs": self._logs,
            "calendars": self._calendars,
            "run": self._run,
            "attach": self._attach,
            "wait": self._wait,
            "hold": lambda _: None,  # a sign of a laptop that has not made up its mind yet
            "abort": self._abort,
            "doctor": self._doctor,
            "history": lambda _: self._answer(entries=list(self.ctx.ledger.entries())),
        }

    def serve(self) -> Exit:
        """Answer until the stream ends, or a request fails: that one is the last. Returns how it ended.

        Whatever comes in is answered by events. Raises BrokenPipeError when nobody takes them any more.
        """
        with self._held:
            return self._serve()

    def _serve(self) -> Exit:
        try:
            while not self._over:
                message = self._heard()
                if message is None:
                    break
                self._dispatch(message)
            return Exit.OK
        except HostError as error:
            return self._failed(error)
        except Exception as error:
            return self._failed(understood(error, self.ctx, "writing on the host"))

    def _heard(self) -> dict[str, Any] | None:
        """The next message; None at the end. Raises BadRequest."""
        try:
            return read_message(self.stream)
        except ValueError as error:
            raise BadRequest(f"not a request: {error}") from None

    def _dispatch(self, message: dict[str, Any]) -> None:
        op, asked = requests.parse(message, requests.REQUESTS)
        if op in _LOOKING:
            look_after(self.ctx)
        self._answers[op](asked)

    def _failed(self, error: HostError) -> Exit:
        """Tell why it is over. A failure to follow what has begun says nothing about how that ends."""
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
        self.ctx.emit("finished", exit=int(exit), serving=self._serving(), summary=error.message)
        return exit

    def _serving(self) -> str:
        """What serves, as far as can be told."""
        try:
            return self.ctx.catalog.serving_name()
        except (HostError, OSError):
            return ""

    def _masked(self, value: dict[str, Any]) -> dict[str, Any]:
        """What quotes an app: its answer to the health check, say."""
        masked: dict[str, Any] = masking.clean(value, masking.Secrets(self.ctx.paths).values())
        return masked

    def _answer(self, **fields: Any) -> None:
        self.ctx.emit("answer", **fields)

    def _ask(self, _: None) -> None:
        """All a laptop needs to know before it sends anything."""
        ctx = self.ctx
        current = readable(ctx)
        self._answer(
            protocol=PROTOCOL,
            program=_digest_of_this_program(),
            app=ctx.app,
            current=ctx.catalog.serving_name(),
            spec=current.spec.as_json() if current else None,
            busy=lock.running(ctx),
            base=self._base(current),
            partials=partials(ctx.paths.incoming),
            free=free_bytes(str(ctx.paths.home)),
            processes=logs.kinds(ctx),
            **self._history(),
        )

    def _history(self) -> dict[str, Any]:
        """What a fleet must agree on: the next number, and what can be gone back to.

        ``passed`` are good releases that are newer than the target and known to be damaged: each with what is wrong.
        """
        releases = [one for one in self.ctx.catalog.all() if one.usable]
        target, passed = rollback_target(self.ctx)
        return {
            "next": self.ctx.catalog.next_number(),
            "target": target.name if target else "",
            "passed": passed,
            "usable": {one.name: one.spec.source.digest for one in releases if not known_damage(self.ctx, one)},
        }

    def _base(self, current: Release | None) -> dict[str, Any]:
        """The tree that an upload should build on: the one that serves, else any that is whole."""
        keys = ([current.tree] if current else []) + self.ctx.trees.all_keys()
        for key in keys:
            record = self.ctx.trees.record(key)
            if record is not None:
                ids = pack_ids(entry.id for entry in builder.base_of(record))
                return {"key": key, "ids": ids}
        return {"key": "", "ids": ""}

    def _release(self, upload: requests.Upload) -> None:
        self.ctx.catalog.check_number(upload.request.number)
        request = complete(self.ctx, upload.request)
        overrides.check(request.spec.units, self.ctx.settings.units)
        lock.refuse_if_busy(self.ctx)
        self.ctx.catalog.refuse_if_taken(request.number)
        if upload.length or request.delta is not None:  # of one that broke off at its very end no byte is left to come
            incoming, delta = self.ctx.paths.incoming, parse_delta(request.delta)
            with receive(self.stream, incoming, delta, upload.offset, upload.length) as body:
                directory = lock.submit(self.ctx, request, body)
        else:
            directory = lock.submit(self.ctx, request)
        self._leave_the_line()
        self._follow(directory)

    def _wait(self, queue: bool) -> None:
        """A place in the line, kept until the job of this session begins; without ``queue`` only if it is the first."""
        if self._ticket is None:
            self._ticket = self._held.enter_context(tickets.ticket(self.ctx.paths.tickets))
        if not queue:
            tickets.refuse_if_not_first(self.ctx, self._ticket)
        with _while_heard():
            tickets.wait(self.ctx, self._ticket, lambda job: self.ctx.emit("waiting", **job))
        self._answer()

    def _leave_the_line(self) -> None:
        self._held.close()
        self._ticket = None

    def _abort(self, asked: requests.Abort) -> None:
        """End the job that runs; with ``job``, that one and no other: it may have made way for the next meanwhile."""
        self._state = _TOLD
        self._answer(job=lock.abort(self.ctx, asked.by, asked.job))

    def _attach(self, job: str) -> None:
        """Follow the job that runs, or ran last; or the one that is named."""
        self._follow(lock.find_job(self.ctx, job))

    def _doctor(self, fix: bool) -> None:
        if fix:
            self._follow(lock.submit_recovery(self.ctx))
        else:
            self._answer(**self._masked(examine(self.ctx)))

    def _phases(self, asked: Phases) -> None:
        """Run phases of a release that is under way: the one named, or (0) the newest."""
        self._follow(lock.submit(self.ctx, phases_request(self.ctx.catalog, asked)))

    def _follow(self, directory: Path) -> None:
        self._state = _GOES_ON
        self.ctx.emit("following", job=directory.name)
        with _while_heard():
            if jobs.request_of(directory).get("barriers"):
                self._hear_words(directory)
            for event in lock.follow(self.ctx, directory):
                self.forward(event)
        jobs.remove_old(self.ctx.paths.jobs)

    def _hear_words(self, directory: Path) -> None:
        """From now on, and to the end of this session, what comes in is the word of a fleet to the job."""

        def listen() -> None:
            with contextlib.suppress(OSError, ValueError, RecursionError):  # a laptop that has gone, or talks nonsense
                while (message := read_message(self.stream)) is not None:
                    with Failures(self.ctx).kept("a word of the fleet"):  # one that is not understood, or found no room
                        self._pass_on(message, directory)

        self._over = True
        threading.Thread(target=listen, daemon=True, name="words").start()

    def _pass_on(self, message: dict[str, Any], directory: Path) -> None:
        op, said = requests.parse(message, requests.WORDS)
        if op == "hold":
            self.ctx.emit("holding")
            barrier.hold(directory)
        elif op == "go":
            barrier.go(directory, said)
        else:
            lock.abort(self.ctx, said.by, directory.name, said.why)  # raises HostError when it has ended by itself

    def _logs(self, asked: requests.Logs) -> None:
        """Lines of the journal: of one process, or (empty) of all that the app has. No secret is in them."""
        unit = asked.process or self.ctx.app
        secrets = masking.Secrets(self.ctx.paths)
        if not asked.follow:
            for lines in _in_portions(logs.read(self.ctx, asked.process, asked.lines)):
                self.ctx.emit("logs", unit=unit, lines=masking.clean(lines, secrets.values()))
            self._answer()
            return
        with _while_heard():
            for new in logs.follow(self.ctx, asked.process, asked.lines):
                known = secrets.values()  # those of all releases that can have printed it
                for lines in _in_portions(iter(new)):
                    self.ctx.emit("logs", unit=unit, lines=masking.clean(lines, known))

    def _calendars(self, expressions: tuple[str, ...]) -> None:
        """When each calendar comes next here; ``problem`` says why one is none."""
        self._answer(calendars=[timers.upcoming(one) for one in expressions])

    def _run(self, command: RunRequest) -> None:
        """Run a command in the release that serves. The last request of a session: what comes meanwhile is not kept."""
        self._state = _MAY_HAVE_RUN
        with _while_heard():
            status = run(self.ctx, command)
        self._answer(status=status)


@contextlib.contextmanager
def _while_heard() -> Iterator[None]:
    """Meanwhile, end this program when the laptop has gone: with nothing to say it would not notice, and stay."""
    done = threading.Event()

    def watch() -> None:
        outlet = select.poll()
        outlet.register(1, 0)  # the end of the far end (POLLERR, POLLHUP) is always told
        while not done.is_set():
            if outlet.poll(500) and not done.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _in_portions(lines: Iterator[str]) -> Iterator[list[str]]:
    """Lists of lines, each of which fits into one event; at least one, which may be empty."""
    portion: list[str] = []
    size, told = 0, False
    for line in lines:
        if portion and size + len(line) > _PORTION:
            yield portion
            portion, size, told = [], 0, True
        portion.append(line)
        size += len(line)
    if portion or not told:
        yield portion


def _digest_of_this_program() -> str:
    """The digest under which ``fab setup`` installed this program: its directory's name."""
    return Path(host.__file__).resolve().parents[2].name

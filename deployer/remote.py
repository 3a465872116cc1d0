"""The laptop's end of a session with the host program: requests out, events in, over one channel."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from deployer import events, startup
from deployer.errors import Busy, ConfigError, DeployerError, Exit, Interrupted, Unreachable, lost_before
from deployer.events import Reporter
from deployer.host.manifest import unpack_ids
from deployer.host.protocol import HOLD, PROGRAM, PROTOCOL, dumps
from deployer.host.spec import Spec
from deployer.report import Job
from deployer.ssh import Channel, Link
from deployer.ssh.channel import LongLineError
from deployer.startup import MOST_NOISE, Attempted

__all__ = ["Facts", "Outcome", "Over", "Remote", "unchanged"]

ANSWER = 60.0
"""Seconds that a host has for the answer to a question."""
_BEGIN = b'{"event":'
"""How an event begins."""
SIGN = HOLD / 6
"""Seconds between two signs of life to a host that ends what it does without them."""

Edit = Callable[[dict[str, Any]], "dict[str, Any] | None"]
"""Changes an event of the host before it is reported, or drops it."""


def unchanged(event: dict[str, Any]) -> dict[str, Any]:
    """The Edit that does nothing."""
    return event


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host says before anything is sent. ``partials`` are interrupted uploads: bytes there, by digest.

    ``next`` is the number its next release would have, ``target`` what a rollback would go back to (empty: nothing),
    ``usable`` the digest of the source of each release that can be gone back to, ``processes`` the names of what its
    releases have run, web first.
    """

    current: str
    spec: Spec | None
    busy: Job | None
    base_key: str
    base_ids: list[bytes]
    partials: Mapping[str, int]
    free: int
    program: str
    next: int
    target: str
    usable: Mapping[str, str]
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a request ended on one host."""

    host: str
    exit: Exit
    release: str
    serving: str


class Over(Exception):
    """A question was answered by a refusal; everything was reported."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.exit)
        self.outcome = outcome


class Remote:
    """One session for one app on one host. What the host tells goes to ``report`` as it comes."""

    def __init__(self, link: Link, app: str, report: Reporter) -> None:
        self.link = link
        self.host = link.host
        self.app = app
        self.report = report
        argv = [PROGRAM, "session", app]
        self._answered = False
        self._noise = bytearray()
        self._channel: Channel = link.open(argv if link.is_root else ["sudo", "-n", "--", *argv])

    def ask(self) -> Facts:
        """What the host has. Raises ConfigError when it was not set up for the app, or by another version."""
        answer = self.query({"op": "ask"})
        if answer.get("protocol") != PROTOCOL:
            raise self._other_version(answer.get("protocol"))
        base = answer["base"]
        return Facts(
            current=answer["current"],
            spec=Spec.parse(answer["spec"]) if answer["spec"] else None,
            busy=Job.parse(answer["busy"]) if answer["busy"] else None,
            base_key=base["key"],
            base_ids=unpack_ids(base["ids"]),
            partials=answer["partials"],
            free=answer["free"],
            program=answer["program"],
            next=answer["next"],
            target=answer["target"],
            usable=answer["usable"],
            processes=tuple(answer.get("processes") or ()),
        )

    def _other_version(self, theirs: object) -> ConfigError:
        newer = isinstance(theirs, int) and theirs > PROTOCOL
        return ConfigError(
            message=f"{self.host} was set up by {'a newer' if newer else 'an older'} version of deployer than this one",
            next="upgrade deployer here: pip install -U deployer"
            if newer
            else f"fab setup -H root@{_bare(self.host)}   (brings the host up to date; what serves goes on)",
            host=self.host,
        )

    def refuse_if_busy(self, facts: Facts, *, patient: str = "") -> None:
        """Raises Busy saying who deploys, since when and at which phase. ``patient`` is the command that would wait."""
        if facts.busy is None:
            return
        wait = f", or {patient}   (waits for its turn)" if patient else ""
        raise Busy(
            message=f"busy: {facts.busy}",
            state="nothing was touched",
            next=f"fab attach   (follows it){wait}",
            host=self.host,
        )

    def wait(self, again: str, *, queue: bool = True) -> None:
        """Stand in line until it is this session's turn; who is waited for is reported whenever it changes.

        The place is kept until this session's job begins. Without ``queue`` it is taken only if it is the first: else
        Over is raised. ``again`` is the command to type after a Ctrl-C or a lost connection: nothing was touched then.
        """
        try:
            self.query({"op": "wait", "queue": queue}, limit=None if queue else ANSWER)
        except KeyboardInterrupt:
            message = "interrupted while waiting for another deploy"
            raise Interrupted(message=message, state="nothing was touched", next=again, host=self.host) from None
        except Unreachable as error:
            raise lost_before(error, next=again) from None

    def query(self, message: Mapping[str, Any], *, limit: float | None = ANSWER) -> dict[str, Any]:
        """Ask one question; its answer. Raises Unreachable when it has not come within ``limit`` seconds."""
        self.send(message)
        for event in self.messages(limit):
            if event["event"] == "answer":
                return event
            self.pass_on(event)
            if event["event"] == "finished":
                raise Over(self.outcome(event))
        raise AssertionError("unreachable")

    def execute(self, argv: Sequence[str]) -> int:
        """Run a command on the host, in the release that serves; its exit status. What it prints is reported.

        It is ended on the host when this session ends, or when the laptop gives no sign of life any more.
        """
        with self._signs_of_life():
            return int(self.query({"op": "run", "argv": list(argv)}, limit=None)["status"])

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Given by a thread: between two of them this one may be waiting for a host that has nothing to say."""
        over = threading.Event()

        def give() -> None:
            while not over.wait(SIGN):
                try:
                    self.send({"op": "hold"})
                except Unreachable:
                    return  # whoever reads has noticed, too

        threading.Thread(target=give, daemon=True, name="signs-of-life").start()
        try:
            yield
        finally:
            over.set()

    def read(self, message: Mapping[str, Any]) -> Outcome:
        """Ask for something that only tells, and goes on until it ends or Ctrl-C ends it."""
        try:
            self.send(message)
            for event in self.messages():
                self.pass_on(event)
                if event["event"] in ("finished", "answer"):
                    return self.outcome(event)
        except KeyboardInterrupt:
            return Outcome(host=self.host, exit=Exit.INTERRUPTED, release="", serving="")
        raise AssertionError("unreachable")

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.write(dumps(dict(message)))
        except BrokenPipeError:
            return  # what the host said before it went is still to be read

    def send_file(self, body: BinaryIO, length: int, advance: Callable[[int], None]) -> None:
        try:
            self._channel.write_file(body, length, advance)
        except BrokenPipeError:
            return  # the host has refused; its events say why

    def messages(self, limit: float | None = None) -> Iterator[dict[str, Any]]:
        """What the host says, one by one, without end: raises when there is no more.

        Raises Unreachable when ``limit`` seconds have passed.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            try:
                if not self._answered:  # what a login prints may be long, and have no end of line
                    self._noise += self._channel.skip(_BEGIN, deadline, MOST_NOISE - len(self._noise))
                line = self._channel.readline(deadline)
            except TimeoutError:
                raise self._silent(limit) from None
            except LongLineError as error:
                raise startup.endless_noise(self.link, self.app, error.begin) from None
            if not line:
                raise self._ended()
            message = self._read(line)
            if message is not None:
                self._answered = True
                yield message

    def _read(self, line: bytes) -> dict[str, Any] | None:
        """The event on a line; None when it has none: then it is something that a login prints."""
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and "event" in message:
                return message
        if not self._answered:
            self._noise += line
        return None

    def pass_on(self, message: Mapping[str, Any]) -> None:
        event = events.parse(message, self.host)
        if event is not None:
            self.report(event)

    def outcome(self, event: Mapping[str, Any]) -> Outcome:
        return Outcome(
            host=self.host,
            exit=Exit(int(event.get("exit", 0))),
            release=str(event.get("release", "")),
            serving=str(event.get("serving", "")),
        )

    def close(self) -> None:
        """End the session; what runs on the host goes on."""
        self._channel.close()

    def _silent(self, limit: float | None) -> DeployerError:
        if self._answered:
            limit = limit or ANSWER
            return Unreachable(message=f"{self.host} has not answered within {limit:g} s", host=self.host)
        return startup.silent(self.link, self.app, self._attempted(-1), limit or ANSWER)

    def _ended(self) -> Exception:
        """The program ended without a last word: at its first one nearly always because it could not be started."""
        status = self._channel.exit_status(10)
        attempted = self._attempted(status)
        if self._answered:
            message = f"the host program at {self.host} ended without a last word (exit status {status})"
            return Unreachable(message=message, host=self.host, logs=attempted.lines)
        return startup.not_started(self.link, self.app, attempted)

    def _attempted(self, status: int) -> Attempted:
        return Attempted(
            status=status, noise=bytes(self._noise[-65536:]) + self._channel.unread, stderr=self._channel.stderr
        )


def _bare(host: str) -> str:
    return host.rpartition("@")[2]

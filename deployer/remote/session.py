"""The laptop's end of a session with the host program: requests out, events in, over one channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO, Protocol

from deployer import events
from deployer.errors import BadAnswer, ConfigError, Exit, Interrupted, Unreachable, lost_before
from deployer.events import Reporter
from deployer.remote import decode
from deployer.remote.answers import AskAnswer, Ids, Nothing
from deployer.remote.decode import Answer
from deployer.remote.facts import Facts
from deployer.remote.stream import Broken, EventStream
from deployer.ssh.channel import Channel
from deployer.ssh.link import Link
from deployer.wire.advice import NOTHING, Next, do, run
from deployer.wire.lazydata import dataclass
from deployer.wire.message import LONGEST
from deployer.wire.protocol import HOLD, PROGRAM, PROTOCOL, dumps
from deployer.wire.tree.entry import unpack_ids

__all__ = ["Outcome", "Over", "Remote", "unchanged"]

ANSWER = 60.0
"""Seconds that a host has for the answer to a question."""
SIGN = HOLD / 6
"""Seconds between two keep-alives to a host that ends its work without them."""

_HARMLESS = (
    "ask",
    "base",
    "wait",
    "hold",
    "status",
    "releases",
    "history",
    "logs",
    "calendars",
    "attach",
    "preview",
    "environment",
    "variables",
)
"""What changes nothing on a host, whatever becomes of it."""

Edit = Callable[[dict[str, Any]], "dict[str, Any] | None"]
"""Changes an event of the host before it is reported, or drops it."""


def unchanged(event: dict[str, Any]) -> dict[str, Any]:
    """The Edit that does nothing."""
    return event


@dataclass(frozen=True, kw_only=True)
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


class Listener(Protocol):
    """Follows a question: it was sent; an event came, and True says that it has been dealt with."""

    def asked(self) -> None: ...

    def hear(self, event: Mapping[str, Any]) -> bool: ...


class Remote:
    """One session for one app on one host. What the host tells goes to ``report`` as it comes."""

    def __init__(self, link: Link, app: str, report: Reporter) -> None:
        self.link = link
        self.host = link.host
        self.app = app
        self.report = report
        argv = [PROGRAM, "session", app]
        self._sending = threading.Lock()
        self.touches = False
        """Something was sent that may have changed the host."""
        self._channel: Channel = link.open(argv if link.is_root else ["sudo", "-n", "--", *argv])
        self._events = EventStream(link, app, self._channel)

    def ask(self) -> Facts:
        """What the host has. Raises ConfigError when it was not set up for the app, or by another version."""
        with self._asking():
            line = self._ask({"op": "ask"}, ANSWER)
        with self._understanding():
            theirs = decode.version(line, self.host)
            if theirs != PROTOCOL:
                raise self._other_version(theirs)
            return Facts.of(decode.answer(line, AskAnswer, "ask", self.host), self.ids)

    def ids(self, key: str) -> list[bytes]:
        """The ids of the files that an upload may build on, of the tree with that key."""
        text = self.query({"op": "base", "key": key}, Ids).ids
        with self._understanding("base"):
            return unpack_ids(text)

    def _other_version(self, theirs: int) -> ConfigError:
        newer = theirs > PROTOCOL
        return ConfigError(
            message=f"{self.host} was set up by {'a newer' if newer else 'an older'} version of deployer than this one",
            next=do("upgrade deployer on this machine, from where it was installed") + run("deployer --version")
            if newer
            else run(f"fab setup -H root@{_bare(self.host)}", "brings the host up to date; what serves goes on"),
            host=self.host,
        )

    def wait(self, again: str, *, queue: bool = True) -> None:
        """Wait in the host's queue; whom this session waits for is reported whenever it changes.

        The place is kept until this session's job begins. Without ``queue`` it is taken only if it is the first: else
        Over is raised. ``again`` is the command to type after a Ctrl-C or a lost connection: nothing was touched then.
        """
        then = run(again) if again else NOTHING
        try:
            self._query({"op": "wait", "queue": queue}, Nothing, None if queue else ANSWER)
        except KeyboardInterrupt:
            message = "interrupted while waiting for another deploy"
            raise Interrupted(message=message, state="nothing was touched", next=then, host=self.host) from None
        except Unreachable as error:
            raise lost_before(error, next=then) from None

    def query(
        self,
        message: Mapping[str, Any],
        kind: type[Answer],
        *,
        limit: float | None = ANSWER,
        listener: Listener | None = None,
    ) -> Answer:
        """Ask one question; its answer, of the ``kind`` that :mod:`deployer.remote.answers` has for the question.

        An event before it is reported, unless the ``listener`` has dealt with it. Raises Unreachable when the answer
        has not come within ``limit`` seconds, BadAnswer when it is none.
        """
        with self._asking():
            return self._query(message, kind, limit, listener)

    def _query(
        self, message: Mapping[str, Any], kind: type[Answer], limit: float | None, listener: Listener | None = None
    ) -> Answer:
        line = self._ask(message, limit, listener)
        with self._understanding():
            return decode.answer(line, kind, str(message["op"]), self.host)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """An error in the block gets the host's state, as far as the question tells it, and advice."""
        try:
            yield
        except Unreachable as error:
            again = self._look() if isinstance(error, Broken) else do("type the same command again")
            raise replace(error, state=error.state or self._left, next=error.next or again) from None

    def _look(self) -> Next:
        doctor = run(f"fab doctor -H {self.host}", "looks at the host")
        setup = run(f"fab setup -H root@{_bare(self.host)}", "installs the host program again, if it is damaged")
        return doctor + setup

    @property
    def _left(self) -> str:
        """What is known of the host's state when it has not answered."""
        return f"what {_bare(self.host)} makes of it is not known" if self.touches else "nothing was touched"

    def _ask(self, message: Mapping[str, Any], limit: float | None, listener: Listener | None = None) -> bytes:
        """The line of the answer. Raises Over when it is a refusal, which is reported."""
        self.send(message)
        if listener is not None:
            listener.asked()
        for event in self.messages(limit):
            if event["event"] == "answer":
                line: bytes = event["line"]
                return line
            if listener is None or not listener.hear(event):
                self.pass_on(event)
            if event["event"] == "finished":
                raise Over(self.outcome(event))
        raise AssertionError("unreachable")

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Sends keep-alives in a thread, for the caller may be waiting for a host that sends nothing."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(SIGN):
                try:
                    self.send({"op": "hold"})
                except Unreachable:
                    return  # the reader of the events notices too

        threading.Thread(target=send, daemon=True, name="keep-alive").start()
        try:
            yield
        finally:
            over.set()

    def read(self, message: Mapping[str, Any]) -> Outcome:
        """Ask for something that only tells, and goes on until it ends or Ctrl-C ends it."""
        try:
            with self._asking():
                self.send(message)
                for event in self.messages():
                    self.pass_on(event)
                    if event["event"] in ("finished", "answer"):
                        return self.outcome(event)
        except KeyboardInterrupt:
            return Outcome(host=self.host, exit=Exit.INTERRUPTED, release="", serving="")
        raise AssertionError("unreachable")

    def send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        """Send a message, and the ``body`` that belongs to it. Any thread may."""
        self.touches = self.touches or not (message.get("op") in _HARMLESS or message.get("fix") is False)
        data = dumps(dict(message))
        if len(data) > LONGEST:
            raise ConfigError(
                message=f"this release has too many files for one request: their list has {len(data) >> 20} MiB",
                next=do("leave out what the app does not need: export-ignore in .gitattributes"),
                host=self.host,
            )
        try:
            with self._sending:
                self._channel.write(data + body)
        except BrokenPipeError:
            return  # what the host said before it went is still to be read

    def send_file(self, body: BinaryIO, length: int, advance: Callable[[int], None]) -> None:
        try:
            self._channel.write_file(body, length, advance)
        except BrokenPipeError:
            return  # the host has refused; its events say why

    def messages(self, limit: float | None = None) -> Iterator[dict[str, Any]]:
        """The host's events, without end: raises when there is no more.

        Raises Unreachable when ``limit`` seconds have passed, BadAnswer for what a host never says.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            with self._understanding():
                message = self._events.next(deadline, limit or ANSWER)
            yield message

    @contextmanager
    def _understanding(self, op: str = "ask") -> Iterator[None]:
        """What is said in the block is understood, or BadAnswer is raised with what is known of the host's state."""
        try:
            yield
        except (BadAnswer, ValueError) as error:
            bad = error if isinstance(error, BadAnswer) else BadAnswer.of(self.host, f"its answer to '{op}': {error}")
            raise replace(bad, state=bad.state or self._left) from None

    def pass_on(self, message: Mapping[str, Any]) -> None:
        event = events.parse(message, self.host) if message["event"] in decode.EVENTS else None
        if event is not None:
            self.report(event)

    def outcome(self, event: Mapping[str, Any]) -> Outcome:
        return Outcome(
            host=self.host,
            exit=Exit(event.get("exit", Exit.OK)),
            release=event.get("release", ""),
            serving=event.get("serving", ""),
        )

    def close(self) -> None:
        """End the session; what runs on the host goes on."""
        self._channel.close()


def _bare(host: str) -> str:
    return host.rpartition("@")[2]

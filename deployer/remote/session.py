"""The laptop's end of a session with the host program: requests out, events in, over one channel."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from deployer import events
from deployer.errors import BadAnswer, Busy, ConfigError, DeployerError, Exit, Interrupted, Unreachable, lost_before
from deployer.events import Reporter
from deployer.remote import answers, startup
from deployer.remote.answers import Answer, Ask, Job, Nothing
from deployer.remote.startup import MOST_NOISE, Attempted
from deployer.ssh import Channel, Link
from deployer.ssh.channel import LongLineError
from deployer.wire.advice import NOTHING, Next, do, run
from deployer.wire.message import LONGEST
from deployer.wire.protocol import HOLD, PROGRAM, PROTOCOL, dumps
from deployer.wire.spec import Spec
from deployer.wire.tree import unpack_ids

__all__ = ["Facts", "Outcome", "Over", "Remote", "unchanged"]

ANSWER = 60.0
"""Seconds that a host has for the answer to a question."""
_BEGIN = b'{"event":'
"""How an event begins."""
SIGN = HOLD / 6
"""Seconds between two signs of life to a host that ends what it does without them."""

_HARMLESS = ("ask", "wait", "hold", "status", "releases", "history", "logs", "calendars", "attach")
"""What changes nothing on a host, whatever becomes of it."""

Edit = Callable[[dict[str, Any]], "dict[str, Any] | None"]
"""Changes an event of the host before it is reported, or drops it."""


def unchanged(event: dict[str, Any]) -> dict[str, Any]:
    """The Edit that does nothing."""
    return event


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host says before anything is sent. ``partials`` are interrupted uploads: bytes there, by digest.

    ``next`` is the number its next release would have, ``target`` what a rollback would go back to (empty: nothing),
    ``passed`` what is wrong with those that are newer than it and were passed by, ``usable`` the digest of the source
    of each release that can be gone back to, ``processes`` the names of what its releases have run, web first.
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
    passed: Mapping[str, str] = field(default_factory=dict)


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


class _Broken(Unreachable):
    """The host program ended, or says nothing more, though it had begun to speak."""


class Remote:
    """One session for one app on one host. What the host tells goes to ``report`` as it comes."""

    def __init__(self, link: Link, app: str, report: Reporter) -> None:
        self.link = link
        self.host = link.host
        self.app = app
        self.report = report
        argv = [PROGRAM, "session", app]
        self.touches = False
        """Something was sent that may have changed the host."""
        self._answered = False
        self._noise = bytearray()
        self._channel: Channel = link.open(argv if link.is_root else ["sudo", "-n", "--", *argv])

    def ask(self) -> Facts:
        """What the host has. Raises ConfigError when it was not set up for the app, or by another version."""
        with self._asking():
            line = self._ask({"op": "ask"}, ANSWER)
        with self._understanding():
            theirs = answers.version(line, self.host)
            if theirs != PROTOCOL:
                raise self._other_version(theirs)
            return self._facts(answers.answer(line, Ask, "ask", self.host))

    def _facts(self, answer: Ask) -> Facts:
        return Facts(
            current=answer.current,
            spec=Spec.parse(answer.spec) if answer.spec is not None else None,
            busy=answer.busy,
            base_key=answer.base.key,
            base_ids=unpack_ids(answer.base.ids),
            partials=answer.partials,
            free=answer.free,
            program=answer.program,
            next=answer.next,
            target=answer.target,
            usable=answer.usable,
            processes=answer.processes,
            passed=answer.passed,
        )

    def _other_version(self, theirs: int) -> ConfigError:
        newer = theirs > PROTOCOL
        return ConfigError(
            message=f"{self.host} was set up by {'a newer' if newer else 'an older'} version of deployer than this one",
            next=do("upgrade deployer on this machine, from where it was installed") + run("deployer --version")
            if newer
            else run(f"fab setup -H root@{_bare(self.host)}", "brings the host up to date; what serves goes on"),
            host=self.host,
        )

    def refuse_if_busy(self, facts: Facts, *, patient: str = "") -> None:
        """Raises Busy saying who deploys, since when and at which phase. ``patient`` is the command that would wait."""
        if facts.busy is None:
            return
        wait = run(patient, "waits for its turn") if patient else NOTHING
        raise Busy(
            message=f"busy: {facts.busy}",
            state="nothing was touched",
            next=run("fab attach", "follows it") + wait,
            host=self.host,
        )

    def wait(self, again: str, *, queue: bool = True) -> None:
        """Stand in line until it is this session's turn; who is waited for is reported whenever it changes.

        The place is kept until this session's job begins. Without ``queue`` it is taken only if it is the first: else
        Over is raised. ``again`` is the command to type after a Ctrl-C or a lost connection: nothing was touched then.
        """
        try:
            self._query({"op": "wait", "queue": queue}, Nothing, None if queue else ANSWER)
        except KeyboardInterrupt:
            message = "interrupted while waiting for another deploy"
            raise Interrupted(message=message, state="nothing was touched", next=again, host=self.host) from None
        except Unreachable as error:
            raise lost_before(error, next=again) from None

    def query(self, message: Mapping[str, Any], kind: type[Answer], *, limit: float | None = ANSWER) -> Answer:
        """Ask one question; its answer, of the ``kind`` that :mod:`deployer.remote.answers` has for the question.

        Raises Unreachable when it has not come within ``limit`` seconds, BadAnswer when it is none.
        """
        with self._asking():
            return self._query(message, kind, limit)

    def _query(self, message: Mapping[str, Any], kind: type[Answer], limit: float | None) -> Answer:
        line = self._ask(message, limit)
        with self._understanding():
            return answers.answer(line, kind, str(message["op"]), self.host)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """An answer that does not come is told with the host's state, as far as the question tells it, and advice."""
        try:
            yield
        except Unreachable as error:
            again = self._look() if isinstance(error, _Broken) else do("type the same command again")
            raise replace(error, state=error.state or self._left, next=error.next or again) from None

    def _look(self) -> Next:
        doctor = run(f"fab doctor -H {self.host}", "looks at the host")
        setup = run(f"fab setup -H root@{_bare(self.host)}", "installs the host program again, if it is damaged")
        return doctor + setup

    @property
    def _left(self) -> str:
        """What is known of the host's state when it has not answered."""
        return f"what {_bare(self.host)} makes of it is not known" if self.touches else "nothing was touched"

    def _ask(self, message: Mapping[str, Any], limit: float | None) -> bytes:
        """The line of the answer. Raises Over when it is a refusal, which is reported."""
        self.send(message)
        for event in self.messages(limit):
            if event["event"] == "answer":
                line: bytes = event["line"]
                return line
            self.pass_on(event)
            if event["event"] == "finished":
                raise Over(self.outcome(event))
        raise AssertionError("unreachable")

    def execute(self, argv: Sequence[str]) -> int:
        """Run a command on the host, in the release that serves; its exit status. What it prints is reported.

        It is ended on the host when this session ends, or when the laptop gives no sign of life any more.
        """
        with self._signs_of_life():
            return self.query({"op": "run", "argv": list(argv)}, answers.Run, limit=None).status

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
            with self._asking():
                self.send(message)
                for event in self.messages():
                    self.pass_on(event)
                    if event["event"] in ("finished", "answer"):
                        return self.outcome(event)
        except KeyboardInterrupt:
            return Outcome(host=self.host, exit=Exit.INTERRUPTED, release="", serving="")
        raise AssertionError("unreachable")

    def send(self, message: Mapping[str, Any]) -> None:
        self.touches = self.touches or not (message.get("op") in _HARMLESS or message.get("fix") is False)
        data = dumps(dict(message))
        if len(data) > LONGEST:
            raise ConfigError(
                message=f"this release has too many files for one request: their list has {len(data) >> 20} MiB",
                next=do("leave out what the app does not need: export-ignore in .gitattributes"),
                host=self.host,
            )
        try:
            self._channel.write(data)
        except BrokenPipeError:
            return  # what the host said before it went is still to be read

    def send_file(self, body: BinaryIO, length: int, advance: Callable[[int], None]) -> None:
        try:
            self._channel.write_file(body, length, advance)
        except BrokenPipeError:
            return  # the host has refused; its events say why

    def messages(self, limit: float | None = None) -> Iterator[dict[str, Any]]:
        """What the host says, one by one, without end: raises when there is no more.

        Raises Unreachable when ``limit`` seconds have passed, BadAnswer for what a host never says.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            with self._understanding():
                message = self._next(deadline, limit)
            if message is not None:
                self._answered = True
                yield message

    def _next(self, deadline: float | None, limit: float | None) -> dict[str, Any] | None:
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
        try:
            message = answers.event(line, self.host, begun=self._answered)
        except BadAnswer:
            if self._answered or bytes(self._noise[-1:]) in (b"", b"\n") or _is_json(line):
                raise
            message = None  # a login may print anything
        self._noise += b"" if message or self._answered else line
        return message

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        """What is said in the block is understood, or BadAnswer is raised with what is known of the host's state."""
        try:
            yield
        except (BadAnswer, ValueError) as error:
            bad = error if isinstance(error, BadAnswer) else BadAnswer.of(self.host, f"its answer to 'ask': {error}")
            raise replace(bad, state=bad.state or self._left) from None

    def pass_on(self, message: Mapping[str, Any]) -> None:
        event = events.parse(message, self.host) if message["event"] in answers.EVENTS else None
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

    def _silent(self, limit: float | None) -> DeployerError:
        if self._answered:
            limit = limit or ANSWER
            return _Broken(message=f"{self.host} has not answered within {limit:g} s", host=self.host)
        return startup.silent(self.link, self.app, self._attempted(-1), limit or ANSWER)

    def _ended(self) -> Exception:
        """The program ended without a last word: at its first one nearly always because it could not be started."""
        status = self._channel.exit_status(10)
        attempted = self._attempted(status)
        if self._answered:
            message = f"the host program at {self.host} ended without a last word (exit status {status})"
            return _Broken(message=message, host=self.host, logs=attempted.lines)
        return startup.not_started(self.link, self.app, attempted)

    def _attempted(self, status: int) -> Attempted:
        return Attempted(
            status=status, noise=bytes(self._noise[-65536:]) + self._channel.unread, stderr=self._channel.stderr
        )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _bare(host: str) -> str:
    return host.rpartition("@")[2]

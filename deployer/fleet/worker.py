"""One host's part in a release of a fleet: a thread that connects, sends and follows, and takes words meanwhile."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Literal, cast

from deployer import events
from deployer.bug import Bug
from deployer.errors import DeployerError, Mixed
from deployer.events import Event
from deployer.release.placement import Plan, Sending
from deployer.remote.job import Run
from deployer.remote.session import SIGN, Facts, Over, Remote
from deployer.remote.site import Site, ask, who
from deployer.ssh import Link, connect

__all__ = ["Happening", "Part"]

_SOMETHING = 16 * 1024
"""Bytes that are more than the signs of life of an SSH connection."""
_LONGEST_WHY = 1000
"""Characters of the reason that a host is given for an undo."""


What = Literal["met", "heard", "refused", "ended", "lost", "hooked", "tick"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that a thread tells the one that conducts.

    met: the host has answered, with ``facts``. heard: an ``event`` of its job. refused: its job has not begun, and
    will not. ended: its last word was heard. lost: it was not, and the job may have begun. hooked: the hook ``do`` has
    ended, well when ``error`` is None.
    """

    what: What
    host: str = ""
    facts: Facts | None = None
    event: Mapping[str, Any] | None = None
    error: DeployerError | None = None
    do: str = ""


class _Dismissed(Exception):
    """The fleet has given up before this host's job had begun."""


class _Told(DeployerError):
    """An error of which nothing is to be reported: the host has told it, or there is none."""


class Part:
    """The thread of one host. ``tell`` takes what happens; ``room`` bounds how many hosts are prepared at a time."""

    def __init__(self, site: Site, tell: Callable[[Happening], None], room: threading.Semaphore) -> None:
        self.remote: Remote | None = None
        self.silent_since = time.monotonic()
        self.failed: events.Failed | None = None
        """The host's last failure."""
        self._site = replace(site, report=self._report)
        self._pass_on = site.report
        self._tell, self._room, self._has_room = tell, room, False
        self._plan: SimpleQueue[Plan | None] = SimpleQueue()
        self._dismissed = self._left = False
        self._run: Run | None = None
        self._dropped_at = 0.0
        self._sent = 0
        self._lock = threading.Lock()
        self._told: list[Mapping[str, Any]] = []
        self._outbox: SimpleQueue[Mapping[str, Any] | None] | None = None

    def begin(self) -> None:
        """Connect, and ask what the host has."""
        threading.Thread(target=self._work, daemon=True, name=f"part-{self._site.host}").start()

    def send(self, plan: Plan) -> None:
        """Send what ``plan`` makes, and follow it to its end."""
        self._plan.put(plan)

    def say(self, message: Mapping[str, Any], *, once: bool = False) -> None:
        """A word to the job: when it is followed, and (unless ``once``) again after each new connection."""
        with self._lock:
            if not once:
                self._told.append(message)
            outbox = self._outbox
        if outbox is not None:
            outbox.put(message)

    def undo(self, why: str) -> None:
        """Have the job undone; where none has begun, none will."""
        self._dismissed = True
        self._plan.put(None)
        self.say({"op": "undo", "by": who(), "why": _in_a_line(why)})

    def drop(self) -> None:
        """Take the connection for lost: once, until something is heard again."""
        if self._run is not None and self._dropped_at != self.silent_since:
            self._dropped_at = self.silent_since
            self._run.drop()

    def end(self) -> None:
        """Nobody listens any more: what runs on the host goes its own way. Returns at once, and nothing is told of
        what becomes of the connections."""
        with self._lock:
            self._left = self._dismissed = True
            outbox = self._outbox
        self._plan.put(None)
        if outbox is not None:
            outbox.put(None)
        threading.Thread(target=self._hang_up, daemon=True, name="hang-up").start()

    def silence(self, now: float) -> float:
        """Seconds since something was heard of the host, or (before its job is followed) went to it."""
        if self.remote is not None and not self.followed:
            sent = self.remote.link.bytes_up
            if sent - self._sent > _SOMETHING:
                self._sent, self.silent_since = sent, now
        return now - self.silent_since

    @property
    def session(self) -> Remote:
        """For questions before anything is sent. Raises DeployerError when there is no connection."""
        if self.remote is None:
            raise DeployerError(message="there is no connection yet", host=self._site.host)
        return self.remote

    @property
    def sent(self) -> bool:
        """Its job was sent, or is being sent: from then on it must not be silent for long."""
        return self._run is not None

    @property
    def followed(self) -> bool:
        """Its job is followed: words reach it."""
        return self._outbox is not None

    def _hang_up(self) -> None:
        """Closing takes a moment, and for ever on a connection that hangs."""
        if self._run is not None:
            self._run.drop()
        if self.remote is not None:
            self.remote.link.close()

    def _work(self) -> None:
        happening = self._how_it_ends()
        self._leave_room()
        if happening.error is not None and not isinstance(happening.error, _Told):
            with contextlib.suppress(Exception):  # whatever the display makes of it, the others must not wait for it
                self.fail(happening.error)
        self._tell(happening)

    def _how_it_ends(self) -> Happening:
        host = self._site.host
        try:
            self._take_part()
            return Happening(what="ended", host=host)
        except _Dismissed:
            return Happening(what="refused", host=host, error=_Told(message="the fleet gave up before", host=host))
        except Over as over:
            return Happening(what="refused", host=host, error=self.refusal(over))
        except DeployerError as error:
            return Happening(what="lost" if isinstance(error, Mixed) else "refused", host=host, error=error)
        except BaseException as bug:  # it must not leave the others waiting for this host
            state = (
                "what it serves, and whether something runs there, is not known" if self.sent else "nothing was touched"
            )
            unforeseen = Bug.of(bug, host=host, state=state)
            return Happening(what="lost" if self.sent else "refused", host=host, error=unforeseen)

    def _take_part(self) -> None:
        site, started = self._site, time.monotonic()
        self._enter_room()
        site.report(events.Connecting(host=site.host))
        with connect(site.target, site.ssh) as link:
            remote = self.remote = Remote(link, site.config.app, site.report)
            facts = ask(site, remote, started)
            self._leave_room()
            self._tell(Happening(what="met", host=site.host, facts=facts))
            plan = self._await_plan(remote)
            if plan is None:
                raise _Dismissed
            self._enter_room(remote)
            self._follow(plan(site), remote)

    def _await_plan(self, remote: Remote) -> Plan | None:
        while True:
            try:
                return self._plan.get(timeout=SIGN)
            except Empty:
                _give_sign(remote)

    def _follow(self, sending: Sending, remote: Remote) -> None:
        upload = sending.upload
        run = Run(remote, reconnect=self._connect_again, by=who(), hear=self._hear)
        self.silent_since = time.monotonic()
        self._run = run
        body = _Watched(upload.open_at(sending.offset), self._uploading) if upload is not None else None
        run.send(
            sending.message,
            body=cast("BinaryIO | None", body),
            offset=sending.offset,
            total=upload.delta.length if upload is not None else 0,
            edit=sending.edit,
        )

    def _connect_again(self) -> Link:
        if self._left:
            raise _Dismissed
        return connect(self._site.target, self._site.ssh)

    def _uploading(self) -> None:
        self.silent_since = time.monotonic()
        if self._dismissed:
            raise _Dismissed

    def _hear(self, event: Mapping[str, Any]) -> None:
        self.silent_since = time.monotonic()
        kind = event.get("event")
        if kind == "following":
            self._listen_to_words()
        if kind in ("ready", "finished"):
            self._leave_room()
        self._tell(Happening(what="heard", host=self._site.host, event=event))

    def _listen_to_words(self) -> None:
        """All that was said so far is said again: it may have been said to a connection that was lost."""
        with self._lock:
            if self._left:  # nobody would ever tell its thread to end
                return
            if self._outbox is None:
                self._outbox = SimpleQueue()
                threading.Thread(target=self._speak, args=(self._outbox,), daemon=True, name="to-the-job").start()
            for message in self._told:
                self._outbox.put(message)

    def _speak(self, outbox: SimpleQueue[Mapping[str, Any] | None]) -> None:
        """In a thread of its own: a host that hangs holds up no word for another."""
        while (message := outbox.get()) is not None:
            if self._run is not None:
                self._run.say(message)

    def _enter_room(self, remote: Remote | None = None) -> None:
        """Wait until few enough are prepared. Raises _Dismissed. ``remote`` is a session that must not fall asleep."""
        while not self._dismissed:
            self._has_room = self._room.acquire(timeout=SIGN)
            if self._has_room and not self._dismissed:
                return
            if remote is not None and not self._dismissed:
                _give_sign(remote)
        raise _Dismissed

    def _leave_room(self) -> None:
        if self._has_room:
            self._has_room = False
            self._room.release()

    def _report(self, event: Event) -> None:
        if isinstance(event, events.Failed):
            self.failed = event
        if not self._left:
            self._pass_on(event)

    def refusal(self, over: Over) -> DeployerError:
        """What the host has told when it refused, as an error."""
        told, exit = self.failed, over.outcome.exit
        message = told.message if told else f"refused (exit code {int(exit)})"
        error = _Told(message=message, host=self._site.host)
        error.exit = exit
        if told is not None:
            error.state, error.next, error.logs = told.state, told.next, told.logs
        return error

    def fail(self, error: DeployerError) -> None:
        """Report the end of this host's part as the host itself would."""
        host = self._site.host
        self._report(events.failure(host, error))
        self._report(events.Finished(host=host, exit=int(error.exit), summary=error.message))


def _give_sign(remote: Remote) -> None:
    """A session that waits for its request is ended by the host when it hears nothing for long. Raises Unreachable."""
    remote.send({"op": "hold"})


def _in_a_line(why: str) -> str:
    """A reason as the host takes it: what a hook printed, say, may have many lines."""
    text = "".join(one if one.isprintable() else " " for one in why)
    return " ".join(text.split())[:_LONGEST_WHY]


class _Watched(io.RawIOBase):
    """A stream that calls ``watch`` before each read."""

    def __init__(self, stream: BinaryIO, watch: Callable[[], None]) -> None:
        super().__init__()
        self._stream, self._watch = stream, watch

    def read(self, size: int = -1, /) -> bytes:
        self._watch()
        return self._stream.read(size)

"""One host's part in a release of a fleet: a thread that connects, sends and follows, and takes words meanwhile."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, BinaryIO, Literal, cast

from deployer import events
from deployer.delta import Upload
from deployer.errors import DeployerError, Mixed
from deployer.events import Event
from deployer.follow import Run
from deployer.remote import Edit, Facts, Over, Remote, unchanged
from deployer.site import Site, ask, who
from deployer.ssh import connect

__all__ = ["Happening", "Part", "Plan", "Sending", "Share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A host's share in a release of a fleet: its ``number`` everywhere, the ``barriers`` where this host waits, and
    the host that runs the migration for all (empty: there is none to run). Of a single host nothing is said."""

    number: int = 0
    barriers: tuple[str, ...] = ()
    migrator: str | None = None

    def migrates(self, host: str) -> bool:
        """Whether the migration runs on this host, if there is one."""
        return self.migrator is None or self.migrator == host


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What goes to a host: the request, and what is uploaded with it, from a byte on."""

    message: Mapping[str, Any]
    upload: Upload | None = None
    offset: int = 0
    edit: Edit = unchanged


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


Plan = Callable[[Site], Sending]
"""Makes what goes to a host, in that host's thread."""


class _Dismissed(Exception):
    """The fleet has given up before this host's job had begun."""


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
        self._dismissed = False
        self._run: Run | None = None
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
        self.say({"op": "undo", "by": who(), "why": why})

    def drop(self) -> None:
        """Take the connection for lost."""
        if self._run is not None:
            self._run.drop()

    def end(self) -> None:
        """Nobody listens any more: what runs on the host goes its own way."""
        self._dismissed = True
        self._plan.put(None)
        if self._outbox is not None:
            self._outbox.put(None)
        if self.remote is not None:
            self.remote.link.close()

    @property
    def followed(self) -> bool:
        """Its job is followed: words reach it."""
        return self._outbox is not None

    def _work(self) -> None:
        host = self._site.host
        try:
            self._take_part()
            happening = Happening(what="ended", host=host)
        except _Dismissed:
            error: DeployerError = DeployerError(message="the fleet gave up before", host=host)
            happening = Happening(what="refused", host=host, error=error)
        except Over as over:
            happening = Happening(what="refused", host=host, error=self.refusal(over))
        except DeployerError as failure:
            self.fail(failure)
            happening = Happening(what="lost" if isinstance(failure, Mixed) else "refused", host=host, error=failure)
        except BaseException as bug:  # it must not leave the others waiting for this host
            error = DeployerError(message=f"a bug of deployer: {bug!r}", host=host)
            self.fail(error)
            happening = Happening(what="lost" if self.followed else "refused", host=host, error=error)
        finally:
            self._leave_room()
        self._tell(happening)

    def _take_part(self) -> None:
        site, started = self._site, time.monotonic()
        self._enter_room()
        site.report(events.Connecting(host=site.host))
        with connect(site.target, site.ssh) as link:
            self.remote = Remote(link, site.config.app, site.report)
            facts = ask(site, self.remote, started)
            self._leave_room()
            self._tell(Happening(what="met", host=site.host, facts=facts))
            plan = self._plan.get()
            if plan is None:
                raise _Dismissed
            self._enter_room()
            self._follow(plan(site), self.remote)

    def _follow(self, sending: Sending, remote: Remote) -> None:
        site, upload = self._site, sending.upload
        run = Run(remote, reconnect=lambda: connect(site.target, site.ssh), by=who(), hear=self._hear)
        self._run = run
        self.silent_since = time.monotonic()
        body = _Watched(upload.open_at(sending.offset), self._uploading) if upload is not None else None
        run.send(
            sending.message,
            body=cast("BinaryIO | None", body),
            offset=sending.offset,
            total=upload.delta.length if upload is not None else 0,
            edit=sending.edit,
        )

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
            if self._outbox is None:
                self._outbox = SimpleQueue()
                threading.Thread(target=self._speak, args=(self._outbox,), daemon=True, name="words").start()
            for message in self._told:
                self._outbox.put(message)

    def _speak(self, outbox: SimpleQueue[Mapping[str, Any] | None]) -> None:
        """In a thread of its own: a host that hangs holds up no word for another."""
        while (message := outbox.get()) is not None:
            if self._run is not None:
                self._run.say(message)

    def _enter_room(self) -> None:
        if self._dismissed:
            raise _Dismissed
        self._room.acquire()
        self._has_room = True
        if self._dismissed:
            raise _Dismissed

    def _leave_room(self) -> None:
        if self._has_room:
            self._has_room = False
            self._room.release()

    def _report(self, event: Event) -> None:
        if isinstance(event, events.Failed):
            self.failed = event
        self._pass_on(event)

    def refusal(self, over: Over) -> DeployerError:
        """What the host has told when it refused, as an error."""
        told, exit = self.failed, over.outcome.exit
        message = told.message if told else f"refused (exit code {int(exit)})"
        error = DeployerError(message=message, host=self._site.host)
        error.exit = exit
        if told is not None:
            error.state, error.next, error.logs = told.state, told.next, told.logs
        return error

    def fail(self, error: DeployerError) -> None:
        """Report the end of this host's part as the host itself would."""
        host = self._site.host
        logs = tuple(error.logs)
        self._report(
            events.Failed(
                host=host, exit=int(error.exit), message=error.message, state=error.state, next=error.next, logs=logs
            )
        )
        self._report(events.Finished(host=host, exit=int(error.exit), summary=error.message))


class _Watched(io.RawIOBase):
    """A stream that calls ``watch`` before each read."""

    def __init__(self, stream: BinaryIO, watch: Callable[[], None]) -> None:
        super().__init__()
        self._stream, self._watch = stream, watch

    def read(self, size: int = -1, /) -> bytes:
        self._watch()
        return self._stream.read(size)

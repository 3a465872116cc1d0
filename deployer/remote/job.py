"""A job on a host, followed from the request that starts it to its last event, whatever happens on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from deployer import events
from deployer.errors import BadAnswer, ConfigError, DeployerError, Interrupted, Mixed, Unreachable, lost_before
from deployer.events import Event
from deployer.remote.answers import Aborted
from deployer.remote.outbox import Outbox
from deployer.remote.session import Edit, Outcome, Over, Remote, unchanged
from deployer.ssh.link import Link
from deployer.wire.advice import NOTHING, run

__all__ = ["Follower"]

_IN_FLIGHT = 64 * 1024
"""Bytes that may have arrived though it is not known: when no more than these are left, the host may have begun."""
PATIENCE = 30.0
"""Seconds within which a lost connection must be made again; an attempt that has begun is let end."""
PAUSE = 1.0
MOST_LOSSES = 20


Receive = Callable[[Mapping[str, Any]], None]


def _ignore(event: Mapping[str, Any]) -> None:
    """Takes an event that nobody wants."""


def _go_on() -> None:
    """Lets an upload go on."""


def _unreported(event: Event) -> None:
    """The reporter of a channel beside the one that is followed."""


class Follower:
    """Sends one request that starts a job on a host, or attaches to one, and follows the job to its end. Use it once.

    ``by`` is the person at this machine, for the host's records. ``reconnect`` opens a new connection when one is lost.
    ``receive`` gets each event of the host once, as it came; ``following`` again after each new connection.
    ``uploading`` is called before each further portion of the body; what it raises ends the upload. Signals are the
    caller's: it may abort the job from another thread, or stop, and then raises what :meth:`interrupted` returns.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        reconnect: Callable[[], Link],
        by: str = "",
        receive: Receive = _ignore,
        uploading: Callable[[], None] = _go_on,
    ) -> None:
        self.begun = False
        """The host may have the whole request: then it works on it, whatever becomes of this machine."""
        self.aborted = False
        """The host has been told to abort the job."""
        self.doing = "the deploy is at its start"
        """What the host is at, for people."""
        self._remote = remote
        self._reconnect = reconnect
        self._by = by
        self._receive = receive
        self._uploading = uploading
        self._job = ""
        self._told = self._skip = 0
        self._links: list[Link] = []
        self._outbox = Outbox(self._tell)

    def send(
        self,
        message: Mapping[str, Any],
        *,
        body: BinaryIO | None = None,
        offset: int = 0,
        total: int = 0,
        edit: Edit = unchanged,
    ) -> Outcome:
        """Send the request, its body if any, and report the host's events to the last. ``edit`` may change or drop one.

        Ctrl-C and a lost connection are told by whether the host has begun, which it does when it has all of it.
        """
        length = total - offset if body is not None else 0
        self.begun = length <= _IN_FLIGHT
        try:
            self._remote.send({**message, "offset": offset, "body": length} if body is not None else message)
            if body is not None:
                self._upload(body, offset, length)
            self.begun = True
            return self._follow(edit)
        except KeyboardInterrupt:
            raise self.interrupted() from None
        except Unreachable as error:
            raise self._lost(error) from None
        finally:
            for link in self._links:
                link.close()

    @property
    def followed(self) -> bool:
        """The host has named the job: messages reach it."""
        return self._outbox.open

    def say(self, message: Mapping[str, Any], *, once: bool = False) -> None:
        """A message to the job, from any thread: when it is followed, and (unless ``once``) again after each new
        connection, since it may have gone to one that was lost."""
        self._outbox.put(message, once=once)

    def leave(self) -> None:
        """Send no more messages."""
        self._outbox.close()

    def drop(self) -> None:
        """Take the connection for lost, from any thread."""
        self._remote.close()

    def abort(self) -> None:
        """Have the host abort the job, from any thread: over a second channel, since the first one is being read.

        What comes of it is reported.
        """
        host = self._remote.host
        try:
            other = Remote(self._remote.link, self._remote.app, _unreported)
            other.query({"op": "abort", "by": self._by, "job": self._job}, Aborted)
            other.close()
        except Over:
            self._report(events.Note(host=host, text="too late to abort: it has ended"))
        except DeployerError as error:
            self._report(events.Warn(host=host, text=f"the host could not be told to abort: {error.message}"))
        else:
            self.aborted = True
            self._report(events.Note(host=host, text="the host was told to abort; it undoes what it did"))

    def interrupted(self) -> Interrupted:
        """What to raise when this machine stops following now: what becomes of the job, and what to type next."""
        if not self.begun:
            return Interrupted(
                message="interrupted during the upload",
                state="nothing was touched; what has arrived is kept for the next try",
                next=run("fab deploy", "goes on where it stopped"),
                host=self._remote.host,
            )
        does = "was told to abort, and undoes" if self.aborted else "finishes by itself, or undoes"
        abort = NOTHING if self.aborted else run("fab abort", "ends it")
        return Interrupted(
            message="interrupted here; what runs on the host goes on",
            state=f"the host {does}: what serves is a whole release, the new or the old one",
            next=run("fab attach", "follows it again") + abort + run("fab status"),
            host=self._remote.host,
        )

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._remote.send(message)

    def _upload(self, body: BinaryIO, offset: int, length: int) -> None:
        def advance(done: int) -> None:
            self.begun = length - done <= _IN_FLIGHT
            total = offset + length
            host = self._remote.host
            self._report(events.Progress(host=host, phase="upload", done=offset + done, total=total, doing="sending"))
            if done < length:
                self._uploading()

        self._remote.send_file(body, length, advance)

    def _follow(self, edit: Edit) -> Outcome:
        losses = 0
        while True:
            try:
                return self._listen(edit)
            except BadAnswer:
                raise  # it would say the same again
            except (Unreachable, ConfigError) as error:
                lost, losses = _as_loss(error) if self._job else error, losses + 1
                if losses > MOST_LOSSES:
                    raise lost from None
                self._attach_again(lost)

    def _listen(self, edit: Edit) -> Outcome:
        for event in self._remote.messages():
            self._pass_on(event, edit)
            if event["event"] in ("finished", "answer"):
                return self._remote.outcome(event)
        raise AssertionError("unreachable")

    def _pass_on(self, event: dict[str, Any], edit: Edit) -> None:
        if event["event"] == "following":
            self._job, self._skip, self._told = event["job"], max(self._skip, self._told), 0
            self._outbox.connected()
            self._receive(event)
            return
        if self._job and event["event"] != "holding":
            self._told += 1
            if self._told <= self._skip and event["event"] != "finished":
                return  # it was reported before the connection was lost, with what that session has said itself
        self._receive(event)
        if event["event"] == "phase.started":
            self.doing = f"{event.get('release') or 'the deploy'} is at {event.get('phase')}"
        edited = edit(event)
        if edited is not None:
            self._remote.pass_on(edited)

    def _attach_again(self, lost: Unreachable | ConfigError) -> None:
        """A new connection, and the job's events from the first one on. Raises ``lost`` when that does not work out.

        Nor does it before the host has named the job: it is not known then whether it ever began.
        """
        if not self._job or not isinstance(lost, Unreachable):
            raise lost
        host = self._remote.host
        self._report(events.Warn(host=host, text=f"{lost.message}; the host goes on. Connecting again …"))
        started = time.monotonic()
        if self._links:
            time.sleep(PAUSE)  # not the first loss: a host that takes us in and sends us away is not asked at once
        while True:
            try:
                self._links.append(self._reconnect())
                remote = Remote(self._links[-1], self._remote.app, self._remote.report)
                remote.send({"op": "attach", "job": self._job})
                self._remote = remote  # only now: what another thread says would come before it
                break
            except (Unreachable, ConfigError):
                took = time.monotonic() - started
                if took > PATIENCE:
                    text = f"{lost.message}, and could not be made again within {took:.0f} s"
                    raise replace(lost, message=text) from None
                time.sleep(PAUSE)
        text = f"connected again after {time.monotonic() - started:.0f} s; what happened meanwhile follows"
        self._report(events.Note(host=host, text=text))

    def _report(self, event: Event) -> None:
        self._remote.report(event)

    def _lost(self, error: Unreachable) -> DeployerError:
        if isinstance(error, BadAnswer):
            return self._not_understood(error)
        if not self.begun:
            return lost_before(error, next=run("fab deploy", "the upload goes on where it stopped"))
        return Mixed(
            message=error.message,
            state="what runs on the host goes on by itself, to a whole release, the new or the old one",
            next=run("fab attach", "follows it again") + run("fab status"),
            host=self._remote.host,
        )

    def _not_understood(self, error: BadAnswer) -> DeployerError:
        """A host that cannot be believed may have done anything with a request that it has."""
        if not self.begun:
            return replace(error, state="nothing was touched")
        state = "what it serves, and whether something runs there, is not known"
        return Mixed(message=error.message, state=state, next=error.next, host=error.host, logs=error.logs)


def _as_loss(error: Unreachable | ConfigError) -> Unreachable:
    """A host that named its job has the program. One that cannot start it now goes down, or has no memory left."""
    if isinstance(error, Unreachable):
        return error
    return Unreachable(message=error.message, host=error.host, logs=error.logs)

"""A job on a host, followed from the request that starts it to its last event, whatever happens on the way."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from deployer import events
from deployer.errors import BadAnswer, ConfigError, DeployerError, Interrupted, Mixed, Unreachable, lost_before
from deployer.events import Event
from deployer.model import Decide, Decision
from deployer.remote.answers import Aborted
from deployer.remote.inbox import Inbox
from deployer.remote.session import Edit, Outcome, Over, Remote, unchanged
from deployer.ssh import Link
from deployer.wire.advice import NOTHING, run

__all__ = ["Run"]

_IN_FLIGHT = 64 * 1024
"""Bytes that may have arrived though it is not known: when no more than these are left, the host may have begun."""
PATIENCE = 30.0
"""Seconds within which a lost connection must be made again; an attempt that has begun is let end."""
PAUSE = 1.0
MOST_LOSSES = 20


Hear = Callable[[Mapping[str, Any]], None]


def _unheard(event: Mapping[str, Any]) -> None:
    """Nobody listens to the host's own words."""


def _unreported(event: Event) -> None:
    """The reporter of a channel beside the one that is followed."""


class Run:
    """One request that starts a job, or shows one. Use it once.

    ``decide`` is asked when a person presses Ctrl-C while the host is at work; None: the host is left to finish.
    ``by`` is this person, for the records. ``reconnect`` makes a new connection when one is lost. ``hear`` gets each
    event of the host as it came, once; that the job is followed (``following``) after each new connection.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        reconnect: Callable[[], Link],
        decide: Decide | None = None,
        by: str = "",
        hear: Hear = _unheard,
    ) -> None:
        self._remote = remote
        self._reconnect = reconnect
        self._decide = decide
        self._by = by
        self._hear = hear
        self._begun = self._aborted = False
        self._job = ""
        self._told = self._skip = 0
        self._doing = "the deploy is at its start"
        self._links: list[Link] = []

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
        self._begun = length <= _IN_FLIGHT
        try:
            self._remote.send({**message, "offset": offset, "body": length} if body is not None else message)
            if body is not None:
                self._upload(body, offset, length)
            self._begun = True
            return self._follow(edit)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except Unreachable as error:
            raise self._lost(error) from None
        finally:
            for link in self._links:
                link.close()

    def say(self, message: Mapping[str, Any]) -> None:
        """Say something from any thread; that a connection is lost is for the one who follows to notice."""
        with contextlib.suppress(Unreachable):
            self._remote.send(message)

    def drop(self) -> None:
        """Take the connection for lost, from any thread."""
        self._remote.close()

    def _upload(self, body: BinaryIO, offset: int, length: int) -> None:
        def advance(done: int) -> None:
            self._begun = length - done <= _IN_FLIGHT
            total = offset + length
            host = self._remote.host
            self._report(events.Progress(host=host, phase="upload", done=offset + done, total=total, doing="sending"))

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
        inbox = Inbox(self._remote.messages())
        while True:
            with inbox:
                for event in inbox:
                    self._pass_on(event, edit)
                    if event["event"] in ("finished", "answer"):
                        return self._remote.outcome(event)
            self._on_signal(inbox.signal)

    def _pass_on(self, event: dict[str, Any], edit: Edit) -> None:
        if event["event"] == "following":
            self._job, self._skip, self._told = event["job"], max(self._skip, self._told), 0
            self._hear(event)
            return
        if self._job and event["event"] != "holding":
            self._told += 1
            if self._told <= self._skip:
                return  # it was reported before the connection was lost
        self._hear(event)
        if event["event"] == "phase.started":
            self._doing = f"{event.get('release') or 'the deploy'} is at {event.get('phase')}"
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

    def _on_signal(self, number: int) -> None:
        """Raises KeyboardInterrupt when that is what the signal is to mean."""
        if number != signal.SIGINT or self._decide is None or self._aborted:
            raise KeyboardInterrupt
        decision = self._decide(self._doing)
        if decision is Decision.LEAVE:
            raise KeyboardInterrupt
        if decision is Decision.ABORT:
            self._abort()

    def _abort(self) -> None:
        """Tell the host over a second channel: the first one is busy telling how it goes on."""
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
            self._aborted = True
            self._report(events.Note(host=host, text="the host was told to abort; it undoes what it did"))

    def _report(self, event: Event) -> None:
        self._remote.report(event)

    def _interrupted(self) -> Interrupted:
        if not self._begun:
            return Interrupted(
                message="interrupted during the upload",
                state="nothing was touched; what has arrived is kept for the next try",
                next=run("fab deploy", "goes on where it stopped"),
                host=self._remote.host,
            )
        does = "was told to abort, and undoes" if self._aborted else "finishes by itself, or undoes"
        abort = NOTHING if self._aborted else run("fab abort", "ends it")
        return Interrupted(
            message="interrupted here; what runs on the host goes on",
            state=f"the host {does}: what serves is a whole release, the new or the old one",
            next=run("fab attach", "follows it again") + abort + run("fab status"),
            host=self._remote.host,
        )

    def _lost(self, error: Unreachable) -> DeployerError:
        if isinstance(error, BadAnswer):
            return self._not_understood(error)
        if not self._begun:
            return lost_before(error, next=run("fab deploy", "the upload goes on where it stopped"))
        return Mixed(
            message=error.message,
            state="what runs on the host goes on by itself, to a whole release, the new or the old one",
            next=run("fab attach", "follows it again") + run("fab status"),
            host=self._remote.host,
        )

    def _not_understood(self, error: BadAnswer) -> DeployerError:
        """A host that cannot be believed may have done anything with a request that it has."""
        if not self._begun:
            return replace(error, state="nothing was touched")
        state = "what it serves, and whether something runs there, is not known"
        return Mixed(message=error.message, state=state, next=error.next, host=error.host, logs=error.logs)


def _as_loss(error: Unreachable | ConfigError) -> Unreachable:
    """A host that named its job has the program. One that cannot start it now goes down, or has no memory left."""
    if isinstance(error, Unreachable):
        return error
    return Unreachable(message=error.message, host=error.host, logs=error.logs)

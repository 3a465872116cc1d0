"""A thread for each host: it connects, sends what the coordinator has for the host, and follows the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from deployer import events
from deployer.errors import DeployerError, Exit, Interrupted
from deployer.fleet.hosts import HostResult
from deployer.fleet.messages import HostEvent, HostFailed, HostLost, HostMet, HostStopped, Message
from deployer.fleet.recorder import Dismissed, Recorder
from deployer.release.placement import Payload
from deployer.remote.facts import Facts
from deployer.remote.job import Follower
from deployer.remote.session import SIGN, Outcome, Over, Remote
from deployer.remote.site import Site, ask, who
from deployer.ssh.link import Link, connect

__all__ = ["HostWorker", "Plan"]

_SOMETHING = 16 * 1024
"""Bytes that are more than the signs of life of an SSH connection."""
_LONGEST_WHY = 1000
"""Characters of the reason that a host is given for an undo."""

Plan = Callable[[Site, Remote, Facts], "Payload | None"]
"""Makes what goes to a host, in that host's thread; None when there is nothing to do there."""


class HostWorker:
    """The thread of one host. ``tell`` takes its messages; ``room`` bounds how many hosts are prepared at a time.

    The errors of a host that is ``alone`` in its command are not reported: they are raised from :attr:`ended`.
    """

    def __init__(
        self, site: Site, tell: Callable[[Message], None], room: threading.Semaphore, *, alone: bool = False
    ) -> None:
        self.remote: Remote | None = None
        self.follower: Follower | None = None
        """Follows the job; None before its request is made. From then on it must not be silent for long."""
        self.silent_since = time.monotonic()
        self._record = Recorder(site.host, site.report)
        self._site = replace(site, report=self._record)
        self._original = site
        self._tell, self._room, self._has_room, self._alone = tell, room, False, alone
        self._may_ask = threading.Event()
        self._plan: SimpleQueue[Plan | None] = SimpleQueue()
        self._dismissed = False
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._began = time.monotonic()
        self._seconds = 0.0
        self._dropped_at = 0.0
        self._sent = 0
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Start the thread: it connects, and waits for :meth:`ask`."""
        threading.Thread(target=self._work, daemon=True, name=f"host-{self._site.host}").start()

    def ask(self) -> None:
        """Have it ask what the host has, or tell why there is no connection."""
        self._may_ask.set()

    def send(self, plan: Plan) -> None:
        """Send what ``plan`` makes, and follow it to its end."""
        self._plan.put(plan)

    def say(self, message: Mapping[str, Any], *, once: bool = False) -> None:
        """A message to the job: when it is followed, and (unless ``once``) again after each new connection."""
        if self.follower is not None:
            self.follower.say(message, once=once)

    def undo(self, why: str) -> None:
        """Have a job that waits for its fleet undone; where none has begun, none will."""
        self._dismiss()
        self.say({"op": "undo", "by": who(), "why": _in_a_line(why)})

    def drop(self) -> None:
        """Take the connection for lost: once, until something is received again."""
        if self.follower is not None and self._dropped_at != self.silent_since:
            self._dropped_at = self.silent_since
            self.follower.drop()

    def leave(self) -> None:
        """Stop following: what runs on the host goes its own way. Returns at once, and nothing is told of what becomes
        of the connections."""
        self._record.muted = True
        self._dismiss()
        if self.follower is not None:
            self.follower.leave()
        threading.Thread(target=self._hang_up, daemon=True, name="hang-up").start()

    def silence(self, now: float) -> float:
        """Seconds since something was received of the host, or (before its job is followed) went to it."""
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
    def followed(self) -> bool:
        """Its job is followed: messages reach it."""
        return self.follower is not None and self.follower.followed

    @property
    def ended(self) -> HostResult[Outcome]:
        """How the work on this host ended."""
        return HostResult(
            site=self._original,
            value=self._outcome,
            error=self._error,
            failed=self._record.failed,
            seconds=self._seconds,
        )

    def interrupted(self) -> Interrupted | KeyboardInterrupt:
        """What to raise when a person stops the command now."""
        if self.follower is not None:
            return self.follower.interrupted()
        if self.remote is not None and self.remote.touches:
            return KeyboardInterrupt()
        return Interrupted(message="interrupted while connecting", state="nothing was touched", host=self._site.host)

    def fail(self, error: DeployerError | Over) -> DeployerError:
        """End this host's part before its job has begun: the thread ends. The error, which is reported."""
        self._error, self._seconds = error, time.monotonic() - self._began
        self._dismiss()
        if isinstance(error, Over):
            return self._record.refusal(error)
        self._report_end(error)
        return error

    def waited(self, seconds: float, facts: Facts) -> None:
        """Report that it is this command's turn on the host."""
        detail = f"{facts.current} serves now" if facts.current else "nothing serves"
        self._record(events.PhaseDone(host=self._site.host, phase="wait", seconds=seconds, detail=detail))

    def _dismiss(self) -> None:
        with self._lock:
            self._dismissed = True
        self._plan.put(None)
        self._may_ask.set()

    def _hang_up(self) -> None:
        """In a thread: closing a connection that hangs may take for ever."""
        if self.follower is not None:
            self.follower.drop()
        if self.remote is not None:
            self.remote.link.close()

    def _work(self) -> None:
        message = self._last_message()
        self._leave_room()
        self._may_ask.wait()
        if isinstance(message, (HostFailed, HostLost)):
            self._report_end(message.error)
        self._seconds = time.monotonic() - self._began
        self._tell(message)

    def _last_message(self) -> Message:
        host = self._site.host
        try:
            self._outcome = self._do()
            return HostStopped(host=host)
        except BaseException as error:
            self._error = self._error or error
            return self._record.last_message(error, sent=self.follower is not None)

    def _do(self) -> Outcome | None:
        site = self._site
        self._enter_room()
        site.report(events.Connecting(host=site.host))
        with connect(site.target, site.ssh) as link:
            started = time.monotonic() - link.took
            self._may_ask.wait()
            if self._dismissed:
                raise Dismissed
            remote = self.remote = Remote(link, site.config.app, site.report)
            facts = ask(site, remote, started)
            self._leave_room()
            self._tell(HostMet(host=site.host, facts=facts))
            plan = self._await_plan(remote)
            if plan is None:
                raise Dismissed
            self._enter_room(remote)
            payload = plan(site, remote, facts)
            return None if payload is None else self._follow(payload, remote)

    def _await_plan(self, remote: Remote) -> Plan | None:
        while True:
            try:
                return self._plan.get(timeout=SIGN)
            except Empty:
                _give_sign(remote)

    def _follow(self, payload: Payload, remote: Remote) -> Outcome:
        upload = payload.upload
        follower = Follower(
            remote, reconnect=self._connect_again, by=who(), receive=self._receive, uploading=self._check_in
        )
        self.silent_since = time.monotonic()
        with self._lock:
            if self._dismissed:
                raise Dismissed
            self.follower = follower
        outcome = follower.send(
            payload.message,
            body=upload.open_at(payload.offset) if upload is not None else None,
            offset=payload.offset,
            total=upload.delta.length if upload is not None else 0,
            edit=payload.edit,
        )
        if upload is not None and outcome.exit == Exit.BUSY:
            detail = "another deploy began first"
            self._record(events.PhaseSkipped(host=self._site.host, phase="upload", detail=detail))
        return outcome

    def _connect_again(self) -> Link:
        if self._record.muted:
            raise Dismissed
        return connect(self._site.target, self._site.ssh)

    def _check_in(self) -> None:
        """While the upload goes on."""
        self.silent_since = time.monotonic()
        if self._dismissed:
            raise Dismissed

    def _receive(self, event: Mapping[str, Any]) -> None:
        self.silent_since = time.monotonic()
        if event.get("event") in ("ready", "finished"):
            self._leave_room()
        self._tell(HostEvent(host=self._site.host, event=event))

    def _enter_room(self, remote: Remote | None = None) -> None:
        """Wait until few enough are prepared. Raises Dismissed. ``remote`` is a session to keep alive meanwhile."""
        while not self._dismissed:
            self._has_room = self._room.acquire(timeout=SIGN)
            if self._has_room and not self._dismissed:
                return
            if remote is not None and not self._dismissed:
                _give_sign(remote)
        raise Dismissed

    def _leave_room(self) -> None:
        if self._has_room:
            self._has_room = False
            self._room.release()

    def _report_end(self, error: DeployerError) -> None:
        if not self._alone:
            self._record.end(error)


def _give_sign(remote: Remote) -> None:
    """Keep a session alive that waits for its request: the host ends one that is silent. Raises Unreachable."""
    remote.send({"op": "hold"})


def _in_a_line(why: str) -> str:
    """A reason as the host takes it: what a hook printed, say, may have many lines."""
    text = "".join(one if one.isprintable() else " " for one in why)
    return " ".join(text.split())[:_LONGEST_WHY]

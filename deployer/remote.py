"""The laptop's end of a session with the host program: requests out, events in, over one channel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from deployer import events
from deployer.errors import Busy, ConfigError, Exit, Interrupted, Mixed, Unreachable
from deployer.events import Reporter
from deployer.host.manifest import unpack_ids
from deployer.host.protocol import PROGRAM, PROTOCOL, dumps
from deployer.host.spec import Spec
from deployer.ssh import Channel, Link

__all__ = ["Facts", "Outcome", "Over", "Remote"]

_IN_FLIGHT = 64 * 1024
"""Bytes that may have arrived though it is not known: when no more than these are left, the host may have begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host says before anything is sent. ``partials`` are interrupted uploads: bytes there, by digest."""

    current: str
    spec: Spec | None
    busy: Mapping[str, Any] | None
    base_key: str
    base_ids: list[bytes]
    partials: Mapping[str, int]
    free: int
    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a request ended on one host."""

    host: str
    exit: Exit
    release: str
    serving: str


class Remote:
    """One session for one app on one host. Host events go to ``report`` as they come."""

    def __init__(self, link: Link, app: str, report: Reporter) -> None:
        self.link = link
        self.host = link.host
        self.app = app
        self.report = report
        argv = [PROGRAM, "session", app]
        self._begun = False
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
            busy=answer["busy"],
            base_key=base["key"],
            base_ids=unpack_ids(base["ids"]),
            partials=answer["partials"],
            free=answer["free"],
            program=answer["program"],
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

    def refuse_if_busy(self, facts: Facts) -> None:
        """Raises Busy saying who deploys, since when and at which phase."""
        if facts.busy is None:
            return
        job = facts.busy
        since = time.strftime("%H:%M:%S", time.localtime(job["since"]))
        raise Busy(
            message=f"busy: a {job['kind'] or 'deploy'} by {job['by'] or 'someone'} runs since {since}, "
            f"at {job['phase'] or 'its start'}",
            state="nothing was touched",
            next="fab attach   (follows it)",
            host=self.host,
        )

    def query(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one question; its answer."""
        self._send(message)
        for event in self._messages():
            if event["event"] == "answer":
                return event
            self._pass_on(event)
            if event["event"] == "finished":
                raise Over(self._outcome(event))
        raise AssertionError("unreachable")

    def run(
        self,
        message: Mapping[str, Any],
        *,
        body: BinaryIO | None = None,
        offset: int = 0,
        total: int = 0,
        edit: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda event: event,
    ) -> Outcome:
        """Send a request, its body if any, and follow the host's events to the last. ``edit`` may change or drop one.

        Ctrl-C and a lost connection are told by whether the host has begun, which it does when it has all of it.
        """
        length = total - offset if body is not None else 0
        self._begun = length <= _IN_FLIGHT
        try:
            self._send({**message, "offset": offset, "body": length} if body is not None else message)
            if body is not None:
                self._upload(body, offset, length)
            self._begun = True
            return self._follow(edit)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except Unreachable as error:
            raise self._lost(error) from None

    def read(self, message: Mapping[str, Any]) -> Outcome:
        """Ask for something that only tells, and goes on until it ends or Ctrl-C ends it."""
        try:
            self._send(message)
            return self._follow(lambda event: event)
        except KeyboardInterrupt:
            return Outcome(host=self.host, exit=Exit.INTERRUPTED, release="", serving="")

    def _upload(self, body: BinaryIO, offset: int, length: int) -> None:
        def advance(done: int) -> None:
            self._begun = length - done <= _IN_FLIGHT
            total = offset + length
            self.report(events.Progress(host=self.host, phase="upload", done=offset + done, total=total))

        try:
            self._channel.write_file(body, length, advance)
        except BrokenPipeError:
            return  # the host has refused; its events say why

    def _follow(self, edit: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Outcome:
        for event in self._messages():
            edited = edit(event)
            if edited is not None:
                self._pass_on(edited)
            if event["event"] in ("finished", "answer"):
                return self._outcome(event)
        raise AssertionError("unreachable")

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.write(dumps(dict(message)))
        except BrokenPipeError:
            return  # what the host said before it went is still to be read

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            line = self._channel.readline()
            if not line:
                raise self._ended()
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a login banner or a shell's greeting
            if isinstance(message, dict) and "event" in message:
                yield message

    def _pass_on(self, message: Mapping[str, Any]) -> None:
        event = events.parse(message, self.host)
        if event is not None:
            self.report(event)

    def _outcome(self, event: Mapping[str, Any]) -> Outcome:
        return Outcome(
            host=self.host,
            exit=Exit(int(event.get("exit", 0))),
            release=str(event.get("release", "")),
            serving=str(event.get("serving", "")),
        )

    def _ended(self) -> Exception:
        """The program ended without a last word: nearly always because it could not be started."""
        status = self._channel.exit_status(10)
        said = self._channel.stderr.decode("utf-8", "replace").strip().splitlines()
        host = _bare(self.host)
        return ConfigError(
            message=f"{self.link.user}@{host} could not start the host program for {self.app} (exit status {status})",
            state="nothing was touched",
            next=f"fab setup -H root@{host}   (once for each host and app, and after an upgrade of deployer)",
            host=self.host,
            logs=said[-10:],
        )

    def _interrupted(self) -> Interrupted:
        if self._begun:
            return Interrupted(
                message="interrupted here; what runs on the host goes on",
                state="the host finishes by itself, or undoes: what serves is a whole release, the new or the old one",
                next="fab attach   (follows it again), or fab status",
                host=self.host,
            )
        return Interrupted(
            message="interrupted during the upload",
            state="nothing was touched; what has arrived is kept for the next try",
            next="fab deploy   (goes on where it stopped)",
            host=self.host,
        )

    def _lost(self, error: Unreachable) -> Exception:
        if self._begun:
            return Mixed(
                message=error.message,
                state="what runs on the host goes on by itself, to a whole release, the new or the old one",
                next="fab attach   (follows it again), or fab status",
                host=self.host,
            )
        return replace_error(
            error, state="nothing was touched", next="fab deploy   (the upload goes on where it stopped)"
        )


class Over(Exception):
    """A question was answered by a refusal; everything was reported."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.exit)
        self.outcome = outcome


def replace_error(error: Unreachable, *, state: str, next: str) -> Unreachable:
    """The same error with another state and next step."""
    return replace(error, state=error.state or state, next=error.next or next)


def _bare(host: str) -> str:
    return host.rpartition("@")[2]

"""The events of one session, read line by line: after whatever the login prints, until the host program ends."""

from __future__ import annotations

import json
from typing import Any

from deployer.errors import BadAnswer, DeployerError, Unreachable
from deployer.remote import decode, startup
from deployer.remote.startup import MOST_NOISE, Attempted
from deployer.ssh.channel import Channel, LongLineError
from deployer.ssh.link import Link

__all__ = ["Broken", "EventStream"]

_BEGIN = b'{"event":'
"""How an event begins."""


class Broken(Unreachable):
    """The host program ended, or says nothing more, though it had begun to answer."""


class EventStream:
    """What a host says on ``channel``. What a login prints before the first event explains a failed start."""

    def __init__(self, link: Link, app: str, channel: Channel) -> None:
        self._link, self._app, self._channel = link, app, channel
        self._host = link.host
        self._answered = False
        self._noise = bytearray()

    def next(self, deadline: float | None, limit: float) -> dict[str, Any]:
        """The next event. ``deadline`` is on the monotonic clock, ``limit`` the seconds that led to it, for the error.

        Raises Unreachable at the deadline or when there is no more, ConfigError when the program cannot be started,
        BadAnswer for what a host never says.
        """
        while True:
            message = self._read(deadline, limit)
            if message is not None:
                self._answered = True
                return message

    def _read(self, deadline: float | None, limit: float) -> dict[str, Any] | None:
        try:
            if not self._answered:  # what a login prints may be long, and have no end of line
                self._noise += self._channel.skip(_BEGIN, deadline, MOST_NOISE - len(self._noise))
            line = self._channel.readline(deadline)
        except TimeoutError:
            raise self._silent(limit) from None
        except LongLineError as error:
            raise startup.endless_noise(self._link, self._app, error.begin) from None
        if not line:
            raise self._ended()
        try:
            message = decode.event(line, self._host, begun=self._answered)
        except BadAnswer:
            if self._answered or bytes(self._noise[-1:]) in (b"", b"\n") or _is_json(line):
                raise
            message = None  # a login may print anything
        self._noise += b"" if message or self._answered else line
        return message

    def _silent(self, limit: float) -> DeployerError:
        if self._answered:
            return Broken(message=f"{self._host} has not answered within {limit:g} s", host=self._host)
        return startup.silent(self._link, self._app, self._attempted(-1), limit)

    def _ended(self) -> Exception:
        """The program ended early. Before its first event, the usual cause is that it could not be started."""
        status = self._channel.exit_status(10)
        attempted = self._attempted(status)
        if self._answered:
            message = f"the host program at {self._host} ended without a last word (exit status {status})"
            return Broken(message=message, host=self._host, logs=attempted.lines)
        return startup.not_started(self._link, self._app, attempted)

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

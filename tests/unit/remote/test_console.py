"""A command on a host, as the laptop sees it: how much input is sent, which bytes are believed, what a loss leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from deployer import events
from deployer.errors import BadAnswer, Unreachable
from deployer.remote import answers
from deployer.remote.console import Command, Console
from deployer.wire.release.command import AHEAD, FRAME

PATIENCE = 30
TERMINAL = {"term": "xterm", "rows": 24, "columns": 80, "locale": {}}


class Host:
    """Stands in for a session: what was sent to it, and what it says, one message at a time."""

    host = "deploy@web1"

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.reported: list[events.Event] = []
        self.report = self.reported.append
        self.said: list[Mapping[str, Any] | Exception] = []
        self.more = threading.Condition()

    def say(self, *messages: Mapping[str, Any] | Exception) -> None:
        with self.more:
            self.said += messages
            self.more.notify_all()

    def send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        assert message.get("length", 0) == len(body)
        self.sent.append(message)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        yield

    def query(self, message: Mapping[str, Any], _: type, *, limit: None, listener: Console) -> answers.Run:
        assert limit is None
        self.send(message)
        listener.asked()
        for one in self._messages():
            if isinstance(one, Exception):
                raise one
            if one["event"] == "answer":
                return answers.Run(status=one["status"])
            assert listener.hear(one) is (one["event"] != "output")
        raise AssertionError

    def _messages(self) -> Iterator[Mapping[str, Any] | Exception]:
        while True:
            with self.more:
                assert self.more.wait_for(lambda: bool(self.said), PATIENCE)
                one = self.said.pop(0)
            yield one


@pytest.fixture
def host() -> Host:
    return Host()


def console(host: Host, **options: Any) -> Console:
    return Console(host, Command(argv=["cat"], **options))  # type: ignore[arg-type]


def test_no_more_is_sent_ahead_than_a_host_keeps(host: Host) -> None:
    """It waits until some is taken, and no longer than the command lives."""
    one = console(host, takes_input=True)
    ended = threading.Thread(target=one.run)
    ended.start()
    given: list[bool] = []
    feeder = threading.Thread(target=lambda: given.extend(one.give(b"x" * FRAME) for _ in range(50)))
    feeder.start()
    most = AHEAD // FRAME
    while len(given) < most:
        feeder.join(0.01)
    feeder.join(0.2)
    assert len(given) == most
    host.say({"event": "taken", "bytes": FRAME})
    while len(given) < most + 1:
        feeder.join(0.01)
    feeder.join(0.2)
    assert len(given) == most + 1
    host.say({"event": "answer", "status": 0})
    feeder.join(PATIENCE)
    ended.join(PATIENCE)
    assert given[: most + 1] == [True] * (most + 1)
    assert not any(given[most + 1 :])
    sent = len(host.sent)
    one.end_input()
    one.resize(1, 1)
    assert len(host.sent) == sent


@pytest.mark.parametrize("options", [{"raw": True}, {"terminal": TERMINAL}])
def test_bytes_are_shown_where_they_were_asked_for(host: Host, options: dict[str, Any]) -> None:
    """With a terminal, or for a file."""
    host.say({"event": "data", "data": b"\x1b[2J"}, {"event": "answer", "status": 7})
    assert console(host, **options).run().status == 7
    assert host.reported == [events.Data(host=host.host, data=b"\x1b[2J")]


def test_bytes_that_nobody_asked_for_never_reach_the_terminal(host: Host) -> None:
    """A host that is somebody else's by now could have the terminal do anything."""
    host.say({"event": "data", "data": b"\x1b]0;evil\x07"})
    with pytest.raises(BadAnswer):
        console(host).run()
    assert host.reported == []


def test_a_lost_connection_tells_what_becomes_of_the_command(host: Host) -> None:
    """It is ended by the host, within a known time."""
    host.say(Unreachable(message="the connection to web1 was lost", host="web1"))
    with pytest.raises(Unreachable) as caught:
        console(host).run()
    assert caught.value.state == "the command may have run; when it still does, the host ends it within 70 s"

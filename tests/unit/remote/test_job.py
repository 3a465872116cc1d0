"""A job is followed to its end: through Ctrl-C, a lost connection, and the deploy of somebody else."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from deployer import events
from deployer.commands.release import attach
from deployer.config import Config
from deployer.errors import Busy, ConfigError, Exit, Interrupted, Mixed, Unreachable
from deployer.fleet import worker
from deployer.fleet.hosts import Fleet
from deployer.fleet.release import release
from deployer.release.placement import Payload, Placement
from deployer.remote import job
from deployer.remote.answers import Job, Nothing
from deployer.remote.decision import Decision
from deployer.remote.facts import Facts
from deployer.remote.job import Follower
from deployer.remote.session import Outcome, Over, Remote
from deployer.remote.site import Site, who
from deployer.rollout import Strategy
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.advice import Next
from deployer.wire.protocol import PROTOCOL

Item = dict[str, Any] | Callable[[], None] | BaseException
HOST = "deploy@web1"
LOST = Unreachable(message=f"the connection to {HOST} was lost", host=HOST)
FACTS = {
    "event": "answer", "protocol": PROTOCOL, "next": 2, "target": "", "usable": {},
    "program": "", "app": "shop", "current": "v1", "spec": None, "busy": None,
    "base": {"key": "", "digest": "", "altered": "", "ids": ""}, "partials": {}, "free": 1,
}  # fmt: skip
BUSY = {"by": "ada@laptop", "kind": "deploy", "since": 1.0, "phase": "build", "job": "7"}
UNTOLD = (events.Connecting, events.Connected, events.Warn)
FOLLOWING = {"event": "following", "at": 0.9, "job": "00000007"}
STARTED = {"event": "phase.started", "at": 1.0, "phase": "build", "release": "v2", "detail": ""}
SAID = {"event": "output", "at": 2.0, "phase": "build", "line": "x"}
DONE = {"event": "phase.done", "at": 3.0, "phase": "build", "release": "v2", "seconds": 1.0, "detail": ""}
FINISHED = {
    "event": "finished",
    "at": 4.0,
    "exit": 0,
    "release": "v2",
    "serving": "v2",
    "seconds": 3.0,
    "summary": "v2",
}
ABORTED = {**FINISHED, "exit": 5, "serving": "v1", "summary": "aborted"}
WAITING = {"event": "waiting", "by": "ada@laptop", "kind": "deploy", "since": 1.0, "phase": "build", "ahead": 0}


def refusal(exit: int) -> list[Item]:
    failed = {"event": "failed", "exit": exit, "message": "no", "state": "", "next": "", "logs": []}
    return [failed, {**ABORTED, "exit": exit, "summary": "no"}]


class FakeChannel:
    """Says what it was given, one item after the other; what is no event is done or raised when its turn comes."""

    def __init__(self, *items: Item) -> None:
        self.items = list(items)
        self.sent: list[dict[str, Any]] = []
        self.stderr = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    unread = b""

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        return b""

    def readline(self, deadline: float | None = None) -> bytes:
        while self.items:
            item = self.items.pop(0)
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, dict):
                return json.dumps(item).encode() + b"\n"
            item()
        return b""

    def exit_status(self, timeout: float | None = None) -> int:
        return 1

    def close_stdin(self) -> None: ...

    def __enter__(self) -> FakeChannel:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        self.closed = True


class LookingAround(FakeChannel):
    """A host on which all is as it should be."""

    unread = b""

    def skip(self, to: bytes, deadline: float | None, most: int) -> bytes:
        return b""

    def readline(self, deadline: float | None = None) -> bytes:
        text = "deployer-looks-around\npython=1\nsudo=1\nprogram=1\napp=1\nuser=deploy\nallowed=1\nover=1\n"
        lines = text.encode().splitlines(keepends=True)
        self.place = getattr(self, "place", -1) + 1
        return lines[self.place] if self.place < len(lines) else b""


class FakeLink:
    """A connection whose programs are ``channels``, in their order."""

    took = 0.0
    bytes_up = 0

    def __enter__(self) -> FakeLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __init__(self, *channels: FakeChannel) -> None:
        self.host, self.user, self.is_root, self.by_hand = HOST, "deploy", False, f"ssh {HOST}"
        self.channels = list(channels)
        self.closed = False

    def open(self, argv: Sequence[str], *, terminal: bool = False) -> FakeChannel:
        return LookingAround() if argv[0] == "sh" else self.channels.pop(0)

    def close(self) -> None:
        self.closed = True


class Following:
    """A Follower on fake connections; ``heard`` are the events that were reported."""

    def __init__(self, *channels: FakeChannel, later: Sequence[FakeLink | Exception] = ()) -> None:
        self.heard: list[events.Event] = []
        self.later = list(later)
        self.reconnected = 0
        self.remote = Remote(FakeLink(*channels), "shop", self.heard.append)  # type: ignore[arg-type]
        self.run = Follower(self.remote, reconnect=self._connect, by="me@here")

    def _connect(self) -> Any:
        self.reconnected += 1
        link = self.later.pop(0)
        if isinstance(link, Exception):
            raise link
        return link

    def send(self, **options: Any) -> Outcome:
        return self.run.send({"op": "release"}, **options)

    def names(self) -> list[str]:
        return [events.NAMES[type(event)] for event in self.heard]

    def text(self) -> str:
        return "\n".join(event.text for event in self.heard if isinstance(event, (events.Note, events.Warn)))


class Alone:
    """A release on one host, whose connections are ``links``; ``heard`` are the events that were reported.

    ``made`` are the facts by which each request was made.
    """

    again = "fab deploy"

    def __init__(
        self, *channels: FakeChannel, decide: Callable[[str], Decision] | None = None, later: Sequence[FakeLink] = ()
    ) -> None:
        self.heard: list[events.Event] = []
        self.made: list[Facts] = []
        self.links = [FakeLink(*channels), *later]
        self.decide = decide

    def report(self, event: events.Event) -> None:
        self.heard.append(event)

    def release(self, *, wait: bool = False) -> int:
        config = Config(app="shop")
        site = Site(root=Path(), config=config, target=Target.parse(HOST), ssh=SshOptions(), report=self.report)
        fleet = Fleet(sites=(site,), config=config, report=self.report, decide=self.decide)
        with patch.object(worker, "connect", lambda *_: self.links.pop(0)):
            return release(fleet, lambda: self, strategy=Strategy(), wait=wait)

    def agree(self, facts: Mapping[str, Facts]) -> None:
        assert list(facts) == [HOST]

    def migrator(self, hosts: Sequence[str], /) -> str:
        raise AssertionError(f"one host needs no migrator: {hosts}")

    def payload(self, site: Site, facts: Facts, placement: Placement) -> Payload:
        assert placement == Placement()
        self.made.append(facts)
        return Payload(message={"op": "release"})

    def names(self) -> list[str]:
        """What was reported of the job, without the coming and going of connections."""
        return [events.NAMES[type(event)] for event in self.heard if not isinstance(event, UNTOLD)]

    def text(self) -> str:
        return "\n".join(event.text for event in self.heard if isinstance(event, (events.Note, events.Warn)))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "PAUSE", 0)
    monkeypatch.setattr(job, "PATIENCE", 0)


# A lost connection


def test_a_lost_connection_is_made_again_and_nothing_is_told_twice() -> None:
    """The job's events are told from the first on again; those that were heard are passed over, the others are not."""
    again = FakeChannel(FOLLOWING, STARTED, SAID, DONE, FINISHED)
    link = FakeLink(again)
    following = Following(FakeChannel(FOLLOWING, STARTED, SAID, LOST), later=[link])
    assert following.send().exit == Exit.OK
    assert following.names() == ["phase.started", "output", "warn", "note", "phase.done", "finished"]
    assert again.sent == [{"op": "attach", "job": "00000007"}]
    assert link.closed


def test_what_a_session_says_before_a_job_does_not_confuse_it() -> None:
    """A warning of the session itself is no event of the job: it is not told again when one attaches."""
    warning = {"event": "warn", "at": 0.5, "text": "2 migrations"}
    following = Following(
        FakeChannel(warning, FOLLOWING, STARTED, LOST), later=[FakeLink(FakeChannel(FOLLOWING, STARTED, FINISHED))]
    )
    assert following.send().exit == Exit.OK


def test_the_end_is_told_though_a_session_spoke_before_it() -> None:
    """What it says of the site after the job's own events, and what the job says last, are two things."""
    site = {"event": "warn", "at": 3.5, "text": "visitors may not reach it"}
    following = Following(
        FakeChannel(FOLLOWING, STARTED, site, LOST), later=[FakeLink(FakeChannel(FOLLOWING, STARTED, FINISHED))]
    )
    assert following.send().exit == Exit.OK
    assert following.names()[-1] == "finished"


def test_a_host_program_that_is_killed_is_attached_to_again() -> None:
    """That the far end of the channel ended without a last word is a loss like another."""
    following = Following(FakeChannel(FOLLOWING, STARTED), later=[FakeLink(FakeChannel(FOLLOWING, STARTED, FINISHED))])
    assert following.send().exit == Exit.OK
    assert "ended without a last word" in following.text()


def test_a_program_that_never_spoke_was_not_set_up() -> None:
    """A channel that ends before its first word is explained by what it needs: fab setup."""
    with pytest.raises(ConfigError, match="could not start the host program"):
        Following(FakeChannel()).remote.ask()


def test_it_is_tried_again_until_patience_ends() -> None:
    """A host that stays away is given up: not known how it ended, and the host goes on by itself."""
    following = Following(FakeChannel(FOLLOWING, STARTED, LOST), later=[LOST, LOST])
    with pytest.raises(Mixed, match="was lost, and could not be made again") as caught:
        following.send()
    assert "goes on by itself" in caught.value.state
    assert str(caught.value.next).startswith("fab attach")


def test_several_losses_are_survived() -> None:
    """A connection that breaks again and again delays, and neither loses nor repeats an event."""
    links = [
        FakeLink(FakeChannel(FOLLOWING, STARTED, SAID, LOST)),
        FakeLink(FakeChannel(FOLLOWING, STARTED, SAID, DONE, FINISHED)),
    ]
    following = Following(FakeChannel(FOLLOWING, STARTED, LOST), later=links)
    assert following.send().exit == Exit.OK
    told = [name for name in following.names() if name not in ("warn", "note")]
    assert told == ["phase.started", "output", "phase.done", "finished"]


def test_a_second_loss_while_it_is_told_again_repeats_nothing() -> None:
    """What was told before the first loss stays told, however little of it came before the second."""
    links = [
        FakeLink(FakeChannel(FOLLOWING, STARTED, LOST)),
        FakeLink(FakeChannel(FOLLOWING, STARTED, SAID, DONE, FINISHED)),
    ]
    following = Following(FakeChannel(FOLLOWING, STARTED, SAID, LOST), later=links)
    assert following.send().exit == Exit.OK
    told = [name for name in following.names() if name not in ("warn", "note")]
    assert told == ["phase.started", "output", "phase.done", "finished"]


def test_a_host_that_cannot_start_the_program_now_is_asked_again() -> None:
    """It named the job, so it has the program: it goes down, or is short of memory. Nothing was refused."""
    links = [FakeLink(FakeChannel()), FakeLink(FakeChannel(FOLLOWING, STARTED, FINISHED))]
    following = Following(FakeChannel(FOLLOWING, STARTED, LOST), later=links)
    assert following.send().exit == Exit.OK


def test_a_host_that_never_starts_the_program_again_is_lost_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs there goes on by itself: nobody says that nothing was touched."""
    monkeypatch.setattr(job, "MOST_LOSSES", 2)
    links = [FakeLink(FakeChannel()) for _ in range(2)]
    with pytest.raises(Mixed, match="could not start the host program"):
        Following(FakeChannel(FOLLOWING, STARTED, LOST), later=links).send()


def test_what_is_said_while_a_connection_is_made_does_not_come_before_the_attach() -> None:
    """The first request of a session says what it is for; another thread's word must not be that."""
    again = FakeChannel(FOLLOWING, FINISHED)
    following = Following(FakeChannel(FOLLOWING, STARTED, LOST), later=[FakeLink(again)])
    write = again.write

    def interrupted(data: bytes) -> None:
        if not again.sent:
            following.run.say({"op": "hold"})  # as another thread would, at the worst moment
        write(data)

    again.write = interrupted  # type: ignore[method-assign]
    assert following.send().exit == Exit.OK
    assert [message["op"] for message in again.sent] == ["attach"]


def test_before_the_host_has_named_the_job_nothing_is_followed() -> None:
    """Whether the host ever began is not known then: what it would tell could be an older deploy."""
    warning = {"event": "warn", "at": 0.5, "text": "2 migrations"}
    following = Following(FakeChannel(warning, LOST), later=[FakeLink(FakeChannel(FOLLOWING, FINISHED))])
    with pytest.raises(Mixed):
        following.send()
    assert following.reconnected == 0


def test_a_job_that_is_gone_is_a_failure() -> None:
    """What the host says when it is asked for a job it no longer knows is reported, and ends the command."""
    following = Following(FakeChannel(FOLLOWING, STARTED, LOST), later=[FakeLink(FakeChannel(*refusal(2)))])
    assert following.send().exit == Exit.USAGE


def test_a_refusal_before_any_job_is_reported() -> None:
    """What the session itself says, a warning or why it refuses, needs no job to be told."""
    warning = {"event": "warn", "at": 0.5, "text": "2 migrations"}
    following = Following(FakeChannel(warning, *refusal(2)))
    assert following.send().exit == Exit.USAGE
    assert following.names() == ["warn", "failed", "finished"]


# Ctrl-C


def press(number: int = signal.SIGINT) -> None:
    """Ctrl-C, at this point of what the host says."""
    os.kill(os.getpid(), number)


class Person:
    """Answers what Ctrl-C is to mean; the host says no more until that was asked."""

    def __init__(self, *answers: Decision) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.turn = threading.Event()

    def __call__(self, doing: str) -> Decision:
        self.asked.append(doing)
        self.turn.set()
        return self.answers.pop(0)

    def wait(self) -> None:
        assert self.turn.wait(30)


@pytest.fixture
def quiet() -> Iterator[threading.Event]:
    """A host that says nothing more, until the test is over."""
    over = threading.Event()
    yield over
    over.set()


def silence(over: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        over.wait(60)

    return wait


def test_leaving_lets_the_host_finish(quiet: threading.Event) -> None:
    """The question says what the host is at; who leaves is told how to follow it again, and how to end it."""
    person = Person(Decision.LEAVE)
    with pytest.raises(Interrupted) as caught:
        Alone(FakeChannel(FACTS, FOLLOWING, STARTED, press, silence(quiet)), decide=person).release()
    assert person.asked == ["v2 is at build"]
    assert "finishes by itself" in caught.value.state
    assert str(caught.value.next).startswith("fab attach") and "fab abort" in str(caught.value.next)


def test_aborting_is_told_over_a_second_channel_and_the_end_is_followed() -> None:
    """The first channel goes on telling; the exit code is the deploy's own."""
    person = Person(Decision.ABORT)
    told = threading.Event()
    second = FakeChannel(told.set, {"event": "answer", "job": BUSY})
    alone = Alone(FakeChannel(FACTS, FOLLOWING, STARTED, press, silence(told), ABORTED), second, decide=person)
    assert alone.release() == Exit.REFUSED
    assert second.sent == [{"op": "abort", "by": who(), "job": "00000007"}]
    assert second.closed
    assert "told to abort" in alone.text()


def test_a_deploy_that_ended_meanwhile_is_followed_to_its_end() -> None:
    """When ours ended while one was asked, the host aborts nobody else's: that is told, and is no failure."""
    person = Person(Decision.ABORT)
    alone = Alone(
        FakeChannel(FACTS, FOLLOWING, STARTED, press, person.wait, FINISHED), FakeChannel(*refusal(2)), decide=person
    )
    assert alone.release() == Exit.OK
    assert "failed" not in alone.names()
    assert "too late to abort" in alone.text()


def test_an_abort_that_cannot_be_told_is_said_so() -> None:
    """The deploy is followed on, and one may press again."""
    person = Person(Decision.ABORT, Decision.FOLLOW)
    again = threading.Event()
    alone = Alone(
        FakeChannel(FACTS, FOLLOWING, STARTED, press, person.wait, FINISHED), FakeChannel(LOST), decide=person
    )
    again.set()
    assert alone.release() == Exit.OK
    assert "could not be told to abort" in alone.text()


def test_alone_on_goes_on() -> None:
    """Not one event is lost by it, and one may press Ctrl-C again."""
    person = Person(Decision.FOLLOW, Decision.FOLLOW)
    alone = Alone(FakeChannel(FACTS, FOLLOWING, STARTED, press, person.wait, SAID, DONE, FINISHED), decide=person)
    assert alone.release() == Exit.OK
    assert alone.names() == ["phase.started", "output", "phase.done", "finished"]


def test_after_an_abort_ctrl_c_leaves(quiet: threading.Event) -> None:
    """What there was to decide is decided: the second Ctrl-C only ends the alone."""
    person = Person(Decision.ABORT)
    told = threading.Event()
    second = FakeChannel({"event": "answer", "job": BUSY}, told.set)

    def press_again() -> None:
        assert heard.wait(30)
        press()

    heard = threading.Event()
    alone = Alone(FakeChannel(FACTS, FOLLOWING, STARTED, press, press_again, silence(quiet)), second, decide=person)
    alone.report = lambda event: heard.set() if isinstance(event, events.Note) else None  # type: ignore[assignment]
    with pytest.raises(Interrupted) as caught:
        alone.release()
    assert len(person.asked) == 1
    assert "was told to abort" in caught.value.state


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nobody_can_be_asked_the_host_finishes(quiet: threading.Event, number: int) -> None:
    """Not in a terminal, and at SIGTERM anywhere: one explanation, exit 130, and the host is left alone."""
    person = Person(Decision.ABORT) if number == signal.SIGTERM else None
    channel = FakeChannel(FACTS, FOLLOWING, STARTED, lambda: press(number), silence(quiet))
    with pytest.raises(Interrupted) as caught:
        Alone(channel, decide=person).release()
    assert caught.value.exit == 130
    assert "finishes by itself" in caught.value.state
    assert [message["op"] for message in channel.sent] == ["ask", "release"]


def test_the_signals_are_left_as_they_were() -> None:
    """After alone, Ctrl-C does what it did before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    Alone(FakeChannel(FACTS, FOLLOWING, STARTED, FINISHED)).release()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# Waiting for the deploy of somebody else


def test_who_does_not_wait_is_told_who_is_at_it_and_how_to_wait() -> None:
    """Exit 4: who deploys, and the two things that one can do; a single host's error is raised, and not reported."""
    alone = Alone(FakeChannel({**FACTS, "busy": BUSY}))
    with pytest.raises(Busy, match=r"busy: a deploy by ada@laptop runs since .*, at build") as caught:
        alone.release()
    assert str(caught.value.next) == "fab attach   (follows it)\nfab deploy --wait   (waits for its turn)"
    assert not alone.made and alone.names() == []


@pytest.mark.parametrize("wait", [False, True])
def test_an_idle_host_keeps_nobody_waiting(wait: bool) -> None:
    """With or without --wait, where nobody is at work there is no exchange but the question and the release."""
    channel = FakeChannel(FACTS, FOLLOWING, FINISHED)
    assert Alone(channel).release(wait=wait) == Exit.OK
    assert [message["op"] for message in channel.sent] == ["ask", "release"]


def test_who_waits_goes_by_what_the_host_says_afterwards() -> None:
    """Who is waited for is shown; then all is asked anew, as the deploy before has changed it."""
    channel = FakeChannel(
        {**FACTS, "busy": BUSY}, WAITING, {"event": "answer"}, {**FACTS, "current": "v2"}, FOLLOWING, FINISHED
    )
    alone = Alone(channel)
    assert alone.release(wait=True) == Exit.OK
    assert [message["op"] for message in channel.sent] == ["ask", "wait", "ask", "release"]
    assert alone.names() == ["waiting", "phase.done", "finished"]
    assert alone.made[0].current == "v2"


def test_who_was_not_quick_enough_waits_again() -> None:
    """Somebody who begins between the answer and the upload is waited for, too: that is no failure."""
    second = FakeChannel({**FACTS, "busy": BUSY}, WAITING, {"event": "answer"}, FACTS, FOLLOWING, FINISHED)
    alone = Alone(FakeChannel(FACTS, *refusal(4)), later=[FakeLink(second)])
    assert alone.release(wait=True) == Exit.OK
    assert [message["op"] for message in second.sent] == ["ask", "wait", "ask", "release"]
    assert alone.names() == ["note", "waiting", "phase.done", "finished"]


def test_leaving_the_queue_touches_nothing() -> None:
    """Ctrl-C, and a lost connection, before our turn: nothing has begun."""
    with pytest.raises(Interrupted) as interrupted:
        Alone(FakeChannel({**FACTS, "busy": BUSY}, WAITING, KeyboardInterrupt())).release(wait=True)
    with pytest.raises(Unreachable) as lost:
        Alone(FakeChannel({**FACTS, "busy": BUSY}, WAITING, LOST)).release(wait=True)
    for error in (interrupted.value, lost.value):
        assert (error.state, str(error.next)) == ("nothing was touched", "fab deploy --wait")


def test_a_host_that_refuses_a_question_ends_the_command() -> None:
    """What an old host program says is told once; its refusal has the exit code."""
    alone = Alone(FakeChannel({**FACTS, "busy": BUSY}, *refusal(2)))
    with pytest.raises(Over) as caught:
        alone.release(wait=True)
    assert caught.value.outcome.exit == Exit.USAGE
    assert alone.names() == ["failed", "finished"]


# What is told of a job


def test_a_job_reads_as_who_when_and_where() -> None:
    """What a host recovers by itself has nobody's name; what is not known is left out."""
    assert str(Job()) == "a deploy by someone runs, at its start"
    recovering = Job(kind="recover", phase="watch")
    assert str(recovering) == "the host is finishing an interrupted deploy, at watch"


@pytest.mark.parametrize(
    ("exit", "summary"),
    [
        (5, "aborted: v1 serves"),
        (6, "aborted: v1 serves"),
        (0, "too late to abort: it had been found good; v1 serves"),
    ],
)
def test_to_one_who_aborted_it_the_end_is_no_failure(exit: int, summary: str) -> None:
    """What failed is a note, the last event is a success, and an abort that came too late says so."""
    failed = {"event": "failed", "exit": exit, "message": "aborted by me", "state": "v1 serves"}
    if exit:
        assert attach._as_wanted(failed)["text"] == "aborted by me; v1 serves"
    ended = attach._as_wanted({**ABORTED, "exit": exit})
    assert (ended["exit"], ended["summary"]) == (0, summary)


def test_an_end_that_is_not_known_stays_a_failure() -> None:
    """Exit 7 is what it was."""
    for event in ({**ABORTED, "exit": 7}, {"event": "failed", "exit": 7, "message": "m"}):
        assert attach._as_wanted(event) == event


# when the host may have begun


class Cut(FakeChannel):
    """The connection is lost when so many bytes of the body are gone; with ``at`` < 0 when the request is sent."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def write(self, data: bytes) -> None:
        if self.at < 0:
            raise LOST
        super().write(data)

    def write_file(self, stream: Any, length: int, progress: Callable[[int], None]) -> None:
        progress(self.at)
        if self.at < length:
            raise LOST

    def readline(self, deadline: float | None = None) -> bytes:
        raise LOST


LENGTH = 200_000


@pytest.mark.parametrize(
    ("at", "begun"),
    [(0, False), (LENGTH - 65_537, False), (LENGTH - 65_536, True), (LENGTH - 1, True), (LENGTH, True)],
)
def test_a_host_that_may_have_all_may_have_begun(at: int, begun: bool) -> None:
    """What was on its way when the connection was lost may have arrived: then nobody says that nothing was touched."""
    link: Any = FakeLink(Cut(at))
    run = Follower(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
    body: Any = object()
    with pytest.raises(Mixed if begun else Unreachable) as caught:
        run.send({"op": "release"}, body=body, total=LENGTH)
    assert ("nothing was touched" in caught.value.state) is not begun


@pytest.mark.parametrize("at", [-1, 0])
def test_a_request_without_a_body_may_have_begun_as_soon_as_it_is_sent(at: int) -> None:
    """A reload is one line, and that may have arrived."""
    link: Any = FakeLink(Cut(at))
    run = Follower(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
    with pytest.raises(Mixed):
        run.send({"op": "release"})


def test_a_host_that_was_sent_all_and_stops_reading_may_have_begun() -> None:
    """The end of a body is not always told to be gone: it has all of it once sending has ended."""

    class Broken(Cut):
        def write_file(self, stream: Any, length: int, progress: Callable[[int], None]) -> None:
            raise BrokenPipeError

    link: Any = FakeLink(Broken(0))
    run = Follower(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
    body: Any = object()
    with pytest.raises(Mixed):
        run.send({"op": "release"}, body=body, total=LENGTH)


@pytest.mark.parametrize("op", ["ask", "status", "abort"])
@pytest.mark.parametrize("said", [{"event": "facts"}, {"event": "failed", "exit": 5, "message": "no"}])
def test_a_session_that_breaks_before_its_answer_says_what_is_known(op: str, said: dict[str, Any]) -> None:
    """Whether anything was touched is told by the question; what to type is there in any case."""
    remote = Remote(FakeLink(FakeChannel(said)), "shop", lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="without a last word") as caught:
        remote.ask() if op == "ask" else remote.query({"op": op}, Nothing)
    known = "what web1 makes of it is not known" if op == "abort" else "nothing was touched"
    assert caught.value.state == known
    assert Next.of(caught.value.next).commands == (f"fab doctor -H {HOST}", "fab setup -H root@web1")


def test_a_host_that_falls_silent_is_told_with_state_and_advice() -> None:
    """It has spoken, and then it has not answered in time."""
    remote = Remote(FakeLink(FakeChannel({"event": "facts"}, TimeoutError())), "shop", lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="has not answered within 60 s") as caught:
        remote.ask()
    assert caught.value.state == "nothing was touched"
    assert Next.of(caught.value.next).commands[0] == f"fab doctor -H {HOST}"


def test_logs_that_break_off_touched_nothing() -> None:
    """What only tells goes on until it ends; that its connection is lost says so, and what to type."""
    remote = Remote(FakeLink(FakeChannel({"event": "facts"}, LOST)), "shop", lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="was lost") as caught:
        remote.read({"op": "logs"})
    assert (caught.value.state, str(caught.value.next)) == ("nothing was touched", "type the same command again")

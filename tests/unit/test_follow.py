"""A job is followed to its end: through Ctrl-C, a lost connection, and the turn of somebody else."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from deployer import events
from deployer.commands import attach, deploy
from deployer.errors import Busy, ConfigError, Exit, Interrupted, Mixed, Unreachable
from deployer.model import Decision
from deployer.remote import job
from deployer.remote.answers import Job, Nothing
from deployer.remote.job import Run
from deployer.remote.queue import Turn
from deployer.remote.session import Facts, Outcome, Over, Remote
from deployer.wire.advice import Next
from deployer.wire.protocol import PROTOCOL

Item = dict[str, Any] | Callable[[], None] | Exception
HOST = "deploy@web1"
LOST = Unreachable(message=f"the connection to {HOST} was lost", host=HOST)
FACTS = {
    "event": "answer", "protocol": PROTOCOL, "next": 2, "target": "", "usable": {},
    "program": "", "app": "shop", "current": "v1", "spec": None, "busy": None,
    "base": {"key": "", "ids": ""}, "partials": {}, "free": 1,
}  # fmt: skip
BUSY = {"by": "ada@laptop", "kind": "deploy", "since": 1.0, "phase": "build", "job": "7"}
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
            if isinstance(item, Exception):
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

    def __init__(self, *channels: FakeChannel) -> None:
        self.host, self.user, self.is_root, self.by_hand = HOST, "deploy", False, f"ssh {HOST}"
        self.channels = list(channels)
        self.closed = False

    def open(self, argv: Sequence[str], *, terminal: bool = False) -> FakeChannel:
        return LookingAround() if argv[0] == "sh" else self.channels.pop(0)

    def close(self) -> None:
        self.closed = True


class Following:
    """A Run on fake connections; ``heard`` are the events that were reported."""

    def __init__(
        self,
        *channels: FakeChannel,
        later: Sequence[FakeLink | Exception] = (),
        decide: Callable[[str], Decision] | None = None,
    ) -> None:
        self.heard: list[events.Event] = []
        self.later = list(later)
        self.reconnected = 0
        self.remote = Remote(FakeLink(*channels), "shop", self.heard.append)  # type: ignore[arg-type]
        self.run = Run(self.remote, reconnect=self._connect, decide=decide, by="me@here")

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
        Following(FakeChannel(FOLLOWING, STARTED, press, silence(quiet)), decide=person).send()
    assert person.asked == ["v2 is at build"]
    assert "finishes by itself" in caught.value.state
    assert str(caught.value.next).startswith("fab attach") and "fab abort" in str(caught.value.next)


def test_aborting_is_told_over_a_second_channel_and_the_end_is_followed() -> None:
    """The first channel goes on telling; the exit code is the deploy's own."""
    person = Person(Decision.ABORT)
    told = threading.Event()
    second = FakeChannel(told.set, {"event": "answer", "job": BUSY})
    following = Following(FakeChannel(FOLLOWING, STARTED, press, silence(told), ABORTED), second, decide=person)
    assert following.send().exit == Exit.REFUSED
    assert second.sent == [{"op": "abort", "by": "me@here", "job": "00000007"}]
    assert second.closed
    assert "told to abort" in following.text()


def test_a_deploy_that_ended_meanwhile_is_followed_to_its_end() -> None:
    """When ours ended while one was asked, the host aborts nobody else's: that is told, and is no failure."""
    person = Person(Decision.ABORT)
    following = Following(
        FakeChannel(FOLLOWING, STARTED, press, person.wait, FINISHED), FakeChannel(*refusal(2)), decide=person
    )
    assert following.send().exit == Exit.OK
    assert "failed" not in following.names()
    assert "too late to abort" in following.text()


def test_an_abort_that_cannot_be_told_is_said_so() -> None:
    """The deploy is followed on, and one may press again."""
    person = Person(Decision.ABORT, Decision.FOLLOW)
    again = threading.Event()
    following = Following(
        FakeChannel(FOLLOWING, STARTED, press, person.wait, FINISHED), FakeChannel(LOST), decide=person
    )
    again.set()
    assert following.send().exit == Exit.OK
    assert "could not be told to abort" in following.text()


def test_following_on_goes_on() -> None:
    """Not one event is lost by it, and one may press Ctrl-C again."""
    person = Person(Decision.FOLLOW, Decision.FOLLOW)
    following = Following(FakeChannel(FOLLOWING, STARTED, press, person.wait, SAID, DONE, FINISHED), decide=person)
    assert following.send().exit == Exit.OK
    assert following.names() == ["phase.started", "output", "phase.done", "finished"]


def test_after_an_abort_ctrl_c_leaves(quiet: threading.Event) -> None:
    """What there was to decide is decided: the second Ctrl-C only ends the following."""
    person = Person(Decision.ABORT)
    told = threading.Event()
    second = FakeChannel({"event": "answer", "job": BUSY}, told.set)

    def press_again() -> None:
        assert heard.wait(30)
        press()

    heard = threading.Event()
    following = Following(FakeChannel(FOLLOWING, STARTED, press, press_again, silence(quiet)), second, decide=person)
    following.remote.report = lambda event: heard.set() if isinstance(event, events.Note) else None  # type: ignore[assignment]
    with pytest.raises(Interrupted) as caught:
        following.send()
    assert len(person.asked) == 1
    assert "was told to abort" in caught.value.state


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nobody_can_be_asked_the_host_finishes(quiet: threading.Event, number: int) -> None:
    """Not in a terminal, and at SIGTERM anywhere: one explanation, exit 130, and the host is left alone."""
    person = Person(Decision.ABORT) if number == signal.SIGTERM else None
    channel = FakeChannel(FOLLOWING, STARTED, lambda: press(number), silence(quiet))
    with pytest.raises(Interrupted) as caught:
        Following(channel, decide=person).send()
    assert caught.value.exit == 130
    assert "finishes by itself" in caught.value.state
    assert len(channel.sent) == 1


def test_the_signals_are_left_as_they_were() -> None:
    """After following, Ctrl-C does what it did before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    Following(FakeChannel(FOLLOWING, STARTED, FINISHED)).send()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# Taking turns


class Line:
    """A Turn on fake channels; ``sent`` are the releases that were asked for."""

    def __init__(self, *channels: FakeChannel, wait: bool = True, outcomes: Sequence[Exit] = (Exit.OK,)) -> None:
        self.heard: list[events.Event] = []
        self.outcomes = list(outcomes)
        self.sent: list[Facts] = []
        remote = Remote(FakeLink(*channels), "shop", self.heard.append)  # type: ignore[arg-type]
        site = deploy.Site(root=None, config=None, target=_Target(), ssh=None, report=self.heard.append)  # type: ignore[arg-type]
        self.turn = Turn(site, remote, remote.ask(), again="fab deploy", wait=wait)

    def take(self) -> Outcome:
        def send(remote: Remote, facts: Facts) -> Outcome:
            self.sent.append(facts)
            return Outcome(host=HOST, exit=self.outcomes.pop(0), release="v2", serving="v2")

        return self.turn.take(send)

    def names(self) -> list[str]:
        return [events.NAMES[type(event)] for event in self.heard]


class _Target:
    name = HOST


def test_who_does_not_wait_is_told_who_is_at_it_and_how_to_wait() -> None:
    """Exit 4: who deploys, and the two things that one can do."""
    line = Line(FakeChannel({**FACTS, "busy": BUSY}), wait=False)
    with pytest.raises(Busy, match=r"busy: a deploy by ada@laptop runs since .*, at build") as caught:
        line.take()
    assert str(caught.value.next) == "fab attach   (follows it)\nfab deploy --wait   (waits for its turn)"
    assert not line.sent


def test_an_idle_host_keeps_nobody_waiting() -> None:
    """With --wait and nobody there, nothing is different."""
    channel = FakeChannel(FACTS)
    line = Line(channel)
    assert line.take().exit == Exit.OK
    assert [message["op"] for message in channel.sent] == ["ask"]


def test_who_waits_goes_by_what_the_host_says_afterwards() -> None:
    """Who is waited for is shown; then all is asked anew, as the deploy before has changed it."""
    channel = FakeChannel({**FACTS, "busy": BUSY}, WAITING, {"event": "answer"}, {**FACTS, "current": "v2"})
    line = Line(channel)
    assert line.take().exit == Exit.OK
    assert [message["op"] for message in channel.sent] == ["ask", "wait", "ask"]
    assert line.names() == ["waiting", "phase.done"]
    assert line.sent[0].current == "v2"


def test_who_was_not_quick_enough_waits_again() -> None:
    """Somebody who begins between the turn and the upload is waited for, too: in a new session, as refusals end one."""
    first = FakeChannel(FACTS)
    second = FakeChannel({**FACTS, "busy": BUSY}, WAITING, {"event": "answer"}, FACTS)
    line = Line(first, second, outcomes=[Exit.BUSY, Exit.OK])
    assert line.take().exit == Exit.OK
    assert [message["op"] for message in second.sent] == ["ask", "wait", "ask"]
    assert [line.turn.edit(event) for event in refusal(4)] == [None, None]  # type: ignore[arg-type]
    assert line.turn.edit(FINISHED) == FINISHED


def test_leaving_the_line_touches_nothing() -> None:
    """Ctrl-C, and a lost connection, before our turn: nothing has begun."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as interrupted:
        Line(FakeChannel({**FACTS, "busy": BUSY}, WAITING, interrupt)).take()
    with pytest.raises(Unreachable) as lost:
        Line(FakeChannel({**FACTS, "busy": BUSY}, WAITING, LOST)).take()
    for error in (interrupted.value, lost.value):
        assert (error.state, str(error.next)) == ("nothing was touched", "fab deploy --wait")


def test_an_old_host_program_cannot_make_anybody_wait() -> None:
    """Its refusal ends the command."""
    with pytest.raises(Over):
        Line(FakeChannel({**FACTS, "busy": BUSY}, *refusal(2))).take()


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
    run = Run(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
    body: Any = object()
    with pytest.raises(Mixed if begun else Unreachable) as caught:
        run.send({"op": "release"}, body=body, total=LENGTH)
    assert ("nothing was touched" in caught.value.state) is not begun


@pytest.mark.parametrize("at", [-1, 0])
def test_a_request_without_a_body_may_have_begun_as_soon_as_it_is_sent(at: int) -> None:
    """A reload is one line, and that may have arrived."""
    link: Any = FakeLink(Cut(at))
    run = Run(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
    with pytest.raises(Mixed):
        run.send({"op": "release"})


def test_a_host_that_was_sent_all_and_stops_reading_may_have_begun() -> None:
    """The end of a body is not always told to be gone: it has all of it once sending has ended."""

    class Broken(Cut):
        def write_file(self, stream: Any, length: int, progress: Callable[[int], None]) -> None:
            raise BrokenPipeError

    link: Any = FakeLink(Broken(0))
    run = Run(Remote(link, "shop", lambda _: None), reconnect=lambda: pytest.fail("no job was named"))
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

"""What is asked at Ctrl-C, who is waited for, what the doctor finds, and what became of each attempt."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from deployer import events as ev
from deployer.remote.answers import Diagnosis, Finding, HeldRelease, ReleaseRow, Status
from deployer.remote.decision import Decision
from deployer.ui.answers.doctor import show_doctor
from deployer.ui.answers.releases import show_releases
from deployer.ui.answers.status import show_status
from deployer.ui.live.waiting import WaitingLine
from deployer.ui.plain.reporter import PlainReporter
from deployer.ui.question import on_interrupt
from tests.support.screen import ANSI, Clock, Live, Terminal

CHECKING = (
    ev.Connecting(host="web1"),
    ev.Connected(host="web1", seconds=0.2),
    ev.PhaseStarted(host="web1", phase="check", release="v2"),
)
WAITING = ev.Waiting(host="web1", by="ada@laptop", kind="deploy", since=1.0, phase="build", ahead=2)
QUESTION = "v2 is at check, and the host continues."


class Keyboard(io.StringIO):
    """A person at the keyboard, who may press Ctrl-C instead of an answer."""

    def readline(self, size: int | None = -1, /) -> str:
        line = super().readline()
        if line == "^C\n":
            raise KeyboardInterrupt
        return line


# The question


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("\n", Decision.LEAVE),
        ("", Decision.LEAVE),
        ("^C\n", Decision.LEAVE),
        ("l\n", Decision.LEAVE),
        ("a\n", Decision.ABORT),
        (" Abort \n", Decision.ABORT),
        ("f\n", Decision.FOLLOW),
        ("what?\na\n", Decision.ABORT),
        ("what?\nno\nnever\na\n", Decision.LEAVE),
    ],
)
def test_what_is_not_clearly_another_wish_leaves_the_host_to_finish(typed: str, decision: Decision) -> None:
    """Enter, the end of the input, Ctrl-C and three answers that make no sense leave; nothing aborts by accident."""
    stream = io.StringIO()
    decide = on_interrupt(PlainReporter(stream), stdin=Keyboard(typed))
    assert decide("v2 is at check") is decision
    text = stream.getvalue()
    assert QUESTION in text
    assert text.count("please type one of Enter/a/f") == sum(word in typed for word in ("what", "no\n", "never"))


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("\n", Decision.FOLLOW),
        ("f\n", Decision.FOLLOW),
        ("a\n", Decision.ABORT),
        ("l\n", Decision.LEAVE),
        ("", Decision.LEAVE),
        ("^C\n", Decision.LEAVE),
    ],
)
def test_a_fleet_is_not_left_by_accident(typed: str, decision: Decision) -> None:
    """It is not finished without the one who leads it: Enter follows on, and to leave must be meant."""
    stream = io.StringIO()
    decide = on_interrupt(PlainReporter(stream), fleet=True, stdin=Keyboard(typed))
    assert decide("v2 is being released on 3 hosts") is decision
    assert "hosts that have switched keep it, the others discard it" in stream.getvalue()


@pytest.mark.parametrize("fleet", [False, True])
def test_no_answer_of_the_question_is_cut_at_80_columns(fleet: bool) -> None:
    """Each is read in whole in a usual terminal."""
    stream = io.StringIO()
    on_interrupt(PlainReporter(stream), fleet=fleet, stdin=Keyboard("\n"))("v2 is at check")
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_the_view_stands_still_while_one_is_asked_and_then_goes_on() -> None:
    """What was drawn stays above the question, nothing is drawn over it, and afterwards all of it is wiped away."""
    view = Live().feed(CHECKING)
    report = view.report
    decide = on_interrupt(report, stdin=Keyboard("f\n"))
    before = len(view.file.getvalue())
    assert report._live is not None
    assert decide("v2 is at check") is Decision.FOLLOW
    asked = view.file.getvalue()[before:]
    assert report._live is not None
    plain = ANSI.sub("", asked)
    assert plain.index("check") < plain.index(QUESTION)
    # 3 lines of the view, an empty one, two of the question, three answers, and the line in which one types
    assert "\x1b[10A\r\x1b[J" in asked
    assert asked.index("\x1b[10A") > asked.index("keep following")
    view.report.close()


def test_events_that_come_while_one_is_asked_do_not_start_the_view() -> None:
    """Another thread may report meanwhile: the question stays readable."""
    view = Live().feed(CHECKING)
    with view.report.pause():
        assert view.report._live is None
        view.feed([ev.PhaseStarted(host="web1", phase="switch")])
        assert view.report._live is None
    assert view.report._live is not None
    assert any("switch" in line for line in view.screen())
    view.report.close()


def test_a_question_never_touches_the_terminal_with_what_a_host_said() -> None:
    """A release's name comes from the host: escape sequences in it are removed."""
    stream = io.StringIO()
    on_interrupt(PlainReporter(stream), stdin=Keyboard("\n"))("v2\x1b[2J is at check")
    assert "\x1b" not in stream.getvalue()


# Waiting


def test_the_line_one_stands_in_is_one_row_that_changes() -> None:
    """Who is waited for and how many come first stand in one row, and a second wait is a row of its own."""
    view = Live().feed((*CHECKING[:2], WAITING))
    (row,) = (line for line in view.screen() if " wait " in line)
    assert "2 more before us; a deploy by ada@laptop runs since " in row
    view.feed([ev.Waiting(host="web1", by="ada@laptop", kind="deploy", since=1.0, phase="watch")])
    (row,) = (line for line in view.screen() if " wait " in line)
    assert "more before us" not in row and "at watch" in row
    view.feed([ev.PhaseDone(host="web1", phase="wait", seconds=4, detail="v2 serves now"), WAITING])
    first, second = (line for line in view.screen() if " wait " in line)
    assert "✓" in first and "v2 serves now" in first
    assert "2 more before us" in second
    view.report.close()


def test_in_a_log_each_change_of_the_line_is_a_line() -> None:
    """Plain text says who is waited for; when nothing runs any more it says that."""
    stream = io.StringIO()
    report = PlainReporter(stream)
    for event in (WAITING, ev.Waiting(host="web1", ahead=1)):
        report(event)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("wait ... 2 more before us; a deploy by ada@laptop runs since ")
    assert second == "wait ... 1 more before us; nothing runs"


# The doctor


def shown(show: Callable[..., None], *arguments: Any, **options: Any) -> str:
    stream = io.StringIO()
    show(*arguments, stream=stream, **options)
    return stream.getvalue()


def test_a_healthy_host_is_one_line() -> None:
    """That there are no findings, and what serves."""
    text = shown(show_doctor, [Diagnosis(busy=None, findings=(), app="shop", host="web1", current="v5")])
    assert text == "shop → web1\n  ✓ no problems found; v5 serves\n"
    assert "nothing is deployed yet" in shown(
        show_doctor, [Diagnosis(busy=None, findings=(), app="shop", host="web1", current=None)]
    )


def test_findings_say_what_and_what_puts_it_right() -> None:
    """Kind, thing, a sentence and the repair of each; the number of them, and the command, at the end."""
    findings = (
        Finding(kind="leftover", what="v77", text="units of v77\x1b[2J", repair="they are removed"),
        Finding(kind="damaged", what="v5", text="not what was built", repair="fab deploy"),
    )
    found = Diagnosis(
        app="shop", host="web1", current="v5", busy="a deploy runs", findings=findings, next="fab doctor --fix"
    )
    lines = [line.strip() for line in shown(show_doctor, [found]).splitlines()]
    assert lines[1].startswith("… a deploy runs")
    assert lines[2:8] == [
        "✗ leftover  v77", "units of v77", "repair: they are removed",
        "✗ damaged  v5", "not what was built", "repair: fab deploy",
    ]  # fmt: skip
    assert lines[8:] == ["✗ 2 findings; v5 serves", "next:", "fab doctor --fix"]
    told = json.loads(shown(show_doctor, [found], json=True))
    assert [finding["kind"] for finding in told["findings"]] == ["leftover", "damaged"]
    assert (told["next"], told["current"], told["busy"]) == ("fab doctor --fix", "v5", "a deploy runs")


# What became of attempts


def coloured(show: Callable[..., None], *arguments: Any, **options: Any) -> str:
    terminal = Terminal()
    show(*arguments, stream=terminal, **options)
    return terminal.getvalue()


def test_an_interrupted_attempt_is_red_and_a_remark_on_a_good_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that serves although its deploy was interrupted is no failure."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    remark = "its deploy was interrupted at watch; the host found it healthy"
    rows = [
        ReleaseRow(number="v3", state="interrupted", reason="interrupted at check"),
        ReleaseRow(number="v2", state="current", reason=remark),
    ]
    lines = coloured(show_releases, {"web1": rows}).splitlines()
    red, yellow = "\x1b[31m", "\x1b[33m"
    assert f"{red}✗ v3" in next(line for line in lines if "v3" in line)
    assert red in next(line for line in lines if "interrupted at check" in line)
    found = next(line for line in lines if "its deploy was" in line)
    assert yellow in found and red not in found


def test_the_status_tells_of_an_attempt_that_came_to_nothing() -> None:
    """Its number, state, age and reason stand beside what serves."""
    last = ReleaseRow(number="v6", state="interrupted", kind="deploy", by="ada", at=940.0, reason="killed at build")
    text = shown(show_status, [Status(app="shop", host="web1", current="v5", last=last)], now=1000)
    assert "✗ last     interrupted v6, a deploy by ada, 1 min ago" in text
    assert "killed at build" in text


def test_the_status_tells_how_long_a_candidate_is_held() -> None:
    """It is not told as a failed attempt as well; neither is the one that runs."""
    preparing = ReleaseRow(number="v6", state="candidate")
    held = Status(app="shop", host="web1", current="v5", last=preparing, held=HeldRelease(release="v6", seconds=754))
    text = shown(show_status, [held], now=1000)
    assert "… held     v6 has no traffic, and is held for 12 min 34 s more; then it is discarded" in text
    assert "last" not in text
    busy = Status(app="shop", host="web1", current="v5", last=preparing, busy="a deploy runs")
    assert "last" not in shown(show_status, [busy], now=1000)


class Awaiting:
    """The line about who is awaited, on a terminal; ``screen`` is what it draws."""

    def __init__(self, width: int = 80, streams: bool = False) -> None:
        self.file, self.clock = Terminal(), Clock()
        console = Console(file=self.file, width=width, height=24, force_terminal=True, _environ={"TERM": "xterm"})
        self.line = WaitingLine(console, ("deploy@web1", "deploy@web2"), streams=streams, clock=self.clock)

    @property
    def screen(self) -> str:
        (text,) = self.line.lines()
        return text.plain[4:]


@pytest.mark.parametrize("width", [40, 80])
def test_who_is_awaited_is_told(width: int) -> None:
    """Until a host has answered, or it is known that it will not; with the seconds that have passed."""
    view = Awaiting(width)
    view.clock.now += 4
    assert view.screen == "connecting to web1, web2  4.0 s"
    view.line(ev.Connected(host="deploy@web1"))
    assert view.screen == "waiting for web1, web2  4.0 s"
    view.line(ev.Finished(host="deploy@web1", exit=0))
    assert view.screen == "connecting to web2  4.0 s"
    view.line(ev.PhaseStarted(phase="read", detail="the project's files"))
    assert view.screen == "read the project's files  4.0 s"
    view.line.close()


def test_a_host_that_prints_as_it_likes_is_awaited_until_it_is_connected() -> None:
    """Following logs is no waiting for an answer."""
    view = Awaiting(streams=True)
    view.line(ev.Connected(host="deploy@web1"))
    assert view.screen.startswith("connecting to web2")
    view.line.close()


def test_nothing_is_drawn_while_something_else_is_printed() -> None:
    """The line goes before, comes back afterwards, and leaves nothing behind."""
    view = Awaiting()
    wait_for(lambda: "connecting" in view.file.getvalue())
    with view.line.aside():
        before = view.file.getvalue()
        assert before.count("\x1b[?25l") == before.count("\x1b[?25h") == 1
        view.line(ev.Connected(host="deploy@web1"))
        assert view.file.getvalue() == before
    assert view.file.getvalue() != before
    view.line.close()
    assert view.file.getvalue().count("\x1b[?25l") == view.file.getvalue().count("\x1b[?25h") == 2


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("hosts", [(), ("web1", "web2")])
def test_the_total_is_what_the_person_has_waited(hosts: tuple[str, ...]) -> None:
    """Connecting and the upload included: the host's own clock begins later."""
    view = Live(hosts=hosts)
    view.feed([ev.Connecting(host=host) for host in hosts or ("web1",)])
    view.clock.now += 58
    if hosts:
        view.feed(
            [ev.FleetFinished(exit=0, hosts=tuple(ev.HostEnd(host=h, result="done") for h in hosts), seconds=19.0)]
        )
    else:
        view.feed([ev.Finished(host="web1", exit=0, seconds=19.0, summary="v2 serves")])
    assert view.text().rstrip().endswith("58 s")


def test_packing_and_sending_are_told_apart() -> None:
    """Each has its own percentage; when all is sent it is the host's turn."""
    view = Live().feed([ev.PhaseStarted(host="web1", phase="upload")])
    half = {"host": "web1", "phase": "upload", "total": 100 << 20}
    view.feed([ev.Progress(**half, done=50 << 20, doing="packing")])
    assert "packing  50 %  50 MiB of 100 MiB" in "\n".join(view.screen())
    view.feed([ev.Progress(**half, done=1 << 20, doing="sending")])
    assert "sending   1 %" in "\n".join(view.screen())
    view.feed([ev.Progress(**half, done=100 << 20, doing="sending")])
    assert "sent, 100 MiB; the host unpacks it" in "\n".join(view.screen())


def test_what_is_done_here_for_all_hosts_is_shown() -> None:
    """Reading a large project takes seconds, in which the hosts have nothing to do."""
    view = Live(hosts=("web1", "web2")).feed([ev.PhaseStarted(phase="read", detail="the project's files")])
    view.clock.now += 3
    assert "  here: read the project's files  3.0 s" in view.screen()
    view.feed([ev.PhaseDone(phase="read", seconds=3.0)])
    assert "here:" not in "\n".join(view.screen())

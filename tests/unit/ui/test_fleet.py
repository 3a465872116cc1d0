"""What people and machines read of a command on several hosts."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from deployer import events as ev
from deployer.remote.answers import Diagnosis, Finding, ReleaseRow, Status, UnitRow
from deployer.ui import reporter
from deployer.ui.answers.doctor import show_doctor
from deployer.ui.answers.releases import show_releases
from deployer.ui.answers.status import show_status
from deployer.ui.live.frame import Frame
from deployer.ui.live.reporter import console_on
from deployer.ui.plain.jsonlines import JsonLines
from deployer.ui.plain.prefixed import PrefixedReporter
from deployer.ui.plain.reporter import PlainReporter
from deployer.ui.style.names import Names
from tests.support.screen import ANSI, Clock, Live, Terminal


def fleet(count: int) -> list[str]:
    return [f"deploy@web{n:02}" for n in range(1, count + 1)]


FIVE = fleet(5)
CULPRIT = FIVE[1]


def at(phase: str, *hosts: str) -> list[ev.Event]:
    """These hosts begin a phase."""
    return [ev.PhaseStarted(host=host, phase=phase, release="v43") for host in hosts]


def done(phase: str, *hosts: str, detail: str = "") -> list[ev.Event]:
    """These hosts end a phase; each takes a second longer than the one before."""
    return [
        ev.PhaseDone(host=host, phase=phase, release="v43", seconds=1.0 + place, detail=detail)
        for place, host in enumerate(hosts)
    ]


def ready(*hosts: str, phase: str = "switch") -> list[ev.Event]:
    return [ev.Ready(host=host, phase=phase, release="v43") for host in hosts]


def failed_build(host: str) -> list[ev.Event]:
    """The phase fails on a host, and then the host."""
    return [
        *at("build", host),
        *(ev.Output(host=host, phase="build", line=f"line {n}") for n in range(4)),
        ev.PhaseFailed(host=host, phase="build", seconds=2.0),
        ev.Failed(host=host, exit=5, message="the build failed", logs=("line 2", "line 3")),
        ev.Finished(host=host, exit=5, serving="v42", seconds=3.0, summary="the build failed"),
    ]


def gave_up(*hosts: str) -> Iterator[ev.Event]:
    """What hosts say that were told to give up while they waited."""
    for host in hosts:
        yield ev.Failed(host=host, exit=5, message="told to give up")
        yield ev.Finished(host=host, exit=5, serving="v42", seconds=4.0, summary="told to give up")


def all_well(hosts: Sequence[str]) -> ev.FleetFinished:
    ends = [
        ev.HostEnd(host=host, result="done", release="v43", serving="v43", seconds=10.0 + place)
        for place, host in enumerate(hosts)
    ]
    return ev.FleetFinished(
        exit=0, hosts=tuple(ends), release="v43", seconds=40, summary=f"v43 serves on {len(hosts)} hosts"
    )


REFUSED = ev.FleetFinished(
    exit=5,
    hosts=tuple(
        ev.HostEnd(
            host=host,
            result="failed" if host == CULPRIT else "discarded",
            exit=5,
            serving="v42",
            seconds=3.0,
            detail="the build\nfailed" if host == CULPRIT else "because of web02",
            logs=("line 2", "line 3") if host == CULPRIT else (),
        )
        for host in FIVE
    ),
    seconds=12,
    summary="v43 was refused: web02 failed",
    state="v42 serves on all 5 hosts",
    next="fab deploy",
)
OTHERS = [host for host in FIVE if host != CULPRIT]
A_REFUSAL = (*ready(*OTHERS), *failed_build(CULPRIT), *gave_up(*OTHERS), REFUSED)


def plain(events: Iterable[ev.Event], hosts: Sequence[str] = FIVE, **options: Any) -> str:
    stream = io.StringIO()
    report = PlainReporter(stream, title="deploy shop", hosts=hosts, **options)
    for event in events:
        report(event)
    report.close()
    return stream.getvalue()


def live(events: Iterable[ev.Event], hosts: Sequence[str] = FIVE, **options: Any) -> str:
    return Live(hosts=hosts, **options).feed(events).text()


both = pytest.mark.parametrize("show", [plain, live])


def screen(view: Live) -> list[str]:
    lines = view.screen()
    view.report.close()
    return lines


# Names


def test_a_user_that_is_the_same_for_all_is_not_told() -> None:
    """What hosts share before the @ is dropped, and kept when they differ or one has none."""
    assert [Names(FIVE)(host) for host in FIVE[:2]] == ["web01", "web02"]
    assert Names(["a@web1", "b@web2"])("a@web1") == "a@web1"
    assert Names(["a@web1", "web2"])("a@web1") == "a@web1"
    assert Names(["web1", "web2"])("web2") == "web2"


def test_many_names_are_cut() -> None:
    """A few hosts are named, the others counted; one is never left alone to be counted."""
    assert Names(FIVE).few(FIVE) == "web01, web02, web03, web04, web05"
    assert Names(fleet(9)).few(fleet(9)) == "web01, web02, web03, web04 and 5 more"
    assert Names(fleet(9)).fitting(fleet(9), 26) == "web01, web02 and 7 more"
    assert Names(fleet(9)).fitting(fleet(9), 3) == "web01 and 8 more"


# The live view


def test_hosts_have_one_line_each_in_the_order_in_which_they_were_named() -> None:
    """While all fit, nothing jumps: a header, the counts by stage, and a line for each host in its place."""
    view = Live(hosts=FIVE).feed([*ready(FIVE[0]), *at("build", FIVE[3]), *at("upload", FIVE[1])])
    view.clock.now += 7
    view.feed(
        [
            ev.Progress(host=FIVE[1], phase="upload", done=30, total=100),
            ev.Output(host=FIVE[3], phase="build", line="Collecting\x1b[2J [b]"),
        ]
    )
    header, counts, *hosts = screen(view)
    assert header == "deploy shop → 5 hosts  v43  7.0 s"
    assert counts == "  1 ready for the switch · 1 build · 1 upload 30 % · 2 not begun"
    assert [line.split()[1] for line in hosts] == ["web01", "web02", "web03", "web04", "web05"]
    assert re.search(r"upload +30 % +━+ +7\.0 s$", hosts[1])
    assert re.search(r"build +Collecting \[b\] +7\.0 s$", hosts[3])
    assert "✓ web01  ready for the switch" in hosts[0]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10), (20, 5), (80, 3)])
@pytest.mark.parametrize("count", [2, 5, 20, 50, 200])
def test_the_view_fits_every_window(width: int, height: int, count: int) -> None:
    """However many hosts there are, fewer lines than the window has are drawn, none of them longer than it is wide."""
    hosts = fleet(count)
    view = Live(hosts=hosts).feed([*at("build", *hosts[: count // 2]), *ready(*hosts[count // 2 : -1])])
    view.feed([ev.Failed(host=hosts[0], exit=5, message="x" * 300)])
    view.console.width, view.console.height = width, height
    lines = screen(view)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert len(lines) == min(count + 2, height - 1)


def test_what_is_worth_a_line_comes_first() -> None:
    """In a low window failures come first, then who has been longest at a phase; who waits is counted."""
    hosts = fleet(50)
    view = Live(hosts=hosts, height=8).feed([*ready(*hosts[:45]), *at("connect", hosts[47])])
    view.clock.now += 5
    view.feed([*at("build", hosts[46]), *failed_build(hosts[48])])
    lines = screen(view)
    assert lines[1] == "  45 ready for the switch · 1 build · 1 connect · 2 not begun · 1 failed"
    assert [line.split()[1] for line in lines[2:5]] == ["web49", "web48", "web47"]
    assert lines[-1] == "  … and 46 more: 45 ready for the switch, 1 not begun"


def test_those_left_out_have_their_stage_named_once() -> None:
    """When all that do not fit are at the same stage, the last line says so in few words."""
    hosts = fleet(50)
    view = Live(hosts=hosts, height=8).feed([*at("build", *hosts[:4]), *ready(*hosts[4:])])
    assert screen(view)[-1] == "  … and 46 more, ready for the switch"


def test_who_gives_up_because_of_another_is_not_called_failed() -> None:
    """The host that broke is failed, those that waited are discarded."""
    view = Live(hosts=FIVE).feed(A_REFUSAL[:-1])
    lines = screen(view)
    assert lines[1] == "  4 discarded · 1 failed"
    assert "✗ web02  failed     the build failed" in lines[3]


def test_a_host_that_fails_in_its_watch_is_to_blame() -> None:
    """At the end of its watch a host waits for the others, but what it fails by then is its own."""
    events = [*at("watch", *FIVE), *ready(*FIVE, phase="keep")]
    view = Live(hosts=FIVE).feed(events)
    assert view.screen()[1] == "  5 found good"
    view.feed([ev.PhaseFailed(host=CULPRIT, phase="watch", seconds=9)])
    view.feed([ev.Failed(host=CULPRIT, exit=6, message="it crashed")])
    view.feed([ev.PhaseFailed(host=FIVE[0], phase="watch", seconds=9), ev.Failed(host=FIVE[0], exit=6, message="told")])
    counts = screen(view)[1]
    assert "3 found good" in counts
    assert "1 failed" in counts
    assert "1 rolled back" in counts


def test_a_hook_is_seen_and_then_the_host_waits_again() -> None:
    """A command of the load balancer runs for a host that waits at a barrier, and does not end its waiting."""
    view = Live(hosts=FIVE).feed([*ready(*FIVE), *at("hooks.drain", FIVE[0])])
    assert view.screen()[1] == "  1 hooks.drain · 4 ready for the switch"
    view.feed(done("hooks.drain", FIVE[0]))
    assert screen(view)[1] == "  5 ready for the switch"


@pytest.mark.parametrize(("lines", "down"), [(("x" * 60, "short"), 0), (("short", "x" * 60), 2)])
def test_a_narrower_window_leaves_no_rows_behind(lines: tuple[str, ...], down: int) -> None:
    """Rows that the terminal has folded are counted when the next picture is drawn over the last; those of the last
    line are below the cursor."""
    file = Terminal()
    console = console_on(file, width=80)
    console._force_terminal = True
    from rich.text import Text

    frame = Frame(console, lambda: list(map(Text, lines)))
    frame.start()
    frame.refresh()
    console.width, before = 25, len(file.getvalue())
    frame.refresh()
    drawn = file.getvalue()[before:]
    assert drawn.startswith(f"\x1b[{down}B" if down else "\x1b[2K\x1b[1A")
    assert drawn.count("\x1b[1A") == 3  # one of two lines, and two rows that the long one was folded to
    frame.stop()


def test_what_the_terminal_echoes_at_ctrl_c_adds_no_row() -> None:
    """A ``^C`` lands at the beginning of the last line, not behind one that is as wide as the window."""
    file = Terminal()
    console = console_on(file, width=80)
    console._force_terminal = True
    from rich.text import Text

    frame = Frame(console, lambda: [Text("x" * 80)])
    frame.start()
    frame.refresh()
    assert file.getvalue().endswith("x" * 80 + "\r")
    frame.stop()


def test_who_migrated_is_still_told_when_all_is_well() -> None:
    """It was a line for some moments only; which host it was is good to know afterwards."""
    assert "migrated on web02" in live([*at("migrate", CULPRIT), *done("migrate", CULPRIT), all_well(FIVE)])
    assert "migrated" not in live([*ready(*FIVE), all_well(FIVE)])


@both
def test_all_well_is_a_few_lines(show: Callable[..., str]) -> None:
    """Fifty hosts that agree end in no table: what serves, how long it took, from the quickest to the slowest."""
    hosts = fleet(50)
    text = show([*at("upload", *hosts), all_well(hosts)], hosts)
    final = text[text.rindex("each in") :]
    assert final.splitlines()[0] == "each in 10 s (web01) to 59 s (web50)"
    assert re.fullmatch(r"✓ v43 serves on 50 hosts +\(?40 s\)?", final.splitlines()[1])
    assert "outcome" not in text


@both
def test_a_refusal_is_a_table_then_its_reason_then_what_to_do(show: Callable[..., str]) -> None:
    """Every host has a row, the failed one first; then the output of what failed, the summary, state and next."""
    text = show(A_REFUSAL)
    final = text[text.rindex("outcome") :]
    rows = re.findall(r"(web\d\d) +\W*(failed|discarded) +v42 +3\.0 s", final)
    assert rows == [("web02", "failed"), *((host.partition("@")[2], "discarded") for host in OTHERS)]
    wanted = ["the build; failed", "web02: output of build", "line 0", "✗ v43 was refused", "state: v42", "next:"]
    places = [final.index(part) for part in wanted]
    assert places == sorted(places)
    assert final.count("line 3") == 1
    assert final.count("told to give up") == 0


@both
def test_what_several_hosts_print_alike_is_shown_once(show: Callable[..., str]) -> None:
    """Two hosts that fail with the same lines share a panel; of more than five different ones the rest are named."""
    hosts = fleet(9)
    alike = [ev.HostEnd(host=host, result="failed", exit=5, logs=("same",)) for host in hosts[:2]]
    other = [ev.HostEnd(host=host, result="failed", exit=5, logs=(f"only {host}",)) for host in hosts[2:]]
    text = show([ev.FleetFinished(exit=5, hosts=(*alike, *other), summary="no")], hosts)
    assert "web01, web02: last log lines" in text
    assert text.count("same\n") == 1
    assert "only deploy@web06\n" in text
    assert "only deploy@web07" not in text
    assert "the lines of web07, web08, web09 are not shown here" in text


@both
def test_hosts_that_disagree_are_a_table_although_all_is_done(show: Callable[..., str]) -> None:
    """An end in which one host serves another release is never told as all well."""
    ends = [ev.HostEnd(host=host, result="done", serving="v43" if host != CULPRIT else "v42") for host in FIVE]
    text = show([ev.FleetFinished(exit=0, hosts=tuple(ends), summary="done")])
    assert re.search(r"web02 +\W*done +v42", text)
    ends = [
        ev.HostEnd(host=host, result="done", detail="stopped" if host != CULPRIT else "was stopped") for host in FIVE
    ]
    assert re.search(
        r"web02 +\W*done +was stopped", show([ev.FleetFinished(exit=0, hosts=tuple(ends), summary="done")])
    )


@both
def test_an_end_without_hosts_is_its_summary(show: Callable[..., str]) -> None:
    """Whatever the end lacks, the display does not break the command."""
    assert "✗ nothing was done" in show([ev.FleetFinished(exit=2, hosts=(), summary="nothing was done")])


@both
def test_what_is_not_known_is_not_told_as_nothing(show: Callable[..., str]) -> None:
    """What a lost host serves is a question mark; a host that serves nothing has a dash."""
    ends = (ev.HostEnd(host=FIVE[0], result="lost"), ev.HostEnd(host=FIVE[1], result="discarded"))
    text = show([ev.FleetFinished(exit=7, hosts=(*ends, ev.HostEnd(host=FIVE[2], result="done", serving="v1")))])
    assert re.search(r"web01 +\W*lost +\?", text)
    assert re.search(r"web02 +\W*discarded +–", text)


@both
def test_without_an_end_the_failures_are_told(show: Callable[..., str]) -> None:
    """When the command is interrupted, what failed so far is told in full, and who gave up is not blamed."""
    text = show(A_REFUSAL[:-1])
    assert "output of build" in text
    assert "web02" in text
    assert re.search(r"✗ (web02: )?the build failed", text)
    assert not re.search(r"✗ .*told to give up", text)


def test_what_was_left_does_not_look_as_if_it_went_on() -> None:
    """After an interruption each host stands there as it was left, with the mark for that."""
    text = live([*at("build", *FIVE), ev.Output(host=FIVE[0], phase="build", line="x")])
    assert "  … web01  build" in text.rpartition("deploy shop")[2]


@both
def test_a_warning_of_many_hosts_is_given_once(show: Callable[..., str]) -> None:
    """The same words from fifty hosts are one line at once, and one at the end that says who else."""
    hosts = fleet(50)
    warnings = [ev.Warn(host=host, text="pools connections [b]") for host in hosts]
    text = show([*at("upload", *hosts), *warnings, all_well(hosts)], hosts)
    assert text.count("pools connections [b]") == 2
    assert "also on web02, web03, web04, web05 and 45 more: pools connections [b]" in text


@both
def test_nothing_a_host_says_touches_the_terminal(show: Callable[..., str]) -> None:
    """Details, log lines, serving and host names are cleaned wherever they are shown."""
    evil = "x\x1b]0;pwned\x07\x9b2Jy"
    end = ev.HostEnd(host="a\x1b[2Jb", result="failed", serving=evil, detail=evil, logs=(evil,))
    hosts = ["a\x1b[2Jb", "c"]
    events = [ev.Failed(host=hosts[0], exit=5, message=evil), ev.FleetFinished(exit=5, hosts=(end,), summary=evil)]
    text = show([*at("\x1b[2Jphase", *hosts), ev.Warn(host=hosts[0], text=evil), *events], hosts)
    assert "pwned" not in text
    assert not set("\x07\x9b") & set(text)
    if show is plain:
        assert "\x1b" not in text


# The log


def test_a_log_sums_up_phases() -> None:
    """A phase has a line when it begins anywhere and one when all have done it, with what they all say of it."""
    text = plain([*at("build", *FIVE), *done("build", *FIVE[:4]), *done("build", FIVE[4], detail="")])
    assert text.splitlines()[1:] == ["build ...", "✓ build: 5 of 5 hosts (1.0 s to 4.0 s)"]
    skipped = [ev.PhaseSkipped(host=host, phase="build", detail="unchanged") for host in FIVE]
    assert "– build: 5 of 5 hosts: unchanged\n" in plain(skipped)


def test_a_log_does_not_wait_for_those_that_failed() -> None:
    """What the living have done is summed up when the last of the others has failed."""
    lines = plain([*at("build", *OTHERS), *done("build", *OTHERS), *failed_build(CULPRIT)]).splitlines()
    assert lines.index("[web02] ✗ the build failed") < lines.index("✓ build: 4 of 5 hosts (1.0 s to 4.0 s)")


def test_a_log_names_what_matters_of_a_host() -> None:
    """Connections, the migration, hooks, switches and failures each have their line; who gives up has none."""
    events = [
        ev.Connected(host=FIVE[0], seconds=0.4, detail="v42 serves"),
        *at("migrate", FIVE[0]),
        *done("migrate", FIVE[0], detail="2 migrations"),
        *at("hooks.drain", FIVE[2]),
        ev.Switched(host=FIVE[2], to="v43", previous="v42"),
        *ready(*OTHERS),
        *failed_build(CULPRIT),
        *gave_up(*OTHERS),
    ]
    lines = plain([*events, REFUSED]).splitlines()
    for line in (
        "[web01] ✓ connect (0.4 s): v42 serves",
        "[web01] migrate ...",
        "[web01] ✓ migrate (1.0 s): 2 migrations",
        "[web03] hooks.drain ...",
        "[web03] v43 serves, after v42",
        "[web02] ✗ build (2.0 s)",
    ):
        assert line in lines
    assert not any("told to give up" in line for line in lines)


def test_a_log_is_never_silent_for_long() -> None:
    """After ten seconds without a line it says where the hosts are, then less and less often while nothing changes."""
    stream, clock = io.StringIO(), Clock()
    report = PlainReporter(stream, title="deploy shop", hosts=FIVE, clock=clock)
    log = report._log
    assert list(log.beat(clock.now)) == []
    report(at("build", FIVE[0])[0])
    told = []
    for _ in range(200):
        clock.now += 1
        told += [(clock.now - 1000, line) for line in log.beat(clock.now)]
    assert [when for when, _ in told] == [10, 20, 40, 80, 140, 200]
    assert told[0][1] == "... 10 s: 1 build · 4 not begun"
    report(at("build", FIVE[1])[0])
    clock.now += 60
    assert list(log.beat(clock.now)) == ["... 4 min 20 s: 2 build · 3 not begun"]
    clock.now += 10
    assert len(list(log.beat(clock.now))) == 1
    report.close()


def test_a_silent_log_is_woken_by_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event has to come for the line that says where the hosts are, and none comes after the end."""
    monkeypatch.setattr("deployer.ui.plain.reporter.BEAT", 0.01)
    monkeypatch.setattr("deployer.ui.plain.log.QUIET", (0.0, 0.0))
    beaten = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "... " in text:
                beaten.set()
            return super().write(text)

    stream = Stream()
    report = PlainReporter(stream, hosts=FIVE)
    report(at("connect", CULPRIT)[0])
    assert beaten.wait(20)
    report.close()
    report._heart.join(20)  # type: ignore[union-attr]
    told = stream.getvalue()
    assert "1 connect · 4 not begun" in told
    report._beat()
    assert stream.getvalue() == told


# Which of them


def test_the_number_of_hosts_chooses_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts are a fleet on a terminal and in a log; one is shown as before."""
    monkeypatch.setenv("TERM", "xterm")
    for stream in (Terminal, io.StringIO):
        for hosts, expected in ((["a", "b"], True), (["a"], False)):
            out = stream()
            with reporter(json=False, stream=out, title="deploy shop", hosts=hosts) as report:
                report(ev.PhaseStarted(host="a", phase="build"))
            assert ("2 hosts" in out.getvalue()) is expected


def test_the_end_of_a_fleet_is_one_line_of_json() -> None:
    """Every host's outcome is in it."""
    stream = io.StringIO()
    JsonLines(stream)(REFUSED)
    told = json.loads(stream.getvalue())
    assert (told["event"], told["exit"], len(told["hosts"])) == ("fleet.finished", 5, 5)
    assert told["hosts"][1]["logs"] == ["line 2", "line 3"]


# Lines


LINES = (
    ev.Logs(host="deploy@web1", unit="u", lines=("first\x1b[2J", "second [b]")),
    ev.Output(host="deploy@web10", phase="run", line="third"),
)


def test_lines_name_their_host() -> None:
    """In a pipe each line begins with its host; with one host there is nothing but the line."""
    out = io.StringIO()
    for event in LINES:
        PrefixedReporter(out, hosts=["deploy@web1", "deploy@web10"])(event)
    assert out.getvalue() == "web1: first\nweb1: second [b]\nweb10: third\n"
    alone = io.StringIO()
    with reporter(json=False, prefixed=True, stream=alone, hosts=["deploy@web1"]) as report:
        report(LINES[0])
    assert alone.getvalue() == "first\nsecond [b]\n"


def test_lines_are_aligned_and_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are as wide as the longest, and each host keeps its colour."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    report = PrefixedReporter(out, hosts=["deploy@web1", "deploy@web10"])
    for event in (*LINES, *LINES):
        report(event)
    lines = [ANSI.sub("", line) for line in out.getvalue().splitlines()]
    assert lines == ["web1  │ first", "web1  │ second [b]", "web10 │ third"] * 2
    colours = re.findall(r"\x1b\[(\d+)mweb(\d+)", out.getvalue())
    assert len(set(colours)) == 2


def test_what_goes_wrong_is_no_answer() -> None:
    """Failures, warnings and the fleet's outcome are written beside the answer, with their host."""
    out, errors = io.StringIO(), io.StringIO()
    report = PrefixedReporter(out, errors=errors, hosts=FIVE)
    for event in (
        ev.Connecting(host=FIVE[0]),
        ev.Failed(host=FIVE[0], exit=3, message="gone"),
        all_well(FIVE),
        REFUSED,
    ):
        report(event)
    assert out.getvalue() == ""
    lines = errors.getvalue().splitlines()
    assert lines[0] == "web01: ✗ gone"
    assert not any("v43 serves" in line for line in lines)
    assert any(re.match(r"web02 +failed +v42", line) for line in lines)
    assert lines[-1] == "next: fab deploy"


def test_lines_of_many_threads_stay_whole() -> None:
    """Hosts that print at once do not break each other's lines."""
    out = io.StringIO()
    report = PrefixedReporter(out, hosts=FIVE)

    def work(host: str) -> None:
        for n in range(50):
            report(ev.Logs(host=host, unit="u", lines=(f"a {n}", f"b {n}")))

    threads = [threading.Thread(target=work, args=(host,), daemon=True) for host in FIVE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    lines = out.getvalue().splitlines()
    assert len(lines) == 500
    for first, second in zip(lines[::2], lines[1::2], strict=True):
        assert re.fullmatch(r"web0\d: a \d+", first)
        assert second == first.replace(": a", ": b")


# Answers


def shown(show: Callable[..., object], *args: object, **options: object) -> str:
    stream = io.StringIO()
    show(*args, stream=stream, **options)
    return stream.getvalue()


def status(host: str, current: str | None = "v43", **more: Any) -> Status:
    units = tuple(
        UnitRow(process=one, name=f"shop-{one}@v43.service", active="active", restarts=1, memory_bytes=2 << 20, ok=True)
        for one in ("web", "worker")
    )
    usual = {"app": "shop", "units": units, "healthy": True, "health": "200 in 5 ms"}
    return Status(**{**usual, **more, "host": host, "current": current})


LOST = ev.HostEnd(host=FIVE[4], result="unreachable", exit=3, detail="no route\nto it")


def test_the_status_of_a_fleet_is_one_table() -> None:
    """Each host has a row in the order in which they were named, with its sums; what is odd is told below."""
    found = [status(FIVE[1], busy="a deploy runs"), status(FIVE[0], since=820.0), status(FIVE[2], healthy=False)]
    text = shown(show_status, found, [LOST], hosts=[*FIVE[:3], FIVE[4]], now=1000)
    rows = [line for line in text.splitlines() if re.match(r" *web\d\d ", line)]
    assert [row.split()[0] for row in rows] == ["web01", "web02", "web03", "web05"]
    assert re.search(r"web01 +● v43 +3 min ago +web, worker +✓ 200 in 5 ms +2 +4\.0 MiB", rows[0])
    assert "✗ 200 in 5 ms" in rows[2]
    assert "? unreachable" in rows[3]
    assert "web02: a deploy runs" in text
    assert "web05: no route; to it" in text
    assert "brings them in line" not in text


def test_a_host_is_named_once_in_a_line() -> None:
    """A reason that begins with the host's name is told as it is, but for a user that is the same for all."""
    gone = ev.HostEnd(host=FIVE[4], result="unreachable", exit=3, detail=f"{FIVE[4]} can't be reached")
    text = shown(show_status, [status(FIVE[0])], [gone])
    assert text.splitlines()[-1] == "  web05 can't be reached"


def test_a_fleet_that_disagrees_says_what_makes_it_one() -> None:
    """Who serves what else than most is named, with the command that repairs it; many hosts are counted first."""
    hosts = fleet(9)
    found = [status(host, "v41" if host == hosts[2] else "v43") for host in hosts]
    text = shown(show_status, found, next="fab deploy -H x")
    assert "v43: 8 hosts · v41: 1 host" in text
    assert text.splitlines()[-1] == "! web03 serves v41, the others v43: fab deploy -H x brings them in line"
    two = shown(show_status, [status("a", "v9"), status("b", "v10")])
    assert two.splitlines()[-1] == "! a serves v9, b v10: fab deploy brings them in line"
    now = shown(show_status, [status("a", "v9", busy="a deploy runs"), status("b", "v10")])
    assert now.splitlines()[-1] == "! a serves v9, b v10: fab attach follows what runs"
    assert "b serves nothing, a v9" in shown(show_status, [status("a", "v9"), status("b", None)])


def test_answers_of_a_fleet_are_one_object_and_of_one_host_the_old_one() -> None:
    """With ``json`` several hosts are a list in one line, those without an answer too; one host is as it was."""
    told = json.loads(shown(show_status, [status(FIVE[0])], [LOST], json=True))
    assert [(one["host"], one.get("current"), one.get("result")) for one in told["hosts"]] == [
        (FIVE[0], "v43", None),
        (FIVE[4], None, "unreachable"),
    ]
    assert json.loads(shown(show_status, [status("a")], json=True))["current"] == "v43"
    row = ReleaseRow(number="v1", state="current")
    told = json.loads(shown(show_releases, {"a": [row], "b": []}, app="shop", json=True))
    assert [(one["host"], len(one["releases"])) for one in told["hosts"]] == [("a", 1), ("b", 0)]
    assert json.loads(shown(show_releases, {"a": [row]}, app="shop", json=True))["host"] == "a"
    found = [Diagnosis(busy=None, findings=(), app="shop", host=host, current="v1") for host in ("a", "b")]
    assert len(json.loads(shown(show_doctor, found, json=True))["hosts"]) == 2
    assert json.loads(shown(show_doctor, found[:1], json=True))["host"] == "a"


def test_releases_of_a_fleet_say_where_hosts_differ() -> None:
    """A release is one row, the newest first; who is in another state than most, and who lacks it, is named."""

    def row(number: str, state: str, **more: Any) -> ReleaseRow:
        return ReleaseRow(**{"number": number, "state": state, "kind": "deploy", "commit": "a1b2c3d4", **more})

    rows = {
        "web1": [row("v10", "current"), row("v9", "standby")],
        "web2": [row("v10", "failed", reason="500 on [/]"), row("v9", "current")],
        "web3": [row("v10", "current")],
    }
    text = shown(show_releases, rows, [ev.HostEnd(host="web4", result="unreachable", detail="gone")], app="shop", now=9)
    lines = text.splitlines()
    newest, oldest = (next(line for line in lines if number in line) for number in ("v10", " v9"))
    assert lines.index(newest) < lines.index(oldest)
    assert re.search(r"! v10 +current .* all", newest)
    assert "failed on web2" in text
    assert "500 on [/]" in text
    assert "all but web3" in oldest
    assert "web4: gone" in text


def test_one_number_with_two_origins_is_two_releases() -> None:
    """Hosts that were deployed to one by one may mean different things by v3: that is not hidden."""
    rows = {host: [ReleaseRow(number="v3", state="current", commit=host * 8)] for host in ("a", "b")}
    text = shown(show_releases, rows)
    assert len(re.findall("● v3", text)) == 2
    assert "all" not in text


def test_the_doctor_names_the_ill_and_counts_the_well() -> None:
    """Healthy hosts are one line for each release they serve; the others have their findings, and one next command."""
    ill = Finding(kind="down", what="shop-worker", text="it is not running", repair="it is started")
    found = [
        Diagnosis(
            app="shop",
            host=host,
            current="v5",
            busy=None,
            findings=(ill,) if bad else (),
            next="fab doctor --fix" if bad else "",
        )
        for host, bad in zip(FIVE[:4], (False, True, True, False), strict=True)
    ]
    text = shown(show_doctor, found, [LOST])
    assert "✓ no problems found on 2 hosts: v5 serves  web01, web04" in text
    assert text.count("shop-worker") == 2
    assert "web05: no route; to it" in text
    assert "✗ 2 findings on 2 of 5 hosts" in text
    assert text.count("fab doctor --fix") == 1

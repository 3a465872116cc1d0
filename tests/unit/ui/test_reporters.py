"""What people and machines read: the live view, plain lines, JSON lines, errors and tables."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import pytest

from deployer import events as ev
from deployer.errors import Unreachable
from deployer.remote.answers import ReleaseRow, Status, UnitRow
from deployer.ui import is_live, print_error, reporter
from deployer.ui.answers.releases import show_releases
from deployer.ui.answers.status import show_status
from deployer.ui.live.reporter import LiveReporter
from deployer.ui.plain.jsonlines import JsonLines
from deployer.ui.plain.reporter import PlainReporter
from deployer.ui.style.text import age, clean, seconds, size
from tests.support.screen import ANSI, Clock, Live, Terminal

SUCCESS = (
    ev.Connecting(host="web1"),
    ev.Connected(host="web1", seconds=0.61, detail="v42 serves"),
    ev.PhaseStarted(host="web1", phase="upload", release="v43"),
    ev.PhaseDone(host="web1", phase="upload", release="v43", seconds=3.3, detail="3 files, 1.2 KiB"),
    ev.PhaseSkipped(host="web1", phase="install", detail="dependencies unchanged"),
    ev.PhaseStarted(host="web1", phase="switch"),
    ev.Switched(host="web1", to="v43", previous="v42"),
    ev.PhaseDone(host="web1", phase="switch", seconds=0.1),
    ev.Finished(host="web1", exit=0, release="v43", serving="v43", seconds=12.2, summary="v43 is live"),
)
EVIL = "SECRET_KEY [red]x[/red] [/] \x1b[2J\x1b]0;pwned\x07\x1b[31mempty\x1b[0m\rgone \x9b2J\u202e"
REFUSED = (
    ev.Connecting(host="web1"),
    ev.Connected(host="web1", seconds=0.2),
    ev.PhaseStarted(host="web1", phase="check"),
    ev.PhaseFailed(host="web1", phase="check", seconds=1.0, detail="500 on /healthz"),
    ev.Logs(host="web1", unit="shop-web@v43.service", lines=("Traceback:", EVIL)),
    ev.Failed(
        host="web1",
        exit=5,
        message="v43 answered [b]500[/b] [/]",
        state="v42 serves, uninterrupted",
        next="fab logs " + "x" * 291,
    ),
    ev.Finished(host="web1", exit=5, serving="v42", seconds=4.0, summary="v43 refused"),
)
BUILD_FAILED = (
    ev.PhaseStarted(host="web1", phase="build"),
    *(ev.Output(host="web1", phase="build", line=f"line {n}") for n in range(8)),
    ev.PhaseFailed(host="web1", phase="build", seconds=1.0),
    ev.Failed(host="web1", exit=5, message="the build failed", logs=("line 6", "line 7")),
)
UPLOAD = ev.PhaseStarted(host="web1", phase="upload")


def plain(events: Iterable[ev.Event], **options: object) -> str:
    stream = io.StringIO()
    report = plain_on(stream, title="deploy shop", **options)
    for event in events:
        report(event)
    report.close()
    return stream.getvalue()


def plain_on(stream: TextIO, **options: Any) -> PlainReporter:
    return PlainReporter(stream, **{"hosts": ("web1",), **options})


def live(events: Iterable[ev.Event], **options: Any) -> str:
    return Live(**options).feed(events).text()


both = pytest.mark.parametrize("show", [plain, live])


@both
def test_a_success_reads_as_its_phases_and_one_summary(show: Callable[..., str]) -> None:
    """Header, a mark, a fact and a time for each phase, and one summary line are what a person reads."""
    text = show(SUCCESS)
    assert "deploy shop → web1" in text
    assert re.search(r"✓ upload .*3\.3 s", text)
    assert "3 files, 1.2 KiB" in text
    assert re.search(r"– install.*dependencies unchanged", text)
    assert re.search(r"✓ v43 is live.*12 s", text.splitlines()[-1])


@both
def test_a_refusal_shows_message_logs_state_and_next(show: Callable[..., str]) -> None:
    """After a failure the message, the unit's log, the state and the next command stand in that order."""
    text = show(REFUSED)
    wanted = ["✗ check", "✗ v43 answered", "shop-web@v43.service", "Traceback:", "state: v42 serves", "next:"]
    places = [text.rindex(part) for part in wanted]
    assert places == sorted(places)
    assert "✗ v43 refused" in text.splitlines()[-1]


@both
def test_user_text_is_never_markup(show: Callable[..., str]) -> None:
    """Square brackets in messages, logs, notes and warnings are shown as they are."""
    notes = (ev.Note(host="web1", text="[red]x[/red]"), ev.Warn(host="web1", text="[/] :warning: [b]"))
    text = show((UPLOAD, *notes, *REFUSED[2:]))
    for literal in ("[red]x[/red]\n", "! [/] :warning: [b]", "[b]500[/b] [/]", "SECRET_KEY [red]x[/red] [/]"):
        assert literal in text


@both
def test_log_lines_cannot_rewrite_the_terminal(show: Callable[..., str]) -> None:
    """Escape sequences of a log line are removed, and its other control characters spelt out."""
    text = show(REFUSED)
    assert r"[/] empty\rgone \u202e" in text
    assert "pwned" not in text
    assert not set("\x07\x9b\u202e") & set(text)


@both
def test_the_next_command_is_never_broken(show: Callable[..., str]) -> None:
    """A command of 300 characters comes out as one line that can be copied."""
    assert str(REFUSED[5].next) in [line.removeprefix("next:").strip() for line in show(REFUSED).splitlines()]


@both
def test_a_failed_build_shows_all_its_output_once(show: Callable[..., str]) -> None:
    """The whole output of the failing command is printed, and its last lines are not repeated as logs."""
    text = show(BUILD_FAILED)
    final = text[text.rindex("output of build") :]
    assert [final.count(f"line {n}\n") for n in range(8)] == [1] * 8


@both
def test_output_of_a_good_build_stays_out_of_the_way(show: Callable[..., str]) -> None:
    """Lines of a build that succeeded are not left behind."""
    events = (*BUILD_FAILED[:9], ev.PhaseDone(host="web1", phase="build"))
    assert "line 3" not in show(events).rpartition("✓ build")[2]
    assert "line 0\n" not in show(events)


@both
def test_logs_alone_are_printed_raw(show: Callable[..., str]) -> None:
    """``fab logs`` prints the lines themselves, without a panel or phases around them."""
    text = show((*SUCCESS[:2], ev.Logs(host="web1", unit="u", lines=("first", "second"))))
    assert text.endswith("first\nsecond\n")


@both
def test_logs_that_no_failure_follows_are_not_lost(show: Callable[..., str]) -> None:
    """Log lines of a phase are printed at the end when the failure they belong to never arrives."""
    assert "Traceback:" in show(REFUSED[:5])


@both
def test_hosts_are_told_apart(show: Callable[..., str]) -> None:
    """With two hosts, a warning says which of them it is about."""
    events = (UPLOAD, ev.PhaseStarted(host="web2", phase="upload"), ev.Warn(host="web2", text="disk 91 %"))
    text = show(events, hosts=("web1", "web2"))
    assert re.search(r"web2\W+disk 91 %", text.replace("! ", ""))


@both
@pytest.mark.parametrize(
    ("code", "serving", "expected"),
    [(5, "v42", "✗ refused: v42 serves"), (2, "v42", "✗ nothing was done: v42 serves"), (1, "", "✗ failed")],
)
def test_a_summary_does_not_repeat_the_failure(
    show: Callable[..., str], code: int, serving: str, expected: str
) -> None:
    """When a host's summary is the failure's message, the last line says what serves instead."""
    failed = ev.Failed(host="web1", exit=code, message="it is broken")
    text = show((failed, ev.Finished(host="web1", exit=code, serving=serving, summary="it is broken")))
    assert re.fullmatch(rf"{re.escape(expected)}(?: \(\d+\.\d s\))?", text.splitlines()[-1])  # on a busy machine
    assert text.count("it is broken") == 1


@both
def test_a_setup_that_fails_half_way_has_done_something(show: Callable[..., str]) -> None:
    """It ends as bad usage does, but its first steps are done."""
    done = ev.PhaseDone(host="web1", phase="account", seconds=0.1)
    failed = ev.Failed(host="web1", exit=2, message="no certificate")
    events = (ev.PhaseStarted(host="web1", phase="account"), done, failed)
    text = show((*events, ev.Finished(host="web1", exit=2, summary="no certificate")))
    assert text.splitlines()[-1].startswith("✗ failed")


def test_what_this_machine_does_for_one_host_stands_above_its_phases() -> None:
    """A phase without a host is drawn while it runs, and stays with those of the host."""
    reading = (ev.PhaseStarted(phase="read", detail="the project"), ev.PhaseDone(phase="read", seconds=2.0))
    assert "read" in Live().feed(reading[:1]).screen()[1]
    final = live([*reading, *SUCCESS]).rpartition("deploy shop")[2]
    assert -1 < final.index("✓ read") < final.index("✓ connect")


@both
def test_unknown_phases_are_shown(show: Callable[..., str]) -> None:
    """A phase that this version has never heard of is a line like any other."""
    assert "✓ polish" in show((UPLOAD, ev.PhaseDone(host="web1", phase="polish", seconds=1)))


def test_the_live_view_follows_an_upload() -> None:
    """While bytes go up there is a bar with the share, the speed and the remaining time."""
    view = Live().feed([UPLOAD])
    for second in range(1, 5):
        view.clock.now += 1
        view.feed([ev.Progress(host="web1", phase="upload", done=second << 20, total=8 << 20)])
    row, bar = view.screen()[1:3]
    assert re.fullmatch(r"  \S upload +4\.0 s", row)
    assert re.fullmatch(r" +━+  50 %  4\.0 MiB of 8\.0 MiB  1\.0 MiB/s  4\.0 s left", bar)
    view.report.close()


def test_the_live_view_shows_the_last_lines_of_a_running_build() -> None:
    """Three lines of output follow the running phase, cut to the window."""
    view = Live().feed((*BUILD_FAILED[:9], ev.Output(host="web1", phase="build", line="y" * 200)))
    tail = view.screen()[2:]
    assert tail[:2] == ["      line 6", "      line 7"]
    assert tail[2].endswith("y…")
    assert len(tail[2]) == 80
    view.report.close()


def test_the_live_view_never_exceeds_the_window() -> None:
    """Long details are cut with an ellipsis, and a low window keeps what is running."""
    done = (ev.PhaseDone(host="web1", phase=f"p{n}", detail="z" * 99) for n in range(19))
    running = ev.PhaseStarted(host="web1", phase="watch", detail="w" * 99)
    view = Live(height=12, hosts=("web1",)).feed((*done, running))
    screen = view.screen()
    assert len(screen) < 12
    assert [sum(line.count(mark) for line in screen) for mark in ("watch", "…")] == [1, 1]
    assert max(map(len, screen)) <= 80
    assert "z…" in view.text()


def test_the_cursor_comes_back_on_any_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a phase leaves a visible cursor, and the phase as it was left."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), reporter(json=False, stream=terminal) as report:
        report(UPLOAD)
        raise KeyboardInterrupt
    written = terminal.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "… upload" in ANSI.sub("", written)
    report(UPLOAD)
    assert terminal.getvalue() == written


def test_the_live_part_is_erased_before_what_stays() -> None:
    """The last frame is wiped before the phases are printed for good, so that each is on the screen once."""
    last_frame = Live().feed(SUCCESS).file.getvalue().split("deploy shop")[-2]
    assert "\x1b[1A\x1b[2K" in last_frame


def test_many_threads_may_report() -> None:
    """Events from several threads at once neither block each other nor get lost."""
    hosts = [f"web{n}" for n in range(3)]
    view = Live(height=60, hosts=hosts)

    def work(host: str) -> None:
        view.feed(ev.PhaseDone(host=host, phase=f"p{n}") for n in range(9))
        view.feed(ev.Note(host=host, text=f"{host} says {n}") for n in range(20))

    threads = [threading.Thread(target=work, args=(host,), daemon=True) for host in hosts]
    view.feed(ev.PhaseStarted(host=host, phase="start") for host in hosts)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    text = view.text()
    assert [text.count(f"{host}: {host} says ") for host in hosts] == [20, 20, 20]
    assert text.count("p8") >= 3


def test_verbose_prints_every_line_of_output() -> None:
    """With ``verbose`` the output of a build that succeeds is printed too, as it comes."""
    events = BUILD_FAILED[:9]
    assert "build | line 0\n" in plain(events, verbose=True)
    assert "build │ line 0\n" in Live(verbose=True).feed(events).text()


def test_plain_progress_is_rare() -> None:
    """A log gets an upload line only after five seconds and ten percent."""
    clock, stream = Clock(), io.StringIO()
    report = plain_on(stream, clock=clock)
    for percent in range(101):
        report(ev.Progress(host="web1", phase="upload", done=percent, total=100))
        clock.now += 0.1 if percent < 50 else 1
    shares = [int(found) for found in re.findall(r"(\d+) %", stream.getvalue())]
    assert shares == [50, 60, 70, 80, 90, 100]
    for percent in (0, 20):
        report(ev.Progress(host="web1", phase="upload", done=percent, total=100))
        clock.now += 9
    assert stream.getvalue().endswith("upload ... 20 % of 100 B\n")


def test_plain_prefixes_hosts_only_when_there_are_several() -> None:
    """One host needs no prefix; of two, what is said of one names it."""
    assert "[web1]" not in plain(SUCCESS)
    text = plain(SUCCESS, hosts=("web1", "web2"))
    assert "[web1] v43 serves, after v42\n" in text


def test_plain_is_ascii_where_the_stream_is() -> None:
    """A stream that cannot carry the marks gets words, and user text it cannot carry is spelt out."""
    raw = io.BytesIO()
    report = plain_on(io.TextIOWrapper(raw, encoding="ascii"), title="deploy shop")
    for event in (*SUCCESS[:-1], ev.Note(text="déjà → \u2603"), *REFUSED):
        report(event)
    text = raw.getvalue().decode("ascii")
    assert "ok upload (3.3 s)" in text
    assert "FAILED check" in text
    assert r"d\xe9j\xe0 > \u2603" in text


@pytest.mark.parametrize(
    ("term", "encoding", "tty", "expected"),
    [
        ("xterm", "utf-8", True, True),
        ("dumb", "utf-8", True, False),
        ("xterm", "ascii", True, False),
        ("xterm", "utf-8", False, False),
    ],
)
def test_the_live_view_is_for_terminals_that_can(
    term: str, encoding: str, tty: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipes, dumb terminals and those without UTF-8 get plain lines."""
    monkeypatch.setenv("TERM", term)
    stream = type("S", (io.StringIO,), {"encoding": encoding, "isatty": lambda self: tty})()
    assert is_live(stream) is expected
    with reporter(json=False, stream=stream) as report:
        assert isinstance(report, LiveReporter if expected else PlainReporter)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the live view and the errors carry no colour codes."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])(?:;\d+)*m")
    for variable, expected in (("COLORTERM", True), ("NO_COLOR", False)):
        monkeypatch.setenv(variable, "1")
        terminal = Terminal()
        with reporter(json=False, stream=terminal) as report:
            for event in REFUSED:
                report(event)
        assert bool(colour.search(terminal.getvalue())) is expected


def test_json_lines_parse_back() -> None:
    """Each event is one line of JSON on stdout from which the same event can be made."""
    stream = io.StringIO()
    report = JsonLines(stream, clock=lambda: 7.0)
    events = (*SUCCESS, *REFUSED, *BUILD_FAILED)
    for event in events:
        report(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["at"] for line in lines} == {7.0}
    assert [ev.parse({**line, "at": 0.0}, line["host"]) for line in lines] == list(events)
    assert stream.getvalue().isascii()


def test_json_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``json`` nothing is written for people."""
    with reporter(json=True) as report:
        report(SUCCESS[0])
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "connecting"
    assert err == ""


@pytest.mark.parametrize("make", [JsonLines, plain_on])
def test_a_reader_that_goes_away_stops_nothing(make: Callable[..., ev.Reporter]) -> None:
    """When the reading end of the pipe is closed, the reporter goes on in silence."""

    class Gone(io.StringIO):
        attempts = 0

        def write(self, text: str) -> int:
            self.attempts += 1
            raise BrokenPipeError

    stream = Gone()
    report = make(stream)
    for event in SUCCESS:
        report(event)
    assert stream.attempts == 1


def test_a_closed_pipe_leaves_no_complaint_at_exit() -> None:
    """A real process whose reader has gone ends with its own exit code, and an empty stderr."""
    code = (
        "import sys\nfrom deployer.ui import reporter\nfrom deployer.events import Note\n"
        "sys.stdin.readline()\n"
        "with reporter(json=True) as r:\n    [r(Note(text='x' * 999)) for _ in range(200)]\nsys.exit(5)"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=buffered,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 5


def test_importing_ui_does_not_import_rich() -> None:
    """Commands that show nothing do not pay for rich."""
    code = "import deployer.ui, sys; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_errors_look_like_failures(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error raised before any event shows host, message, logs, state and next on either stream."""
    monkeypatch.setenv("TERM", "xterm")
    error = Unreachable(
        message="key [b]changed\nit was X",
        state="nothing was touched",
        next="n" * 200,
        host="web1",
        logs=["L\x1b[2J"],
    )
    out = stream()
    print_error(error, json=False, stream=out)
    text = ANSI.sub("", out.getvalue())
    for part in ("web1", "✗", "key [b]changed", "it was X", "state: nothing was touched", "n" * 200, "L\n"):
        assert part in text


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``json`` an error is one ``failed`` event on stdout, with the exit code."""
    print_error(Unreachable(message="no", next="ssh web1", host="web1"), json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["exit"], told["next"], told["host"]) == ("failed", 3, "ssh web1", "web1")


ROWS = (
    ReleaseRow(number="v44", state="current", kind="rollback", by="al[i]ce", at=820, commit="a1b2c3d4e5", of="v42"),
    ReleaseRow(number="v43", state="failed", kind="deploy", at=100, dirty=True, reason="500 on [/]", size=3 << 20),
)


def shown(show: Callable[..., object], *args: object, **options: object) -> str:
    stream = io.StringIO()
    show(*args, stream=stream, **options)
    return stream.getvalue()


def test_releases_are_a_table() -> None:
    """Each release shows its state in words, its age, a short commit, its origin and why it failed."""
    text = shown(show_releases, {"web1": ROWS}, now=1000)
    current, failed = (next(line for line in text.splitlines() if number in line) for number in ("v44", "v43"))
    for part in ("● v44", "current", "3 min ago", "al[i]ce", "rollback a1b2c3d, parts of v42"):
        assert part in current
    for part in ("✗ v43", "failed", "15 min ago", "deploy + local changes", "3.0 MiB"):
        assert part in failed
    assert "500 on [/]" in text


def test_status_shows_what_serves_and_its_units() -> None:
    """Current, standby, who is busy and each unit's state, memory and restarts are shown."""
    unit = UnitRow(
        process="web",
        name="shop-web@v44.service",
        active="active",
        sub="running",
        pid=77,
        restarts=2,
        since=400,
        ok=True,
    )
    status = Status(
        app="shop",
        host="web1",
        current="v44",
        standby="v42",
        since=820,
        release=ROWS[0],
        units=(unit,),
        busy="bob",
    )
    text = shown(show_status, [status], now=1000)
    for part in ("● current  v44 serves; switched to it 3 min ago", "○ standby  v42", "busy     bob"):
        assert part in text
    assert re.search(r"web +running +77 +2 +10 min ago +shop-web@v44\.service", text)
    assert "nothing serves yet" in shown(show_status, [Status(app="shop", host="web1", current=None)])


def test_tables_are_one_json_object_for_machines() -> None:
    """With ``json`` the releases and the status are one line of JSON each."""
    told = json.loads(shown(show_releases, {"web1": ROWS}, app="shop", json=True))
    assert (told["host"], told["releases"][1]["reason"]) == ("web1", "500 on [/]")
    assert json.loads(shown(show_status, [Status(app="shop", host="h", current="v1")], json=True))["current"] == "v1"


def test_numbers_are_readable() -> None:
    """Seconds, bytes and ages are rounded as people say them."""
    assert [seconds(n) for n in (0.04, 9.96, 59.6, 125, 3720)] == [
        "0.0 s",
        "10 s",
        "1 min 00 s",
        "2 min 05 s",
        "1 h 02 min",
    ]
    assert [size(n) for n in (512, 1229, 1 << 20, 35651584)] == ["512 B", "1.2 KiB", "1.0 MiB", "34 MiB"]
    ages = [age(at, 1e6) for at in (0, 1e6 + 5, 1e6 - 180, 1e6 - 90000, 1e6 - 500000)]
    assert ages == ["", "just now", "3 min ago", "25 h ago", "5 days ago"]


def test_clean_text_has_no_control_characters() -> None:
    """No character that moves a cursor, reverses text or cannot be encoded survives; tabs are spaces."""
    dirty = "".join(map(chr, range(0xA0))) + "\u202e\u2066\ud800\u2028 é✓"
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2066\ud800\u2028]", clean(dirty))
    assert clean("a\tb é✓\r\n") == "a   b é✓"


@pytest.mark.parametrize(
    ("environ", "marks"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # Python has set the second
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({}, False),
    ],
)
def test_a_terminal_in_the_c_locale_gets_ascii(
    environ: dict[str, str], marks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would write UTF-8, and the terminal need not know it: marks have words or letters in their place."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    assert is_live(terminal) is marks
    show_releases({"h": [ReleaseRow(number="v1", state="rolled back", reason="×4 → …")]}, stream=terminal)
    assert terminal.getvalue().isascii() is not marks

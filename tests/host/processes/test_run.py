"""A command in a release: its streams, what is masked in them, how it ended, and that it ends with who asked for it."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.errors import HostError
from deployer.host.processes.run import RunRequest, streams, target, terminal, unit
from deployer.host.processes.run.listening import Input, Laptop
from deployer.host.processes.run.request import Size, TerminalRequest
from deployer.host.processes.run.streams import Streams
from deployer.host.state.app import Context
from deployer.host.state.masking import MASK, StreamMask
from deployer.host.system import files, journald, runner, systemd
from deployer.host.units import launcher
from deployer.host.units.confinement import LINES, of_command
from deployer.wire.protocol import Exit, dumps
from deployer.wire.release.command import AHEAD, FRAME, TIMED_OUT
from deployer.wire.release.processes import Web
from tests.host.simulation.host import SimulatedHost

WEB = Web(server="gunicorn", target="shop.wsgi:application", workers=1, args=(), memory=0, unit=())
ALL = bytes(range(256))
SECRET = "a very secret word"
WINDOW = TerminalRequest(term="xterm", size=Size(30, 90), locale=())


# How it ended


@pytest.mark.parametrize(
    ("shown", "told", "status"),
    [
        ("Result=success\nExecMainCode=1\nExecMainStatus=0", 0, 0),
        ("Result=exit-code\nExecMainCode=1\nExecMainStatus=42", 42, 42),
        ("Result=success\nExecMainCode=2\nExecMainStatus=15", 0, 143),
        ("Result=signal\nExecMainCode=2\nExecMainStatus=9", 255, 137),
        ("Result=core-dump\nExecMainCode=3\nExecMainStatus=11", 255, 139),
        ("Result=oom-kill\nExecMainCode=2\nExecMainStatus=9", 255, 137),
        ("Result=timeout\nExecMainCode=2\nExecMainStatus=15", 1, TIMED_OUT),
    ],
)
def test_how_it_ended(shown: str, told: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To systemd-run an end by SIGTERM is a success; to whoever asked for the command it is none."""
    monkeypatch.setattr(systemd, "systemctl", lambda *_: runner.CommandResult(0, shown, ""))
    ended = unit._ended("x.service", told, 0)
    assert (ended.status, ended.timed_out) == (status, status == TIMED_OUT)


@pytest.mark.parametrize(
    ("shown", "told", "message"),
    [
        ("Result=resources\nExecMainCode=0\nExecMainStatus=0", 1, "did not start"),
        ("", 1, "did not start"),
        ("", 0, "is unknown"),
    ],
)
def test_an_end_without_a_status_is_a_failure(
    shown: str, told: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known to have gone well has not."""
    monkeypatch.setattr(systemd, "systemctl", lambda *_: runner.CommandResult(0, shown, ""))
    monkeypatch.setattr(journald, "own_lines", lambda *_: ["it said so"])
    with pytest.raises(HostError) as caught:
        unit._ended("x.service", told, 0)
    assert message in caught.value.message
    assert caught.value.exit == Exit.BUG


def test_it_lives_under_the_apps_confinement() -> None:
    """Every line of the hardening, but for those that the app relaxes for itself."""
    assert of_command("run", WEB.unit) == list(LINES)
    relaxed = of_command("run", (("ProtectSystem", ("full",)), ("MemoryMax", ("1G",)), ("ExecStartPre", ("+/x",))))
    assert [value for name, value in relaxed if name == "ProtectSystem"] == ["full"]
    assert not {"MemoryMax", "ExecStartPre"} & {name for name, _ in relaxed}


# Its streams: the launcher is real, and runs here in place of systemd-run


class Ran:
    """A command with its laptop: what it printed, and what was told of its input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, secrets: Sequence[str] = ()) -> None:
        idle = systemd.UnitState(active="inactive", sub="", result="", restarts=0, main_pid=0, memory=0, since=0)
        monkeypatch.setattr(systemd, "show", lambda _: idle)
        monkeypatch.setattr(systemd, "end_of", lambda _: self.end)
        self.end: systemd.UnitEnd = systemd.UnitEnd("exit-code", 1)
        self.systemd_run: list[str] = []
        self.secrets = secrets
        self.events: list[dict[str, Any]] = []
        self.raw = b""
        self.masked = 0
        self.said = threading.Event()
        self._theirs, self._ours = os.pipe()
        self.laptop = os.fdopen(self._ours, "wb", buffering=0)

    def emit(self, name: str, **fields: Any) -> None:
        self.events.append({"event": name, **fields})
        self.raw += base64.b64decode(fields.get("data", ""))
        self.said.set()

    def run(self, words: Sequence[str], **options: Any) -> int:
        request = RunRequest(kind="run", argv=tuple(words), **options)
        given = launcher.given(
            words, takes_input=request.takes_input, terminal=request.terminal is not None, environment={"ADDED": "1"}
        )
        one = Streams(self.emit, "root", "x.service", self.secrets, Laptop(os.fdopen(self._theirs, "rb")))
        command = [*(["setsid", "--wait"] if request.terminal else []), *self.systemd_run, *launcher.ARGV]
        status = one.run(command, given, request)
        self.masked = one.masked
        return status

    def say(self, message: dict[str, Any], body: bytes = b"") -> None:
        self.laptop.write(dumps(message))
        for start in range(0, len(body), 4096):
            self.laptop.write(body[start : start + 4096])

    def give(self, data: bytes) -> None:
        """As a laptop does: never more ahead than a host keeps."""
        sent = 0
        while sent < len(data):
            if sent - self.taken + FRAME > AHEAD:
                time.sleep(0.005)
                continue
            piece = data[sent : sent + FRAME]
            self.say({"op": "input", "length": len(piece)}, piece)
            sent += len(piece)
        self.say({"op": "end"})

    @property
    def taken(self) -> int:
        return sum(one["bytes"] for one in list(self.events) if one["event"] == "taken")

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(one["stream"], one["line"]) for one in self.events if one["event"] == "output"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    return Ran(monkeypatch)


DEAF = 'echo x >> "$0"; test $(wc -l < "$0") -ge "$1" || { echo "Failed to start" >&2; exit 1; }; shift; exec "$@"'
"""A systemd-run that is not heard until it is called for the so-manieth time."""


@pytest.mark.parametrize(("heard", "calls"), [(3, 3), (99, streams.TRIES)])
def test_what_systemd_did_not_hear_it_is_told_again(
    ran: Ran, heard: int, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is executed again it drops what it is asked: nothing has begun then. In the end it is given up."""
    monkeypatch.setattr(streams, "PAUSE", 0)
    ran.end = systemd.UnitEnd("")
    ran.systemd_run = ["/bin/sh", "-c", DEAF, str(tmp_path / "calls"), str(heard)]
    status = ran.run(["echo", "it runs"])
    assert (status, ("out", "it runs") in ran.lines) == ((0, True) if heard == calls else (1, False))
    assert (tmp_path / "calls").read_text() == "x\n" * calls


@pytest.mark.parametrize("end", [systemd.UnitEnd("exit-code", 1), systemd.UnitEnd("")])
def test_a_command_that_has_begun_is_not_begun_again(ran: Ran, tmp_path: Path, end: systemd.UnitEnd) -> None:
    """However it ended, whatever systemd-run says of it, and if systemd has forgotten it."""
    ran.end = end
    assert ran.run(["sh", "-c", f"echo x >> {tmp_path}/calls; exit 1"]) == 1
    assert (tmp_path / "calls").read_text() == "x\n"


def beside(function: Callable[[], object]) -> None:
    threading.Thread(target=function, daemon=True).start()


def test_both_streams_are_told_apart(ran: Ran) -> None:
    """Line by line, with the last one, which has no end."""
    assert ran.run(["sh", "-c", "echo one; echo two >&2; printf 'a  b'; exit 42"]) == 42
    assert sorted(ran.lines) == [("err", "two"), ("out", "a  b"), ("out", "one")]


def test_every_byte_goes_in_and_comes_out(ran: Ran) -> None:
    """Five megabytes of all 256 values, there and back; the end of the input is the command's."""
    data = ALL * 20_000
    beside(lambda: ran.give(data))
    assert ran.run(["cat"], takes_input=True, raw=True) == 0
    assert hashlib.sha256(ran.raw).digest() == hashlib.sha256(data).digest()
    assert ran.taken == len(data)


def test_without_input_it_reads_the_end_at_once(ran: Ran) -> None:
    """/dev/null, and not what is behind its words."""
    assert ran.run(["sh", "-c", "cat; readlink /proc/self/fd/0; echo $ADDED"]) == 0
    assert [line for _, line in ran.lines] == ["/dev/null", "1"]


def test_a_command_that_does_not_read_keeps_nothing_waiting(ran: Ran) -> None:
    """Its output comes, its end is told, though all that may be sent ahead is on its way."""
    beside(lambda: ran.give(b"x" * (4 * AHEAD)))
    assert ran.run(["sh", "-c", "sleep 0.3; echo done; sleep 2"], takes_input=True) == 0
    assert ran.lines == [("out", "done")]
    before = ran.events[: next(at for at, one in enumerate(ran.events) if one["event"] == "output")]
    assert sum(one["bytes"] for one in before) < AHEAD


def test_more_than_may_be_sent_ahead_is_refused() -> None:
    """A laptop that does not keep to it could fill the host's memory."""
    theirs, ours = os.pipe()
    given = Input(ours, lambda _: None, ends=True)
    with pytest.raises(ValueError, match="sent ahead"):
        for _ in range(AHEAD // FRAME + 10):
            given.put(b"x" * FRAME)
    os.close(theirs)


def test_in_a_terminal_it_has_all_that_a_terminal_has(ran: Ran) -> None:
    """Its own, as the one of its session: job control, its size and each new one, Ctrl-C, the end that is typed."""
    code = (  # it waits for its signals: one that comes just before a read would be noticed after it
        "import os, sys, signal; print(os.isatty(0), os.isatty(2), os.ttyname(0) == os.ttyname(1), "
        "os.get_terminal_size(), os.tcgetpgrp(0) == os.getpgrp(), oct(os.fstat(0).st_mode)[-3:]); "
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH, signal.SIGINT]); print('ready', flush=True); "
        "signal.sigwait([signal.SIGWINCH]); print(os.get_terminal_size(), flush=True); "
        "print('got', input(), flush=True); signal.sigwait([signal.SIGINT]); print('caught', flush=True); "
        "print('interrupted', sys.stdin.read()); sys.exit(7)"
    )

    def type_it() -> None:
        def until(text: bytes) -> None:
            while text not in ran.raw:
                time.sleep(0.01)

        until(b"ready")
        ran.say({"op": "size", "rows": 40, "columns": 120})
        until(b"lines=40")
        ran.say({"op": "input", "length": 4}, b"typ\r")
        until(b"got typ")
        ran.say({"op": "input", "length": 1}, b"\x03")
        until(b"caught")
        ran.say({"op": "input", "length": 6}, b"more\r\x04")

    beside(type_it)
    assert ran.run(["python3", "-c", code], takes_input=True, terminal=WINDOW) == 7
    shown = ran.raw.decode().replace("\r", "")
    assert "True True True os.terminal_size(columns=90, lines=30) True 620" in shown
    assert "os.terminal_size(columns=120, lines=40)" in shown
    assert "interrupted more" in shown


@pytest.mark.parametrize(("words", "status"), [(["no-such-command"], 127), (["/etc/passwd"], 126)])
def test_what_cannot_be_started_ends_as_in_a_shell(ran: Ran, words: list[str], status: int) -> None:
    """With its name and why, on standard error."""
    assert ran.run(words) == status
    assert ran.lines[0][0] == "err"
    assert ran.lines[0][1].startswith(words[0])


BREAKS = ["sh", "-c", "trap '' HUP; yes | head -n 1; sleep 0.2"]


def test_in_a_terminal_a_pipe_that_breaks_ends_a_program_without_a_word(ran: Ran) -> None:
    """As people know it from theirs."""
    assert ran.run(BREAKS, takes_input=True, terminal=WINDOW) == 0
    assert ran.raw == b"y\r\n"


def test_without_one_a_program_outlives_the_end_of_who_reads_it(ran: Ran) -> None:
    """SIGPIPE stays ignored, as systemd has it: what is told to end may print, and goes on to its end."""
    assert ran.run(BREAKS) == 0
    assert ("out", "y") in ran.lines
    assert any("Broken pipe" in line for stream, line in ran.lines if stream == "err")


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ({}, {"LANG": "C.UTF-8"}, "C.UTF-8"),
        ({"LANG": "C", "LC_ALL": "C"}, {"LANG": "C.UTF-8"}, "C.UTF-8"),
        ({"LANG": "POSIX"}, {"LANG": "xx_XX.UTF-8"}, "POSIX"),
        ({}, {"LC_ALL": "xx_XX.UTF-8"}, "C.UTF-8"),
        ({"LANG": "POSIX"}, {}, "POSIX"),
    ],
)
def test_a_locale_that_the_host_lacks_is_left_out(before: dict[str, str], given: dict[str, str], after: str) -> None:
    """Programs would complain of it at each start."""
    words = ["sh", "-c", "echo ${LC_ALL-$LANG}"]
    done = subprocess.run(
        launcher.ARGV, input=launcher.given(words, locale=given), env={"PATH": os.environ["PATH"], **before}, stdout=-1
    )
    assert done.stdout.decode().strip() == after


# What is masked


@pytest.mark.parametrize("raw", [True, False])
def test_no_secret_comes_out(raw: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On neither stream, as lines or as bytes, whole or written in two pieces, and it is counted."""
    ran = Ran(monkeypatch, [SECRET])
    script = f"echo the word: {SECRET}; echo {SECRET} >&2; printf 'a very '; sleep 0.02; echo secret word."
    assert ran.run(["sh", "-c", script], raw=raw) == 0
    told = ran.raw.decode() + "\n".join(line for _, line in ran.lines)
    assert SECRET not in told
    assert told.count(MASK) == 3
    assert ran.masked == 2


def test_what_might_begin_a_secret_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that asks, and waits for the answer: its question comes out, whatever letter it ends with."""
    ran = Ran(monkeypatch, [SECRET])

    def answer() -> None:
        while not ran.raw.endswith(b"a very"):
            time.sleep(0.01)
        ran.give(b"yes\n")

    beside(answer)
    assert ran.run(["sh", "-c", "printf 'a very'; read answer; echo $answer"], takes_input=True, raw=True) == 0
    assert ran.raw == b"a veryyes\n"


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 64, 1000])
def test_a_secret_is_found_wherever_pieces_end(size: int) -> None:
    """Also one that begins as another ends, or is a part of it; all else is passed on byte for byte."""
    values = ("secret-of-mine-1234", "mine-1234-and-yours", "aaaaaaab", "xfe", "fedcba")
    shown = [
        b"plain",
        ALL,
        b"secret-of-mine-1234",
        b"secret-of-min",
        b"aaaaaaaaaaab",
        b"xfe",
        b"fedcb",
        b"fedcba",
        b"\0",
    ]
    data = b"|".join(shown)
    mask = StreamMask(values)
    found = b"".join(mask.feed(piece) for piece in pieces(data, size)) + mask.rest()
    expected = [*shown]
    expected[2] = expected[5] = expected[7] = MASK.encode()
    expected[4] = b"aaaa" + MASK.encode()
    assert found == b"|".join(expected)
    assert mask.count == 4


def test_masking_costs_no_time_for_a_long_secret() -> None:
    """A key of a hundred kilobytes in one line, and output that always looks like its beginning."""
    value = "k" * 7 + "".join(f"{number:05}" for number in range(20_000))
    mask = StreamMask([value])
    data = value.encode()[:60_000] + b"!"
    passed = b"".join(mask.feed(data) for _ in range(20)) + mask.rest()
    assert passed == data * 20


# Which release, which words


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """A simulated host on which v1 serves."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
        yield replace(host.context(lambda *_, **__: None))


def request(**options: Any) -> RunRequest:
    return RunRequest(**{"kind": "run", "argv": ("true",), **options})


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")


@needs_root
def test_a_release_is_locked_while_a_command_runs_in_it(ctx: Context) -> None:
    """Whoever removes releases passes by one that is locked; two commands may have it."""
    directory = ctx.paths.release(1)
    with target.held(ctx, request()) as one, target.held(ctx, request(release=1)) as two:
        assert one == two
        assert files.is_locked(directory)
    assert not files.is_locked(directory)


@needs_root
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"result": "failed"}, "it failed, and its code is gone"),
        ({"result": "rolled back"}, "it was rolled back, and its code is gone"),
        ({"result": "preparing"}, "it is not complete"),
    ],
)
def test_a_release_without_its_code_runs_nothing(ctx: Context, changes: dict[str, str], why: str) -> None:
    """It has a record, and is told apart from one that never was."""
    ctx.catalog.update(ctx.catalog.create("deploy", 0, "ada", 1.0, ctx.catalog.get(1).spec), **changes)
    with pytest.raises(HostError) as caught, target.held(ctx, request(release=2)):
        pass
    assert why in caught.value.message and "those that are kept: v1" in caught.value.message
    assert caught.value.exit == Exit.USAGE
    with (
        pytest.raises(HostError, match="there is no release v9 of shop; there are: v1, v2"),
        target.held(ctx, request(release=9)),
    ):
        pass


@needs_root
def test_a_process_that_the_release_lacks_is_named_with_those_it_has(ctx: Context) -> None:
    """A typing error must not run something under other settings."""
    release = ctx.catalog.get(1)
    assert target.overrides(ctx, release, "web") == release.spec.web_unit
    with pytest.raises(HostError) as caught:
        target.overrides(ctx, release, "werker")
    assert "has no process 'werker'" in caught.value.message and "web" in caught.value.message


@needs_root
def test_without_a_manage_py_it_says_where_it_looked(ctx: Context) -> None:
    """In the directory that the app runs in."""
    release = ctx.catalog.get(1)
    with pytest.raises(HostError, match=r"there is no manage\.py at the top of the code of v1"):
        target.words(ctx, release, request(kind="manage"))
    inner = replace(release, spec=replace(release.spec, directory="backend"))
    with pytest.raises(HostError, match=r"there is no manage\.py in backend/ of v1"):
        target.words(ctx, inner, request(kind="manage"))


def test_a_terminal_that_the_host_does_not_know_is_replaced(tmp_path: Path) -> None:
    """By one that most understand; where nothing is known it is left as it is."""
    for name in ("x/xterm", "x/xterm-256color", "66/foot"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    there = (str(tmp_path),)
    assert [terminal.known(one, there) for one in ("xterm", "foot", "xterm-ghostty")] == [
        "xterm",
        "foot",
        "xterm-256color",
    ]
    assert terminal.known("xterm-ghostty", (str(tmp_path / "no"),)) == "xterm-ghostty"


# It ends with who asked for it

WATCHED = """
import os, sys, time
from deployer.host.processes.run.listening import Laptop
with Laptop(os.fdopen(0, "rb"), float(sys.argv[1])).heard():
    print("ready", flush=True)
    time.sleep(60)
"""


def watched(limit: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[3]
    argv: Sequence[str] = [sys.executable, "-c", WATCHED, limit]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_laptop_that_gives_no_sign_is_taken_for_gone() -> None:
    """The session ends, and with it what it runs, though the connection still stands."""
    with watched("0.5") as process:
        assert process.wait(30) == -15


def test_input_that_comes_slowly_is_a_sign_of_life() -> None:
    """Byte by byte, in one message that takes longer than a laptop may be silent."""
    with watched("2") as process:
        assert process.stdin is not None
        process.stdin.write(b'{"op":"input","length":12}\n')
        for _ in range(12):
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.poll() is None
            time.sleep(0.3)
        process.stdin.close()
        assert process.wait(30) == -15


@pytest.mark.parametrize("data", [b"", b'{"op":"hold"}\n', b"nonsense\n", b'{"op":"input","length":9999999}\n'])
def test_a_laptop_that_closes_its_end_or_sends_nonsense_is_gone(data: bytes) -> None:
    """At once, without waiting for the time limit."""
    with watched("1000") as process:
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()
        assert process.wait(30) == -15

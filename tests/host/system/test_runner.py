"""Commands that leave somebody behind who holds their output: nobody waits for that."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from deployer.host.errors import HostError
from deployer.host.system import runner
from deployer.host.system.runner import LONGEST_LINE
from deployer.wire.protocol import Exit


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """Where a command may note the process that it leaves behind; that is ended afterwards."""
    noted = tmp_path / "pid"
    yield noted
    with contextlib.suppress(ProcessLookupError):  # one that wrote has died of a broken pipe
        os.kill(int(noted.read_text()), signal.SIGKILL)


def test_a_stream_ends_with_its_command(daemon: Path) -> None:
    """All that the command itself printed is handed on, and its status is its own."""
    lines: list[str] = []
    script = f"sleep 600 & echo $! > {daemon}; echo one; printf two; exit 3"
    assert runner.stream(["sh", "-c", script], lines.append) == 3
    assert lines == ["one", "two"]


def test_a_stream_ends_though_somebody_goes_on_writing(daemon: Path) -> None:
    """Whoever has the output and fills it for ever keeps nobody."""
    script = f"yes & echo $! > {daemon}; exit 0"
    count = 0

    def take(line: str) -> None:
        nonlocal count
        count += 1

    assert runner.stream(["sh", "-c", script], take) == 0


@pytest.mark.parametrize("status", [0, 1])
def test_a_stream_lasts_as_long_as_the_work_does(daemon: Path, status: int) -> None:
    """What the work prints is read until it is over, though the command that waited for it has ended."""
    script = f"(for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done) & echo $! > {daemon}; exit {status}"
    lines: list[str] = []

    def goes_on() -> bool:
        return Path(f"/proc/{daemon.read_text().strip()}").exists()

    assert runner.stream(["sh", "-c", script], lines.append, goes_on=goes_on) == status
    assert lines == list("123456")


def test_what_is_still_read_when_a_command_has_ended_is_bounded() -> None:
    """Somebody who fills the pipe faster than it is emptied."""
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as process, Path("/dev/zero").open("rb") as endless:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = endless
        read = 0
        for line in runner.lines(process):
            read += len(line)
            assert read <= 2 << 20


@pytest.fixture(params=["a descriptor of the process", "an old kernel", "an old Python"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to wait for a command."""
    if request.param == "an old kernel":
        monkeypatch.setattr(os, "pidfd_open", mock.Mock(side_effect=OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))))
    elif request.param == "an old Python":
        monkeypatch.delattr(os, "pidfd_open")


@pytest.mark.usefixtures("waiting")
def test_a_run_ends_with_its_command(daemon: Path) -> None:
    """Both streams are what was printed until then."""
    done = runner.run(["sh", "-c", f"sleep 600 & echo $! > {daemon}; echo out; echo err >&2; exit 4"], timeout=60)
    assert (done.status, done.out, done.err) == (4, "out\n", "err\n")


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("timeout", [0.2, 0, -1], ids=str)
def test_a_run_that_hangs_is_ended(tmp_path: Path, timeout: float) -> None:
    """Its time is up, whoever has its output."""
    noted = tmp_path / "pid"
    with pytest.raises(HostError) as caught:
        runner.run(["sh", "-c", f"echo $$ > {noted}; exec sleep 600"], timeout=timeout)
    assert "did not end" in caught.value.message
    assert caught.value.exit == Exit.REFUSED, "a slow host is no bug of deployer's"
    assert not noted.exists() or not Path(f"/proc/{noted.read_text().strip() or 'none'}").exists()


def test_waiting_for_a_run_leaves_nothing_open() -> None:
    """Neither when it has ended nor when its time is up."""
    gc.collect()  # what other tests have left
    before = list(Path("/proc/self/fd").iterdir())
    runner.run(["true"])
    with pytest.raises(HostError):
        runner.run(["sleep", "600"], timeout=0.05)
    assert len(list(Path("/proc/self/fd").iterdir())) <= len(before)


def test_a_run_that_was_killed_says_by_what() -> None:
    """Its status is that of Popen: minus the signal."""
    assert runner.run(["sh", "-c", "kill -9 $$"]).status == -signal.SIGKILL


def test_a_run_whose_end_was_taken_elsewhere_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SIGCHLD is ignored, the kernel keeps no ended process: there is none to have a descriptor of."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert runner.run(["echo", "out"]).out == "out\n"
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_is_given_is_read_to_its_end() -> None:
    """However much it is; a command that is given nothing reads nothing."""
    lines: list[str] = []
    given, code = b"x" * 300_000, "import sys; print(len(sys.stdin.read()))"
    assert runner.stream([sys.executable, "-c", code], lines.append, stdin=given) == 0
    assert lines == ["300000"]
    assert runner.run(["wc", "-c"], stdin=given).out.strip() == "300000"
    assert runner.run(["wc", "-c"]).out.strip() == "0"


def test_lines_are_whole_and_bounded() -> None:
    """A line without an end is handed on in pieces, an empty one as it is; what is no UTF-8 is replaced."""
    code = f"import os; os.write(1, b'a\\n\\nb\\xff\\r\\n' + b'y' * {3 * LONGEST_LINE} + b'\\nend')"
    lines: list[str] = []
    assert runner.stream([sys.executable, "-c", code], lines.append) == 0
    assert lines[:3] == ["a", "", "b\N{REPLACEMENT CHARACTER}"]
    assert lines[-1] == "end"
    assert max(map(len, lines)) <= LONGEST_LINE
    assert sum(map(len, lines[3:-1])) == 3 * LONGEST_LINE

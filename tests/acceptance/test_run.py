"""``fab run``: a command in the release that serves, as the app and no more, which lives no longer than the laptop."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deployer.wire.protocol import PROGRAM
from tests.support.failures import running
from tests.support.site import Ended, wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

FOR_EVER = "until [ -e $HOME/go ]; do sleep 0.1; done"
UNITS = "systemctl list-units --all --plain --no-legend 'deployer-mini-run*'"


def argv(site: TinySite, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    """``fab run -H host OPTIONS -- WORDS``."""
    return [*site.argv("run"), *options, "--", *words]


def run(site: TinySite, *words: str, options: tuple[str, ...] = ()) -> Ended:
    done = subprocess.run(
        argv(site, *words, options=options),
        cwd=site.project.path,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
    return Ended(done.returncode, done.stdout, done.stderr, events)


def python(site: TinySite, code: str, *words: str) -> Ended:
    return run(site, "python3", "-c", code, *words)


@contextmanager
def sleeping(site: TinySite) -> Iterator[subprocess.Popen[str]]:
    """A command that runs on the host and would for ever, saying nothing more."""
    words = argv(site, "sh", "-c", "echo begun; trap 'touch $HOME/asked; exit' TERM; while :; do sleep 0.1; done")
    site.host.run("rm -f /var/lib/mini/asked")
    with subprocess.Popen(
        words,
        cwd=site.project.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            assert is_running(site)
            yield process
        finally:
            process.kill()
            wait_until(lambda: not units(site), "the host has ended what it ran")


def units(site: TinySite) -> str:
    return site.host.run(UNITS, check=False).stdout


def is_running(site: TinySite) -> bool:
    return bool(site.host.run("pgrep -u mini -f 'echo begun'", check=False).stdout)


def asked(site: TinySite) -> bool:
    """Whether the command got the time to end by itself."""
    return site.host.run("test -e /var/lib/mini/asked", check=False).returncode == 0


def test_its_output_and_its_status_are_the_commands_own(mini: TinySite) -> None:
    """Each stream comes out where it belongs, and the exit code is the command's; nothing else is said."""
    ended = run(mini, "sh", "-c", "echo one; echo two >&2; printf 'a  b'; exit 42")
    assert (ended.exit, ended.out, ended.err) == (42, "one\na  b", "two\n")
    assert run(mini, "true").exit == 0
    assert units(mini) == ""


def test_it_runs_as_the_app_in_its_release(mini: TinySite) -> None:
    """User, directory, environment and PATH are those of the process that serves; there is no input."""
    code = (
        "import os, pwd, sys, json; print(json.dumps([pwd.getpwuid(os.getuid()).pw_name, os.getcwd(), "
        "os.environ['TEST_COLOUR'], os.environ['DEPLOYER_RELEASE'], os.environ['HOME'], "
        "os.environ['PATH'].split(':')[0], sys.stdin.read(), os.path.exists('server.py')]))"
    )
    serving = mini.serving
    user, directory, colour, release, home, path, said, there = json.loads(python(mini, code).out)
    assert (user, colour, release, home, said, there) == ("mini", "green", serving, "/var/lib/mini", "", True)
    assert directory.startswith("/srv/mini/trees/")
    assert path == f"/srv/mini/releases/{serving}/venv/bin"
    assert run(mini, "df", "-h", ".").exit == 0


def test_words_arrive_as_they_are(mini: TinySite) -> None:
    """No shell, no systemd and no ssh reads them on the way."""
    words = ["$HOME", "${USER}", "%n", "a  b", "", "'\"", "x\ny", "\\", "$(id)", "--", "-x", "é", "A=B"]
    ended = python(mini, "import sys, json; print(json.dumps(sys.argv[1:]))", *words)
    assert json.loads(ended.out) == words


def test_secrets_are_masked_and_in_no_argument(mini: TinySite) -> None:
    """A command that prints the environment shows no secret, and nobody on the host sees one in a list of processes."""
    (mini.project.path / ".env").write_text("TOKEN=hunter2-hunter2\n")
    mini.project.write(".gitignore", ".env\n")
    mini.configure(top='env_file = ".env"')
    mini.deploy()
    ended = run(mini, "sh", "-c", "echo $TOKEN; test $TOKEN = hunter2-hunter2; echo $?")
    assert ended.out == "****\n0\n"
    assert "the output is not byte for byte what the command printed" in ended.err
    with sleeping(mini):
        shown = mini.host.run("ps -eo args; systemctl show 'deployer-mini-run*'; cat /run/systemd/transient/*").stdout
    assert "deployer-mini-run" in shown
    assert "hunter2" not in shown


def test_its_words_are_in_no_unit_and_no_journal(mini: TinySite, two_apps: tuple[TinySite, TinySite]) -> None:
    """What systemd writes down and root's own processes show everybody holds none of them; the command itself is seen
    as any program is, but not from within another app."""
    mini.host.run("rm -f /opt/go-on")
    script = 'echo begun; until [ -e /opt/go-on ]; do sleep 0.1; done; echo "$0"'
    words = argv(mini, "sh", "-c", script, "w0rd-of-mine")
    with subprocess.Popen(words, cwd=mini.project.path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            written = mini.host.run(
                "systemctl show 'deployer-mini-run*'; cat /run/systemd/transient/*; journalctl -b --no-pager -o verbose"
            ).stdout
            seen = mini.host.run("ps -eo user,args | grep '[w]0rd-of-mine'").stdout.splitlines()
            others = run(two_apps[1], "sh", "-c", "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '").out
            mini.host.run("touch /opt/go-on")
            assert process.stdout.read() == "w0rd-of-mine\n"
        finally:
            process.kill()
            mini.host.run("touch /opt/go-on; rm -f /opt/go-on")
    assert "deployer-mini-run" in written
    assert "w0rd-of-mine" not in written
    assert {line.split()[0] for line in seen} == {"mini"}
    assert "cat /proc" in others
    assert "w0rd-of-mine" not in others


def test_it_may_not_more_than_the_app(mini: TinySite) -> None:
    """It becomes no root, writes no code, and reads neither its own environment's file nor another app's."""
    serving = mini.serving
    assert run(mini, "grep", "NoNewPrivs", "/proc/self/status").out.split() == ["NoNewPrivs:", "1"]
    for words in (
        ("touch", "here"),
        ("cat", f"/srv/mini/releases/{serving}/env"),
        ("ls", "/var/lib/blog"),
        ("cat", "/etc/shadow"),
        ("systemctl", "stop", "mini.service"),
        ("sudo", "-n", PROGRAM, "session", "mini"),
    ):
        assert run(mini, *words).exit != 0, words
    assert mini.serving == serving
    assert run(mini, "touch", "/var/lib/mini/there").exit == 0


@pytest.mark.parametrize(
    ("words", "exit"), [(["no-such-command"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -TERM $$"], 143)]
)
def test_a_command_without_an_end_of_its_own(mini: TinySite, words: list[str], exit: int) -> None:
    """What does not exist, may not be run, or is killed, ends as shells tell it; never as a success."""
    assert run(mini, *words).exit == exit


def test_ctrl_c_ends_it_on_the_host(mini: TinySite) -> None:
    """130, no traceback; the command is asked to end, and nothing of it stays."""
    with sleeping(mini) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err == ""
        wait_until(lambda: not is_running(mini) and not units(mini), "the command has ended")
    assert asked(mini)


def test_a_laptop_that_dies_ends_it_on_the_host(mini: TinySite) -> None:
    """Killed without a word: its connection breaks, and so does the command."""
    with sleeping(mini) as process:
        process.kill()
        wait_until(lambda: not is_running(mini) and not units(mini), "the command has ended")
    assert asked(mini)


def test_a_host_program_that_is_killed_ends_it(mini: TinySite) -> None:
    """SIGKILL leaves no time to clear away: systemd ends what was bound to it. The laptop names the host."""
    with sleeping(mini) as process:
        mini.host.run("pkill -KILL -f 'deployer-host session mini'", check=False)
        _, err = process.communicate(timeout=60)
        wait_until(lambda: not is_running(mini) and not units(mini), "the command has ended")
    assert process.returncode == 3
    assert mini.host.name in err


def test_it_runs_beside_a_deploy(mini: TinySite) -> None:
    """It neither waits for a deploy nor holds one up, and goes on in the release that it began with."""
    before = mini.serving
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=[FOR_EVER])
    with running(mini, "deploy", "--json") as deploying:
        deploying.until("phase.started", phase="build")
        assert run(mini, "sh", "-c", "echo $DEPLOYER_RELEASE").out == f"{before}\n"
        with sleeping(mini):
            mini.host.run("mkdir -p /var/cache/deployer-mini; touch /var/cache/deployer-mini/go")
            assert deploying.end().exit == 0
            assert mini.serving != before
            assert is_running(mini)


def test_machines_read_each_line_as_an_event(mini: TinySite) -> None:
    """--json: output events with host and phase, and the exit code of the command."""
    ended = run(mini, "sh", "-c", "echo one; exit 5", options=("--json",))
    assert ended.exit == 5
    event = ended.event("output")
    assert (event["phase"], event["line"], event["host"]) == ("run", "one", f"{mini.user}@{mini.host.name}")


def test_a_flood_is_passed_on_whole(mini: TinySite) -> None:
    """Ten thousand lines come in their order; for machines, one that never ends comes in pieces."""
    code = "print(*range(10_000), sep='\\n'); print('x' * 200_000)"
    lines = [*map(str, range(10_000))]
    assert python(mini, code).out.splitlines() == [*lines, "x" * 200_000]
    told = [one["line"] for one in run(mini, "python3", "-c", code, options=("--json",)).events]
    assert told[:10_000] == lines
    assert "".join(told[10_000:]) == "x" * 200_000


def test_without_words_or_release_nothing_is_run(mini: TinySite) -> None:
    """Exit 2, and what to type."""
    ended = run(mini)
    assert ended.exit == 2
    assert "fab run -H" in ended.err and "-- python manage.py check" in ended.err
    fresh = make_tiny(mini.host, mini.project.path.parent / "fresh", app="fresh")
    fresh.expect(0, "setup", user="root")
    ended = run(fresh, "true")
    assert ended.exit == 2
    assert "nothing of fresh is deployed yet" in ended.err

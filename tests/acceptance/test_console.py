"""Input, terminals, releases and processes of ``fab run``, ``fab shell`` and ``fab manage``, on a real host."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.screen import ANSI
from tests.support.site import FAB, wait_until
from tests.support.terminal import Terminal
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

UNITS = "systemctl list-units --all --plain --no-legend 'deployer-mini-run*'"
MANAGE = """\
import getpass, os, sys
print(sys.argv[1:], os.getcwd().startswith("/srv/mini/"))
if "createsuperuser" in sys.argv:
    name = input("Username: ")
    print(name, len(getpass.getpass()), "created")
"""
WORKER = """
[processes.worker]
command = "/usr/bin/python3 -c 'import time; time.sleep(1e6)'"
unit = { ProtectHostname = "no" }
"""


@pytest.fixture(scope="module")
def site(two_apps: tuple[TinySite, TinySite], tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    """A tiny app with a manage.py, a worker and a secret; two releases of it have served."""
    made = make_tiny(two_apps[0].host, tmp_path_factory.mktemp("console") / "mini")
    made.project.write("manage.py", MANAGE)
    made.project.write(".env", "TOKEN=hunter2-hunter2\n")
    made.project.write(".gitignore", ".env\n")
    made.configure(top='env_file = ".env"', release="keep = 2", env=WORKER)
    made.deploy()
    made.project.change(files={"new.txt": "2"})
    made.deploy()
    return made


def argv(site: TinySite, task: str, *words: str) -> list[str]:
    """Options first; the words of the command after ``--``."""
    return [*site.argv(task), *words]


def fab(site: TinySite, task: str, *words: str, data: bytes | None = None) -> tuple[int, bytes, str]:
    """Exit code, standard output as bytes, standard error."""
    given = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    done = subprocess.run(argv(site, task, *words), cwd=site.project.path, capture_output=True, timeout=180, **given)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr.decode()


def units(site: TinySite) -> str:
    return site.host.run(UNITS, check=False).stdout


@contextmanager
def terminal(site: TinySite, task: str, *words: str) -> Iterator[Terminal]:
    """The task in a terminal of 80 columns; it is over when the block is."""
    made = Terminal(argv(site, task, *words), site.project.path)
    termios.tcsetwinsize(made.descriptor, (24, 80))
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(made.pid, signal.SIGTERM)
        wait_until(lambda: not units(site), "the host has ended what it ran")


def restored(made: Terminal) -> bool:
    return termios.tcgetattr(made.descriptor)[3] & termios.ICANON == made.before[3] & termios.ICANON


def test_ten_megabytes_go_there_and_back(site: TinySite) -> None:
    """All 256 values, and the end of the input, as through a pipe on one machine."""
    data = bytes(range(256)) * 40_960
    exit, out, err = fab(site, "run", "--", "cat", data=data)
    assert (exit, err) == (0, "")
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    exit, out, _ = fab(site, "run", "--", "sha256sum", data=data)
    assert (exit, out.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())


def test_what_a_command_does_not_read_holds_nothing_up(site: TinySite) -> None:
    """It ends when it ends, with its own exit code: one that reads nothing, a part, or closes its input."""
    data = b"line\n" * 2_000_000
    assert fab(site, "run", "--", "sh", "-c", "echo done; exit 5", data=data) == (5, b"done\n", "")
    assert fab(site, "run", "--", "head", "-n", "1", data=data) == (0, b"line\n", "")
    assert fab(site, "run", "--", "sh", "-c", "exec <&-; echo done", data=data) == (0, b"done\n", "")
    assert fab(site, "run", "--", "cat", data=b"") == (0, b"", "")
    silent = subprocess.Popen(  # as CI hands over: a pipe that nobody ever writes to
        argv(site, "run", "--", "true"), cwd=site.project.path, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with silent:
        assert silent.wait(60) == 0
    assert fab(site, "shell", data=b"cd /tmp\npwd\nexit 3\n")[:2] == (3, b"/tmp\n")


def test_neither_words_nor_input_are_seen_by_others(site: TinySite) -> None:
    """Not in systemd's records, not in the journal, not in the arguments of any process but the command's own."""
    exit, out, _ = fab(site, "run", "--", "sh", "-c", "cat; sleep 1; ps -eo args", "a-w0rd", data=b"the-1nput\n")
    assert exit == 0
    assert b"the-1nput" in out
    written = site.host.run("cat /run/systemd/transient/* 2>/dev/null; journalctl -b --no-pager -o verbose").stdout
    assert "the-1nput" not in written
    assert "a-w0rd" not in written


def test_a_shell_is_a_shell(site: TinySite) -> None:
    """Its prompt says where, it has the app's user, a terminal with job control, and the exit code is its last."""
    with terminal(site, "shell") as made:
        made.wait_for(f"mini@{site.host.name} {site.serving} code $ ".encode())
        made.type("id -un; pwd; stty size; echo TERM=$TERM\r")
        made.wait_for(b"TERM=xterm-256color")
        assert "\rmini\r\n" in made.text and f"/srv/mini/releases/{site.serving}/code" in made.text
        assert "24 80" in made.text
        made.type("sleep 1000\r")
        made.type("\x03")
        made.wait_for(b"^C")
        made.type("sleep 2000\r")
        wait_until(lambda: b"sleep 2000" in site.host.run("ps -eo args").stdout.encode(), "it sleeps")
        made.type("\x1a")
        made.wait_for(b"Stopped")
        termios.tcsetwinsize(made.descriptor, (40, 132))
        made.type("kill %1; sleep 0.5; stty size\r")
        made.wait_for(b"40 132")
        made.type("echo $TOKEN.\r")
        made.wait_for(b"****.")
        assert not restored(made)
        made.type("exit 7\r")
        assert made.end() == 7
    assert b"hunter2" not in made.seen
    assert site.host.run("ls -A /var/lib/mini", check=False).stdout.count("history") == 0


def test_manage_py_asks_and_is_answered(site: TinySite) -> None:
    """A question, a password that is not shown, and the terminal as it was."""
    with terminal(site, "manage", "--", "createsuperuser") as made:
        made.wait_for(b"Username: ")
        made.type("ada\r")
        made.wait_for(b"Password: ")
        made.type("s3cret\r")
        assert made.end() == 0
    assert "['createsuperuser'] True" in made.text
    assert "ada 6 created" in made.text
    assert "s3cret" not in made.text
    assert fab(site, "manage", "--", "check")[1] == b"['check'] True\n"


def test_keys_reach_a_python_prompt(site: TinySite) -> None:
    """Ctrl-C interrupts what it does, Ctrl-D ends it; a signal ends it as in a shell."""
    with terminal(site, "run", "--", "python3", "-q") as made:
        made.wait_for(b">>> ")
        made.type("import time; time.sleep(1000)\r")
        made.wait_for(b"sleep(1000)")
        made.type("\x03")
        made.wait_for(b"KeyboardInterrupt")
        made.type("import os; os.kill(os.getpid(), 9)\r")
        assert made.end() == 137


@pytest.mark.parametrize("how", ["the connection", "SIGTERM", "Enter ~ ."])
def test_however_it_ends_the_terminal_is_as_it_was(site: TinySite, how: str) -> None:
    """And nothing goes on on the host."""
    with terminal(site, "shell") as made:
        made.wait_for(b" $ ")
        assert not restored(made)
        if how == "the connection":
            site.host.run("pkill -f 'sshd: deploy@notty'")
            made.wait_for(b"was lost")
        elif how == "SIGTERM":
            subprocess.run(["kill", "-TERM", str(made.pid)], check=True)
        else:
            made.type("\r~.")
            made.wait_for(b"left; the host ends the command")
        made.read_until(lambda: restored(made)) if how != "SIGTERM" else wait_until(lambda: restored(made), "restored")
        exit = made.end()
    assert exit == {"the connection": 3, "SIGTERM": -signal.SIGTERM, "Enter ~ .": 130}[how]


def test_a_release_is_kept_while_a_command_runs_in_it(site: TinySite) -> None:
    """Two deploys later, beyond the number that is kept, its code is there until the command is over."""
    old = f"v{int(site.serving[1:]) - 1}"
    words = argv(site, "run", "--release", old, "--", "sh", "-c", "echo $DEPLOYER_RELEASE; read x; test -e server.py")
    with subprocess.Popen(
        words, cwd=site.project.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == f"{old}\n"
        for text in ("3", "4", "5"):
            site.project.change(files={"new.txt": text})
            site.deploy()
        process.stdin.write("go on\n")
        process.stdin.close()
        assert process.wait(60) == 0
    site.project.change(files={"new.txt": "6"})
    site.deploy()
    exit, _, err = fab(site, "run", "--release", old, "--", "true")
    assert exit == 2
    assert f"there is no release {old} of mini" in err and "fab releases" in err


def test_it_takes_the_place_of_a_process(site: TinySite) -> None:
    """Its name in the environment, and what is relaxed for it; one that is not there is named with those that are."""
    script = "echo $DEPLOYER_PROCESS; unshare --uts true 2>/dev/null; hostname"
    assert fab(site, "run", "--process", "worker", "--", "sh", "-c", script)[1].startswith(b"worker\n")
    exit, _, err = fab(site, "run", "--process", "werker", "--", "true")
    assert exit == 2
    assert "has no process 'werker' on this host; it has: web, worker" in err


def test_a_time_limit_ends_it_and_is_told(site: TinySite) -> None:
    """124, as timeout(1) has it, with what was typed and how long it had."""
    exit, out, err = fab(site, "run", "--timeout", "2s", "--", "sh", "-c", "echo begun; sleep 1000")
    assert (exit, out) == (124, b"begun\n")
    assert "did not end within 2.0 s, and was stopped" in err and "--timeout" in err
    assert not units(site)


def test_misuse_is_explained(site: TinySite) -> None:
    """Before anything runs, with what to type."""
    for task, words, told in (
        ("shell", ("--", "ls"), "fab run"),
        ("shell", ("-H", f"{site.user}@{site.host.name},{site.user}@other"), "a shell is opened on one host"),
        ("run", ("--timeout", "soon", "--", "true"), "--timeout 90s"),
        ("run", ("--release", "newest", "--", "true"), "not a release"),
        ("run", ("--release", "v99999", "--", "true"), "there is no release v99999"),
        ("manage", ("migrate", "--plan"), "-- migrate --plan"),
    ):
        argv = [FAB, *site.argv(task)[1:-2], *(() if "-H" in words else site.argv(task)[-2:]), *words]
        done = subprocess.run(argv, cwd=site.project.path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 2, (argv, done.stderr)
        assert told in done.stderr, (argv, done.stderr)
    assert not units(site)


def test_an_app_without_a_manage_py_says_so(two_apps: tuple[TinySite, TinySite]) -> None:
    """Where it looked, and what to do instead."""
    exit, _, err = fab(two_apps[1], "manage", "--", "check")
    assert exit == 2
    assert "there is no manage.py at the top of the code" in err and "fab run" in err


def test_a_shell_without_a_terminal_for_its_output_is_refused(site: TinySite) -> None:
    """It would wait for keys that nobody knows to type."""
    made = Terminal(["/bin/sh", "-c", f"{' '.join(argv(site, 'shell'))} > /dev/null"], site.project.path)
    assert made.end() == 2
    assert "a shell needs a terminal for what it prints, too" in " ".join(ANSI.sub("", made.text).split())

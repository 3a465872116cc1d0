"""Each way in which a connection does not come about is told as what it is: against real sshds, and what is none."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployer.errors import ConfigError, DeployerError, Unreachable
from deployer.ssh.link import connect
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from tests.host.sshd import Sshd, free_port, make_key, running, write_config

cause = pytest.mark.cause


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd") / "web") as one:
        yield one


def refusal(
    directory: Path, extra: str = "", sshds: dict[str, Sshd] | None = None, known: str = "", patience: float = 20
) -> DeployerError:
    """What connecting to ``web`` ends with. ``extra`` comes first in ssh_config, and so wins; ``patience`` is the time
    limit in seconds: a short one only where it is what ends the attempt."""
    sshds = sshds or {}
    known = known or "".join(one.known() for one in sshds.values())
    config = write_config(directory, sshds, known, extra)
    with pytest.raises(DeployerError) as caught:
        connect(Target.parse("web"), SshOptions(config_file=config, connect_timeout=patience)).close()
    assert caught.value.state == "nothing was touched"
    assert str(caught.value.next)
    return caught.value


@contextmanager
def service(greeting: bytes, *, hangs: bool = False) -> Iterator[str]:
    """Something that listens, says ``greeting`` and hangs up, or ``hangs``; the lines of ssh_config for it."""
    kept = []

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                client.sendall(greeting)
                kept.append(client) if hangs else client.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield f"Host web\n HostName 127.0.0.1\n Port {server.getsockname()[1]}\n"
    for client in kept:
        client.close()


SERVICES = [
    pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SSH; it said: HTTP", marks=cause("not-ssh")),
    pytest.param(b"Exceeded MaxStartups\r\n", "it said: Exceeded MaxStartups", id="MaxStartups"),
    pytest.param(b"\x16\x03\x01\x00\xff\x1b[2J\r\n", "does not speak SSH", id="bytes"),
    pytest.param(b"", "closed the connection without a word", marks=cause("turned-away")),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "no agreement on how to encrypt", marks=cause("broke-off")),
]


@pytest.mark.parametrize(("greeting", "words"), SERVICES)
def test_what_listens_there_is_told(tmp_path: Path, greeting: bytes, words: str) -> None:
    """What it said is shown, on one line that cannot touch a terminal."""
    with service(greeting) as lines:
        error = refusal(tmp_path, lines)
    assert words in error.message
    assert error.message.isprintable()


def test_a_slow_machine_takes_no_host_that_hangs_up_for_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came from the connection counts, and not how long this machine took to see it."""
    clock = itertools.count(0, 100)
    slow = SimpleNamespace(monotonic=lambda: float(next(clock)), sleep=lambda _: None)
    monkeypatch.setattr("deployer.ssh.login.login.time", slow)
    with service(b"") as lines:
        assert "closed the connection without a word" in refusal(tmp_path, lines).message


@cause("silent")
def test_a_host_that_takes_the_connection_and_hangs_is_told_from_a_firewall(tmp_path: Path) -> None:
    """It is there, and says nothing."""
    with service(b"", hangs=True) as lines:
        assert "took the connection and then said nothing for 0.5 s" in refusal(tmp_path, lines, patience=0.5).message


@cause("nothing-listens")
def test_a_port_where_nothing_listens(tmp_path: Path) -> None:
    """The address and the port are named."""
    port = free_port()
    error = refusal(tmp_path, f"Host web\n HostName 127.0.0.1\n Port {port}\n")
    assert f"nothing listens at 127.0.0.1 port {port}" in error.message


@cause("no-answer")
def test_an_address_that_drops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes back, and the time limit is named."""

    class Dropped(socket.socket):
        def connect(self, _: object) -> None:
            raise TimeoutError("timed out")

    monkeypatch.setattr("deployer.ssh.dial.socket.socket", Dropped)
    error = refusal(tmp_path, "Host web\n HostName 127.0.0.1\n Port 4022\n", patience=0.5)
    assert "no answer from 127.0.0.1 port 4022 within" in error.message


RESOLVED = [
    pytest.param(socket.gaierror(socket.EAI_NONAME, "x"), "has no address", marks=cause("no-address")),
    pytest.param(socket.gaierror(socket.EAI_AGAIN, "x"), "no DNS server answers", marks=cause("no-dns")),
    pytest.param([(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 22, 0, 0))], "only IPv6 addresses (2001:db8::1)",
                 marks=cause("no-route")),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), RESOLVED)
def test_names_and_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception | list[object], words: str
) -> None:
    """A name that is wrong, DNS that is down, and a network without IPv6 are three things."""

    def resolve(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Unrouted(socket.socket):
        def connect(self, _: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("deployer.ssh.dial.socket.getaddrinfo", resolve)
    monkeypatch.setattr("deployer.ssh.dial.socket.socket", Unrouted)
    assert words in refusal(tmp_path, "Host web\n HostName web.example\n").message


@cause("network")
def test_any_other_error_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in the system's own words."""

    class Reset(socket.socket):
        def connect(self, _: object) -> None:
            raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("deployer.ssh.dial.socket.socket", Reset)
    assert "Connection reset by peer" in refusal(tmp_path, "Host web\n HostName 127.0.0.1\n").message


@cause("proxy-command")
def test_a_proxy_command_that_fails(tmp_path: Path) -> None:
    """Its exit status and its last word are told, not that something turned us away."""
    error = refusal(tmp_path, "Host web\n ProxyCommand sh -c 'echo no such tunnel >&2; exit 7'\n")
    assert "the ProxyCommand ended with exit status 7: no such tunnel" in error.message


@cause("jump-host")
def test_a_jump_host_that_gets_no_further(tmp_path: Path, sshd: Sshd) -> None:
    """What could not be reached is what the jump host says, and not the jump host."""
    extra = f"Host web\n HostName 127.0.0.1\n Port {free_port()}\n ProxyJump jump\n"
    error = refusal(tmp_path, extra, {"jump": sshd})
    assert "the jump host could not connect to 127.0.0.1 port" in error.message


@cause("no-key")
def test_no_key_at_all(tmp_path: Path, sshd: Sshd) -> None:
    """The first step is to make one."""
    where = f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
    error = refusal(tmp_path, f"{where} IdentityFile {tmp_path}/none\n IdentitiesOnly yes\n", known=sshd.known())
    assert "no key was found to offer" in error.message
    assert error.next.commands[0] == "ssh-keygen -t ed25519"


@cause("locked-key")
def test_a_locked_key_and_nobody_to_ask(tmp_path: Path, sshd: Sshd) -> None:
    """The command loads that key into the agent."""
    key = make_key(tmp_path / "locked", passphrase="secret")
    extra = f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n IdentityFile {key}\n"
    error = refusal(tmp_path, extra, known=sshd.known())
    assert str(error.next).startswith(f"ssh-add {key}")


@cause("too-many-keys")
def test_more_keys_than_the_host_lets_one_try(tmp_path: Path) -> None:
    """MaxAuthTries: the keys that were tried are named, and how to name the right one."""
    with running(tmp_path / "strict", extra="MaxAuthTries 2") as strict:
        keys = "".join(f" IdentityFile {make_key(tmp_path / str(number))}\n" for number in range(4))
        extra = f"Host web\n HostName 127.0.0.1\n Port {strict.port}\n User {strict.user}\n{keys}"
        error = refusal(tmp_path, extra, known=strict.known())
    assert "after 2 keys (Too many authentication failures)" in error.message
    assert f"{tmp_path}/0" in error.message
    assert "IdentitiesOnly" in str(error.next)


def test_what_a_host_said_before_it_closed_cannot_touch_the_terminal(tmp_path: Path) -> None:
    """The banner of a host is text of others."""
    (tmp_path / "banner").write_bytes(b"go \x1b[2Jaway\n")
    with running(tmp_path / "strict", extra=f"Banner {tmp_path}/banner\nMaxAuthTries 1") as strict:
        key = make_key(tmp_path / "mine")
        extra = f"Host web\n HostName 127.0.0.1\n Port {strict.port}\n User {strict.user}\n IdentityFile {key}\n"
        error = refusal(tmp_path, extra, known=strict.known())
    assert "\x1b" not in error.message and "go [2Jaway" in error.message


# this machine


def alone(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with nothing in its environment but what is given."""
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, env=environment)


REACH = """
import os, sys
{before}
from deployer.errors import DeployerError
from deployer.ssh.link import connect
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
try:
    connect(Target.parse("web"), SshOptions())
except DeployerError as error:
    print(type(error).__name__, error.exit.value, error.message, "|", error.state)
"""


def test_no_ssh_here_is_told(tmp_path: Path) -> None:
    """Without OpenSSH's client nothing can be asked of its configuration."""
    done = alone(REACH.format(before=""), PATH=str(tmp_path))
    assert "ConfigError 2" in done.stdout and "ssh is not installed" in done.stdout, done.stderr


@cause("local-no-home")
@pytest.mark.skipif(os.getuid() != 0, reason="becomes a user that is not known here")
def test_a_user_without_an_entry_is_told(tmp_path: Path) -> None:
    """As in a container of a CI: ssh refuses to work, and it is not ssh_config that is wrong."""
    before = "import deployer.ssh.link, paramiko; os.setgroups([]); os.setgid(54321); os.setuid(54321)"
    done = alone(REACH.format(before=before), PATH=os.environ["PATH"])
    assert "the user 54321 is not known on this machine" in done.stdout, done.stderr


def test_ssh_files_that_may_not_be_looked_at_are_told(tmp_path: Path, sshd: Sshd) -> None:
    """A directory of keys of another user's is named, instead of a traceback."""
    program = """
import os, sys
from pathlib import Path
from deployer.ssh.settings import KeyFile
key = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.environ["KEY"])
os.setgroups([]); os.setgid(54321); os.setuid(54321)
one = KeyFile(path=key, chosen=True)
print(one.is_there, one.is_hidden)
"""
    if os.getuid() != 0:
        pytest.skip("becomes another user")
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    done = alone(program, KEY=str(hidden / "id"), PATH=os.environ["PATH"])
    assert done.stdout == "False True\n", done.stderr


def test_a_shell_that_is_not_there_is_this_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ProxyCommand is run by $SHELL; that it cannot be is no matter of the host's."""
    monkeypatch.setenv("SHELL", "/nowhere/sh")
    error = refusal(tmp_path, "Host web\n ProxyCommand true\n")
    assert isinstance(error, ConfigError) and not isinstance(error, Unreachable)
    assert "/nowhere/sh" in error.message

"""Our SSH against real sshds: whom it trusts, how it logs in, what it carries, and how it notices a loss."""

from __future__ import annotations

import io
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest

from deployer.errors import DeployerError, Unreachable
from deployer.events import Event, Warn
from deployer.ssh import settings
from deployer.ssh.link import Link, connect
from deployer.ssh.login import methods as auth
from deployer.ssh.login.login import login
from deployer.ssh.options import Question, SshOptions
from deployer.ssh.settings import SshSettings
from deployer.ssh.target import Target
from tests.host.sshd import Sshd, fingerprint, free_port, make_key, public, running, write_config
from tests.support.delayproxy import DelayProxy


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd") / "web", kinds=("ed25519", "ecdsa", "rsa")) as one:
        yield one


def reach(directory: Path, hosts: dict[str, Sshd], known: str, extra: str = "", **options: Any) -> Link:
    """Connects to ``web`` with an ssh_config of its own."""
    config = write_config(directory, hosts, known, extra)
    return connect(Target.parse("web"), SshOptions(config_file=config, **options))


def refusal(directory: Path, hosts: dict[str, Sshd], known: str, extra: str = "", **options: Any) -> DeployerError:
    """The error that connecting ends with; it has touched nothing and exits with 3."""
    with pytest.raises(Unreachable) as caught:
        reach(directory, hosts, known, extra, **options).close()
    assert caught.value.exit == 3
    assert caught.value.state == "nothing was touched"
    assert caught.value.host == "web"
    return caught.value


@pytest.fixture
def link(sshd: Sshd, tmp_path: Path) -> Iterator[Link]:
    with reach(tmp_path, {"web": sshd}, sshd.known()) as link:
        yield link


# whom it trusts


def test_a_known_host_lets_us_run_a_program(link: Link, sshd: Sshd) -> None:
    """With the right key in known_hosts, an alias of ssh_config (host, port, user, key) is all it takes."""
    result = link.run(["sh", "-c", "cat; echo oops >&2; exit 3"], b"in")
    assert (result.exit, result.stdout, result.stderr) == (3, b"in", b"oops\n")
    assert (link.host, link.user, link.is_root) == ("web", sshd.user, sshd.user == "root")


def test_an_unknown_key_is_refused_and_the_command_given_puts_it_right(sshd: Sshd, tmp_path: Path) -> None:
    """The message has the fingerprint, nothing is recorded, and typing what it says makes the host known."""
    error = refusal(tmp_path, {"web": sshd}, "")
    assert fingerprint(sshd.keys["ed25519"]) in error.message
    assert not (tmp_path / "known_hosts").exists()
    (command,) = error.next.commands
    assert command.startswith("ssh-keyscan")
    subprocess.run(command, shell=True, check=True, stderr=subprocess.DEVNULL)
    reach(tmp_path, {"web": sshd}, "").close()


@pytest.mark.parametrize("host_keys", ["config", "strict", "accept-new"])
def test_a_changed_key_is_refused_whatever_was_asked_for(sshd: Sshd, tmp_path: Path, host_keys: str) -> None:
    """The old key's file and line are named, and the ssh-keygen -R given removes it from that file."""
    known = f"# mine\n{sshd.name} {public(make_key(tmp_path / 'old'))}\n"
    extra = "StrictHostKeyChecking no\n"
    error = refusal(tmp_path, {"web": sshd}, known, extra, host_keys=host_keys)
    assert f"{tmp_path}/known_hosts:2" in error.message
    assert fingerprint(sshd.keys["ed25519"]) in error.message
    command = error.next.commands[0]
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert sshd.name not in (tmp_path / "known_hosts").read_text()


def test_a_revoked_key_is_refused_though_it_is_also_known(sshd: Sshd, tmp_path: Path) -> None:
    """@revoked wins over a plain line, and accept-new does not help."""
    known = f"{sshd.known()}@revoked * {public(sshd.keys['ed25519'])}\n"
    error = refusal(tmp_path, {"web": sshd}, known, host_keys="accept-new")
    assert "revoked" in error.message
    assert f"{tmp_path}/known_hosts:2" in error.message


def test_a_key_revoked_under_the_name_without_port_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """The sshd is not on port 22; that accept-new is asked for, or another line vouches for the key, does not help."""
    revoked = f"@revoked 127.0.0.1 {public(sshd.keys['ed25519'])}\n"
    for place, known in enumerate((revoked, sshd.known(name="127.0.0.1") + revoked)):
        error = refusal(tmp_path / str(place), {"web": sshd}, known, host_keys="accept-new")
        assert "revoked" in error.message
        assert f"known_hosts:{known.count(chr(10))}" in error.message


def test_a_revocation_list_is_honoured(sshd: Sshd, tmp_path: Path) -> None:
    """RevokedHostKeys in ssh_config refuses the keys in its list, and all keys when it can't be read."""
    revoked = tmp_path / "krl"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, f"{sshd.keys['ed25519']}.pub"], check=True)
    assert "revoked" in refusal(tmp_path, {"web": sshd}, sshd.known(), f"RevokedHostKeys {revoked}\n").message
    assert "revoked" in refusal(tmp_path, {"web": sshd}, sshd.known(), f"RevokedHostKeys {revoked}-not\n").message


def test_a_certificate_authority_alone_is_not_enough(sshd: Sshd, tmp_path: Path) -> None:
    """Host certificates can't be checked: such a host is unknown, and the message says why."""
    error = refusal(tmp_path, {"web": sshd}, f"@cert-authority * {public(make_key(tmp_path / 'ca'))}\n")
    assert "certificate authority" in error.message


def test_hashed_names_are_known(sshd: Sshd, tmp_path: Path) -> None:
    """A known_hosts file hashed by ssh-keygen -H is read."""
    write_config(tmp_path, {"web": sshd}, sshd.known())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", tmp_path / "known_hosts"], check=True, capture_output=True)
    assert "127.0.0.1" not in (tmp_path / "known_hosts").read_text()
    reach(tmp_path, {"web": sshd}, "").close()


def test_wildcards_aliases_and_names_without_port_are_known(sshd: Sshd, tmp_path: Path) -> None:
    """What OpenSSH takes for a match in known_hosts, we do."""
    for place, (name, extra) in enumerate([("[127.0.0.*]:*", ""), ("127.0.0.1", ""), ("box", "HostKeyAlias box\n")]):
        reach(tmp_path / str(place), {"web": sshd}, sshd.known(name=name), extra).close()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_host_known_by_another_key_type_shows_that_one(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    """The host has an ed25519 key as well, but is asked for the type that known_hosts has."""
    reach(tmp_path, {"web": sshd}, sshd.known(kind)).close()


@pytest.mark.parametrize("extra", ["", "StrictHostKeyChecking accept-new\n"])
def test_accept_new_records_the_key_and_says_so(sshd: Sshd, tmp_path: Path, extra: str) -> None:
    """Asked for by option or ssh_config: recorded 0600 in a directory 0700, reported, then known."""
    heard: list[Event] = []
    file = tmp_path / "new" / "kh"
    extra += f"UserKnownHostsFile {file}\n"
    options = {} if "accept-new" in extra else {"host_keys": "accept-new"}
    reach(tmp_path, {"web": sshd}, "", extra, report=heard.append, **options).close()
    assert file.read_text() == sshd.known()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    [warning] = heard
    assert isinstance(warning, Warn) and warning.host == "web"
    assert fingerprint(sshd.keys["ed25519"]) in warning.text
    reach(tmp_path, {"web": sshd}, "", extra, host_keys="strict").close()


def test_accept_new_hashes_names_when_ssh_config_says_so(sshd: Sshd, tmp_path: Path) -> None:
    """HashKnownHosts yes: the name is not readable, the host is known, the last line is kept whole."""
    config = "HashKnownHosts yes\n"
    reach(tmp_path, {"web": sshd}, "# no newline", config, host_keys="accept-new").close()
    text = (tmp_path / "known_hosts").read_text()
    assert text.startswith("# no newline\n|1|") and "127.0.0.1" not in text
    reach(tmp_path, {"web": sshd}, "", config, host_keys="strict").close()


# how it gets there


def test_a_jump_host_carries_the_connection(sshd: Sshd, tmp_path: Path) -> None:
    """ProxyJump goes through another sshd, which saw the login; bytes pass both ways."""
    with running(tmp_path / "bastion") as bastion:
        hosts = {"bastion": bastion, "web": sshd}
        known = bastion.known() + sshd.known()
        with reach(tmp_path, hosts, known, "Host web\n ProxyJump bastion\n") as link:
            assert link.run(["cat"], b"\x00\xff").stdout == b"\x00\xff"
        assert "Accepted publickey" in bastion.log()


def test_a_chain_of_jump_hosts_is_followed_in_order(sshd: Sshd, tmp_path: Path) -> None:
    """ProxyJump a,b: first a, and through it b, and through it the host."""
    with running(tmp_path / "a") as first, running(tmp_path / "b", extra="PermitOpen none\n") as last:
        hosts = {"a": first, "b": last, "web": sshd}
        known = first.known() + last.known() + sshd.known()
        error = refusal(tmp_path, hosts, known, "Host web\n ProxyJump a,b\n")
        assert "Accepted publickey" in first.log()
        assert "Accepted publickey" in last.log()
        assert "jump host" in error.message


def test_a_fleet_behind_one_jump_host_logs_in_a_few_at_a_time(sshd: Sshd, tmp_path: Path) -> None:
    """A jump host that turns away whoever comes while ten are logging in has to turn away none of thirty."""
    with running(tmp_path / "bastion", startups=10) as bastion:
        config = write_config(
            tmp_path,
            {"bastion": bastion, "web": sshd},
            bastion.known() + sshd.known(),
            "Host web\n ProxyJump bastion\n",
        )
        options = SshOptions(config_file=config)
        ends: list[BaseException | None] = []

        def work() -> None:
            try:
                connect(Target.parse("web"), options).close()
                ends.append(None)
            except BaseException as error:
                ends.append(error)

        threads = [threading.Thread(target=work) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert ends == [None] * 30
        assert "MaxStartups" not in bastion.log()  # it says there whom it turns away


def test_a_jump_host_with_an_unknown_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """Each hop is checked as strictly as the host itself."""
    with running(tmp_path / "bastion") as bastion:
        hosts = {"bastion": bastion, "web": sshd}
        error = refusal(tmp_path, hosts, sshd.known(), "Host web\n ProxyJump bastion\n")
        assert "bastion" in error.message
        assert fingerprint(bastion.keys["ed25519"]) in error.message
        assert "Accepted publickey" not in bastion.log()


def test_a_proxy_command_carries_the_connection(sshd: Sshd, tmp_path: Path) -> None:
    """ProxyCommand with %h and %p, here another ssh -W, is the wire; one that ends is an error, no hang."""
    with running(tmp_path / "bastion") as bastion:
        hosts = {"bastion": bastion, "web": sshd}
        command = f"ssh -F {tmp_path}/ssh_config -W %h:%p bastion"
        known = bastion.known() + sshd.known()
        with reach(tmp_path, hosts, known, f"Host web\n ProxyCommand {command}\n") as link:
            assert link.run(["echo", "hi"]).stdout == b"hi\n"
        assert "Accepted publickey" in bastion.log()
    assert "can't be reached" in refusal(tmp_path, hosts, known, "Host web\n ProxyCommand false\n").message


# how it logs in


def test_a_key_that_is_not_let_in_is_named_with_the_way_out(sshd: Sshd, tmp_path: Path) -> None:
    """A failed login says which keys were tried and how to put one on the host."""
    mine = make_key(tmp_path / "mine")
    error = refusal(tmp_path, {}, sshd.known(), alias(sshd, mine))
    assert f"tried: {mine}" in error.message
    assert "ssh-copy-id" in str(error.next)


def alias(sshd: Sshd, key: Path) -> str:
    return f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n IdentityFile {key}\n"


def test_keys_that_are_missing_or_wrong_are_passed_over(sshd: Sshd, tmp_path: Path) -> None:
    """A missing file, a file that is no key and a wrong key don't keep the right one from being offered."""
    (tmp_path / "junk").write_text("not a key")
    names = [tmp_path / "missing", tmp_path / "junk", make_key(tmp_path / "wrong"), sshd.client]
    extra = alias(sshd, names[0]) + "".join(f" IdentityFile {name}\n" for name in names[1:])
    reach(tmp_path, {}, sshd.known(), extra).close()


def test_an_identity_given_as_option_is_used(sshd: Sshd, tmp_path: Path) -> None:
    """-i names the key; ssh_config's own are not needed."""
    extra = alias(sshd, tmp_path / "missing")
    reach(tmp_path, {}, sshd.known(), extra, identities=(sshd.client,)).close()


def test_an_encrypted_key_is_unlocked_by_asking(sshd: Sshd, tmp_path: Path) -> None:
    """The prompt is asked for the passphrase of that file; nobody to ask, or a wrong answer, is explained."""
    locked = make_key(tmp_path / "locked", passphrase="sesame")
    authorized = sshd.directory / "authorized"
    before = authorized.read_text()
    authorized.write_text(f"{before}{public(locked)}\n")
    asked: list[tuple[str, str, str | None]] = []

    def answer(question: Question, wrong: str | None = None) -> str:
        asked.append((question.host, question.text, wrong))
        return "sesame" if wrong else "open"

    try:
        reach(tmp_path, {}, sshd.known(), alias(sshd, locked), password_prompt=answer).close()
        about = f"passphrase for {locked}"
        assert asked == [("web", about, None), ("web", about, "open")]
        for prompt in (None, lambda *_: "wrong", lambda *_: None):
            error = refusal(tmp_path, {}, sshd.known(), alias(sshd, locked), password_prompt=prompt)
            assert "encrypted" in error.message and f"ssh-add {locked}" in str(error.next)
    finally:
        authorized.write_text(before)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an ssh-agent of our own."""
    path = str(tmp_path / "agent.sock")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield path
    process.terminate()
    process.wait()


def test_the_agent_is_asked_and_identities_only_limits_it(sshd: Sshd, tmp_path: Path, agent: str) -> None:
    """A key only the agent holds logs in; with IdentitiesOnly it doesn't, unless its public key is named."""
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", sshd.client], check=True, env=environment, capture_output=True)
    base = f"IdentityAgent {agent}\n"
    none = alias(sshd, tmp_path / "missing")
    reach(tmp_path, {}, sshd.known(), base + none).close()
    refusal(tmp_path, {}, sshd.known(), f"{base}IdentitiesOnly yes\n{none}")
    only = f"{base}IdentitiesOnly yes\n{alias(sshd, Path(f'{sshd.client}.pub'))}"
    reach(tmp_path, {}, sshd.known(), only).close()


class FakeServer(paramiko.ServerInterface):  # type: ignore[misc]
    """An SSH server that takes one password, and keeps anyone with a key waiting until ``patience`` is set."""

    def __init__(self, methods: str, patience: threading.Event) -> None:
        self.methods = methods
        self.patience = patience
        self.passwords: list[str] = []
        self.questions: list[tuple[str, bool]] = []
        self.answers: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        return self.methods

    def check_auth_password(self, username: str, password: str) -> int:
        self.passwords.append(password)
        return int(paramiko.AUTH_SUCCESSFUL if password == "sesame" else paramiko.AUTH_FAILED)

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        return paramiko.InteractiveQuery("", "look at your phone", *self.questions)

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        self.answers = responses
        return int(paramiko.AUTH_SUCCESSFUL if "sesame" in responses else paramiko.AUTH_FAILED)

    def check_auth_publickey(self, username: str, key: Any) -> int:
        self.patience.wait(30)
        return int(paramiko.AUTH_FAILED)


@contextmanager
def fake(directory: Path, methods: str, *, patient: bool = True) -> Iterator[tuple[FakeServer, str, str]]:
    """A FakeServer for one connection, the known_hosts line and the ssh_config part for it."""
    host_key = make_key(directory / "fake_host")
    patience = threading.Event()
    if patient:
        patience.set()
    server = FakeServer(methods, patience)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve_ssh, args=(listening, server, host_key), daemon=True).start()
        port = listening.getsockname()[1]
        known = f"[127.0.0.1]:{port} {public(host_key)}\n"
        yield server, known, f"Host web\n HostName 127.0.0.1\n Port {port}\n User me\n"
        patience.set()


def serve_ssh(listening: socket.socket, server: FakeServer, host_key: Path) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        transport = paramiko.Transport(listening.accept()[0])
        transport.add_server_key(paramiko.PKey.from_path(host_key))
        transport.start_server(server=server)
        transport.accept(30)


def test_a_password_is_asked_for_when_the_host_takes_one(tmp_path: Path) -> None:
    """Without a key the prompt is asked, for that user and host; nobody is asked when one was given."""
    with fake(tmp_path, "password") as (server, known, extra):
        answers = {Question(text="password of me", host="web"): ["sesame", "open"]}
        reach(tmp_path, {}, known, extra, password_prompt=lambda question, *_: answers[question].pop()).close()
        assert server.passwords == ["open", "sesame"]
    (tmp_path / "again").mkdir()
    with fake(tmp_path / "again", "password") as (server, known, extra):
        reach(tmp_path, {}, known, extra, password="sesame", password_prompt=lambda *_: "asked").close()
        assert server.passwords == ["sesame"]


def test_what_a_host_asks_is_asked_in_its_own_words(tmp_path: Path) -> None:
    """Keyboard-interactive: a password given beforehand answers what is not shown, a person the rest; none is kept."""
    with fake(tmp_path, "keyboard-interactive") as (server, known, extra):
        server.questions = [("Password: ", False), ("Code: ", True)]
        asked: list[Question] = []

        def answer(question: Question, *_: Any) -> str:
            asked.append(question)
            return "123456"

        reach(tmp_path, {}, known, extra, password="sesame", password_prompt=answer).close()
        assert server.answers == ["sesame", "123456"]
        assert asked == [Question(text="Code: ", host="web", note="look at your phone", secret=False, once=False)]
    (tmp_path / "batch").mkdir()
    with fake(tmp_path / "batch", "keyboard-interactive") as (server, known, extra):
        refusal(tmp_path, {}, known, f"{extra} BatchMode yes\n", password_prompt=answer)
        assert server.answers == [] and len(asked) == 1


def test_a_host_that_was_kept_waiting_for_an_answer_is_tried_again(sshd: Sshd, tmp_path: Path) -> None:
    """A sshd that hangs up while a person looks for the passphrase is no failure: the answer is there by then."""
    locked = make_key(tmp_path / "locked", passphrase="sesame")
    authorized = sshd.directory / "authorized"
    before = authorized.read_text()
    authorized.write_text(f"{before}{public(locked)}\n")
    sockets: list[socket.socket] = []

    def via(settings: SshSettings) -> tuple[Any, tuple[()]]:
        sockets.append(socket.create_connection((settings.hostname, settings.port)))
        return sockets[-1], ()

    def answer(question: Question, wrong: str | None = None) -> str:
        if len(sockets) == 1:
            sockets[0].shutdown(socket.SHUT_RDWR)
            for transport in [one for one in threading.enumerate() if isinstance(one, paramiko.Transport)]:
                transport.join(30)
        return "sesame"

    config = write_config(tmp_path, {}, sshd.known(), alias(sshd, locked))
    options = SshOptions(config_file=config, password_prompt=answer)
    try:
        login(Target.parse("web"), options, via=via).close()
        assert len(sockets) == 2
    finally:
        authorized.write_text(before)


def test_a_wrong_password_is_a_failed_login(tmp_path: Path) -> None:
    """The message says that the password was tried, and not what it was."""
    with fake(tmp_path, "password") as (_, known, extra):
        error = refusal(tmp_path, {}, known, extra, password="hunter2")
    assert "tried: the password" in error.message and "hunter2" not in error.message


def test_a_host_that_never_answers_a_login_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that stalls is a timeout, not a key that was refused."""
    monkeypatch.setattr(auth, "LOGIN_TIMEOUT", 0.3)
    key = make_key(tmp_path / "mine")
    with fake(tmp_path, "publickey", patient=False) as (_, known, extra):
        error = refusal(tmp_path, {}, known, f"{extra} IdentityFile {key}\n")
    assert "no answer" in error.message and "within 0.3 s" in error.message


# when it can't


def test_nothing_listening_is_said_so(sshd: Sshd, tmp_path: Path) -> None:
    """A refused connection names the address and port."""
    port = free_port()
    error = refusal(tmp_path, {}, "", f"Host web\n HostName 127.0.0.1\n Port {port}\n")
    assert f"nothing listens at 127.0.0.1 port {port}" in error.message


def test_a_name_without_address_is_said_so(tmp_path: Path) -> None:
    """DNS that doesn't know the name is told from a host that is down."""
    error = refusal(tmp_path, {}, "", "Host web\n HostName nowhere.invalid\n")
    assert "nowhere.invalid has no address" in error.message


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-me\r\n"])
def test_what_does_not_speak_ssh_is_said_so_quietly(greeting: bytes) -> None:
    """One that hangs up or speaks another protocol is one clear error; Paramiko's log stays out of sight."""
    program = (
        "import sys\n"
        "from deployer.errors import Unreachable\n"
        "from deployer.ssh.link import connect\n"
        "from deployer.ssh.options import SshOptions\n"
        "from deployer.ssh.target import Target\n"
        "try: connect(Target.parse(sys.argv[1]), SshOptions())\n"
        "except Unreachable as error: print(error)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server, greeting), daemon=True).start()
        name = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True)
    told = {b"": "without a word, 4 times", b"H": "does not speak SSH; it said: HTTP/1.1 400", b"S": "no agreement"}
    assert told[greeting[:1]] in done.stdout
    assert done.stderr == ""


def serve(server: socket.socket, greeting: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            with client:
                client.sendall(greeting)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1024):
                    pass


@pytest.mark.parametrize("words", [b"", b"Not allowed at this time\r\n"])
def test_a_host_that_turns_us_away_at_first_is_tried_again(sshd: Sshd, tmp_path: Path, words: bytes) -> None:
    """sshd's MaxStartups drops some of many logins before it greets them, since OpenSSH 9.8 with a line of text: that
    is no failure yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drop_once, args=(server, sshd.port, words), daemon=True).start()
        port = server.getsockname()[1]
        extra = f"Host web\n Port {port}\n HostKeyAlias box\n"
        with reach(tmp_path, {"web": sshd}, sshd.known(name="box"), extra) as link:
            assert link.run(["true"]).exit == 0


def drop_once(server: socket.socket, port: int, words: bytes) -> None:
    with server.accept()[0] as first:
        first.sendall(words)
    client, _ = server.accept()
    there = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pump, args=(there, client), daemon=True).start()
    pump(client, there)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    """A port that accepts and says nothing ends in a timeout, not in a hang."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        extra = f"Host web\n HostName 127.0.0.1\n Port {server.getsockname()[1]}\n"
        error = refusal(tmp_path, {}, "", extra, connect_timeout=0.2)
    assert "then said nothing for 0.2 s" in error.message


# what it carries


def test_five_megabytes_pass_both_ways_unharmed(link: Link) -> None:
    """Binary input comes back byte for byte, though both sides talk at once; the bytes are counted."""
    data = os.urandom(5 * 1024 * 1024)
    assert link.run(["cat"], data).stdout == data
    assert link.bytes_up > len(data)


def test_arguments_arrive_as_they_are(link: Link) -> None:
    """Blanks, quotes, newlines and $(…) in an argument are never executed."""
    wild = ["a b", "$(id)", "`id`", "'q\"", "x\ny", "", "*", ";id", "é"]
    assert link.run(["printf", "%s\\0", *wild]).stdout.decode().split("\0")[:-1] == wild


def test_lines_are_read_as_they_come(link: Link) -> None:
    """A program is spoken to line by line; the rest without newline, then b"" mark the end."""
    with link.open(["sh", "-c", "while read x; do echo got $x; done; printf rest"]) as channel:
        for word in (b"one", b"two"):
            channel.write(word + b"\n")
            assert channel.readline() == b"got " + word + b"\n"
        channel.close_stdin()
        assert channel.readline() == b"rest"
        assert channel.readline() == b""
        assert channel.exit_status(10) == 0


def test_a_file_is_sent_with_its_progress(link: Link) -> None:
    """write_file sends exactly the length asked for and reports it; too short a stream is an error."""
    data = os.urandom(100_000)
    heard: list[int] = []
    with link.open(["head", "-c", "90000"]) as channel:
        channel.write_file(io.BytesIO(data), 90_000, heard.append)
        assert channel.read_all() == data[:90_000]
    assert heard[-1] == 90_000 and heard == sorted(heard) and len(heard) > 1
    with link.open(["cat"]) as channel, pytest.raises(ValueError, match="ended after 3 of 4"):
        channel.write_file(io.BytesIO(b"abc"), 4)


def test_a_flood_on_stderr_neither_blocks_nor_fills_memory(link: Link) -> None:
    """10 MB of stderr that nobody asked for: the program ends, and the last 64 KB are kept."""
    result = link.run(["sh", "-c", "head -c 10000000 /dev/zero >&2; echo last >&2; echo done"])
    assert result.stdout == b"done\n"
    assert len(result.stderr) == 64 * 1024 and result.stderr.endswith(b"last\n")


def test_a_program_that_stops_reading_is_no_lost_connection(link: Link) -> None:
    """Writing to a program that has ended raises BrokenPipeError; what it said and its status can be read."""
    with link.open(["sh", "-c", "echo no; exit 7"]) as channel:
        with pytest.raises(BrokenPipeError):
            channel.write(bytes(64 * 1024 * 1024))
        assert channel.readline() == b"no\n"
        assert channel.exit_status(10) == 7


def test_a_line_that_does_not_come_is_waited_for_so_long(link: Link) -> None:
    """A deadline ends the wait for a line, and no later one; without it the wait goes on."""
    with link.open(["sh", "-c", "read x; echo $x; read x; echo $x"]) as channel:
        with pytest.raises(TimeoutError):
            channel.readline(time.monotonic() + 0.05)
        channel.write(b"one\n")
        assert channel.readline(time.monotonic() + 30) == b"one\n"
        channel.write(b"two\n")
        assert channel.readline() == b"two\n"


# when it breaks


def test_a_program_killed_without_exit_status_is_a_failure(link: Link) -> None:
    """No exit status never counts as success."""
    with pytest.raises(Unreachable, match="without an exit status"):
        link.run(["sh", "-c", "kill -9 $$"])


def test_a_lost_connection_is_noticed_by_the_reader(link: Link) -> None:
    """When the host's sshd dies in the middle, reading raises: it does not look like the end of output."""
    with link.open(["sh", "-c", "echo $PPID; exec sleep 60"]) as channel:
        os.kill(int(channel.readline()), signal.SIGKILL)
        with pytest.raises(Unreachable, match="the connection to web was lost"):
            channel.readline()
        with pytest.raises(Unreachable, match="the connection to web was lost"):
            channel.exit_status(10)
    with pytest.raises(Unreachable, match="the connection to web was lost"):
        link.run(["true"])


def test_a_lost_connection_is_noticed_by_the_writer(link: Link) -> None:
    """Sending to a host that is gone raises, though its window was full."""
    with link.open(["sh", "-c", "echo $PPID; exec sleep 60"]) as channel:
        victim = int(channel.readline())
        threading.Thread(target=kill_when_full, args=(link, victim), daemon=True).start()
        with pytest.raises(Unreachable, match="the connection to web was lost"):
            channel.write(bytes(64 * 1024 * 1024))


def kill_when_full(link: Link, victim: int) -> None:
    """Waits until no more bytes leave, because nobody reads them at the far end."""
    before = -1
    while link.bytes_up > before or before < 1_000_000:
        before = link.bytes_up
        time.sleep(0.05)
    os.kill(victim, signal.SIGKILL)


@pytest.mark.parametrize("busy", [False, True])
def test_a_host_that_falls_silent_is_given_up(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    """A host that vanishes without a word ends the wait, be it idle or in the middle of an upload."""
    monkeypatch.setattr(settings, "ALIVE_INTERVAL", 0.2)
    link = reach(tmp_path, {"web": sshd}, sshd.known())
    with link, link.open(["sh", "-c", "echo $PPID; exec sleep 60"]) as channel:
        victim = int(channel.readline())
        os.kill(victim, signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="the connection to web was lost"):
                channel.write(bytes(64 * 1024 * 1024)) if busy else channel.readline()
        finally:
            os.kill(victim, signal.SIGKILL)


def test_a_quiet_program_is_not_given_up(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose program is silent for longer than the limit answers our question and stays connected."""
    monkeypatch.setattr(settings, "ALIVE_INTERVAL", 0.15)
    with reach(tmp_path, {"web": sshd}, sshd.known()) as link:
        assert link.run(["sh", "-c", "sleep 1.5; echo still here"]).stdout == b"still here\n"


def test_a_network_that_is_cut_is_noticed_in_the_time_that_ssh_config_says(sshd: Sshd, tmp_path: Path) -> None:
    """Neither bytes nor a reset arrive any more: ServerAliveInterval and ServerAliveCountMax bound the wait."""
    with DelayProxy("127.0.0.1", sshd.port, rtt_ms=1) as proxy:
        alive = "ServerAliveInterval 1\n ServerAliveCountMax 1\n"
        extra = f"Host web\n HostName {proxy.host}\n Port {proxy.port}\n HostKeyAlias box\n {alive}"
        with (
            reach(tmp_path, {"web": sshd}, sshd.known(name="box"), extra) as link,
            link.open(["sh", "-c", "echo here; exec sleep 60"]) as channel,
        ):
            assert channel.readline() == b"here\n"
            proxy.blackhole()
            with pytest.raises(Unreachable, match="the connection to web was lost"):
                channel.readline()

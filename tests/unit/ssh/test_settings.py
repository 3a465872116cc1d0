"""What we make of what OpenSSH says: pure parsing, no host."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.ssh.hostkeys import HostKey, KnownKey, KnownKeys, judge, preference, read_found
from deployer.ssh.login.keys import offers
from deployer.ssh.options import SshOptions, ssh_command
from deployer.ssh.settings import KeyFile, SshSettings, parse, query
from deployer.ssh.target import Target

ED = HostKey(type="ssh-ed25519", blob=b"ed")
OTHER_ED = HostKey(type="ssh-ed25519", blob=b"other")
RSA = HostKey(type="ssh-rsa", blob=b"rsa")
SUPPORTED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")

SAID = """host web
user deploy
hostname 10.0.0.7
port 2222
addressfamily any
hashknownhosts yes
identitiesonly yes
stricthostkeychecking ask
hostkeyalgorithms ssh-ed25519,rsa-sha2-512
hostkeyalias web-alias
identityagent /run/agent.sock
identityfile ~/.ssh/id_ed25519
identityfile /keys/%h_%r
globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2
userknownhostsfile /home/me/known hosts /home/me/second
forwardagent yes
connecttimeout 7
proxyjump me@first:22,second
"""


def settings(text: str = SAID, **options: object) -> SshSettings:
    target = Target.parse("web")
    return parse(text, target, SshOptions(**options), {"SSH_AUTH_SOCK": "/tmp/agent"})  # type: ignore[arg-type]


def line(key: HostKey, marker: str = "", number: int = 1) -> KnownKey:
    return KnownKey(key=key, file=Path("/kh"), line=number, marker=marker)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("web1", None, "web1", None),
        ("deploy@web1:2222", "deploy", "web1", 2222),
        ("me@corp.example@web1", "me@corp.example", "web1", None),
        ("root@[::1]:22", "root", "::1", 22),
        ("fe80::1%eth0", None, "fe80::1%eth0", None),
        ("127.0.0.1", None, "127.0.0.1", None),
    ],
)
def test_a_target_is_read_as_it_was_typed(text: str, user: str | None, host: str, port: int | None) -> None:
    """User, host and port are told apart, IPv6 included, and the name stays as typed."""
    target = Target.parse(text)
    assert (target.user, target.host, target.port, target.name) == (user, host, port, text)


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=id", "a@-b", "-a@b", "a b", "a'b", 'a"b', "a;b", "$(id)", "a\nb", "a\x00", "web:",
     "web:0", "web:65536", "web:x", "@web", "[web]:22", "[::1", "[::1]22", "a/b", "web1:22:22", "wéb"],
)  # fmt: skip
def test_what_cannot_be_a_host_is_refused(text: str) -> None:
    """Options, blanks, quotes, control characters, broken ports: a ConfigError, before any program runs."""
    with pytest.raises(ConfigError) as caught:
        Target.parse(text)
    assert caught.value.exit == 2


def test_the_query_says_what_was_typed_and_ends_options_before_the_host() -> None:
    """-F, -i, -p, -l and -J are passed on, and the host follows ``--``."""
    options = SshOptions(config_file=Path("/cfg"), identities=(Path("/k"),))
    argv = query(Target.parse("me@web:5"), options, jump="none")
    assert " ".join(argv) == "ssh -G -T -F /cfg -i /k -p 5 -l me -J none -- web"


def test_openssh_s_resolution_is_read_in_full() -> None:
    """Every setting we honour is taken from ``ssh -G``."""
    got = settings()
    assert (got.hostname, got.user, got.port) == ("10.0.0.7", "deploy", 2222)
    assert got.identities == (
        KeyFile(path=Path("~/.ssh/id_ed25519").expanduser(), chosen=False),
        KeyFile(path=Path("/keys/10.0.0.7_deploy"), chosen=True),
    )
    assert got.identities_only
    assert got.identity_agent == "/run/agent.sock"
    assert got.user_known_hosts == (Path("/home/me/known hosts"), Path("/home/me/second"))
    assert got.global_known_hosts == (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
    assert got.host_key_algorithms == ("ssh-ed25519", "rsa-sha2-512")
    assert got.known_as == "web-alias"
    assert got.hash_known_hosts
    assert got.proxy_jump == ("me@first:22", "second")
    assert got.connect_timeout == 7


def test_none_means_none() -> None:
    """``none`` for proxies, files and agent is not a host, a command or a path."""
    text = (
        "user u\nhostname h\nport 22\nproxyjump none\nproxycommand none\nuserknownhostsfile none\n"
        "identityfile none\nidentityagent none\nconnecttimeout none\n"
    )
    got = settings(text)
    assert (got.proxy_jump, got.proxy_command, got.user_known_hosts) == ((), None, ())
    assert (got.identities, got.identity_agent, got.connect_timeout) == ((), None, 15)


def test_a_proxy_command_has_its_tokens_expanded() -> None:
    """%h, %p, %r and %% stand for host, port, user and a percent sign."""
    got = settings("user u\nhostname h\nport 2\nproxycommand nc %h %p %r 100%%\n")
    assert got.proxy_command == "nc h 2 u 100%"


@pytest.mark.parametrize(
    ("checking", "wish", "accepts"),
    [
        ("ask", "config", False),
        ("true", "config", False),
        ("accept-new", "config", True),
        ("false", "config", True),
        ("false", "strict", False),
        ("ask", "accept-new", True),
    ],
)
def test_unknown_keys_are_accepted_only_when_asked_for(checking: str, wish: str, accepts: bool) -> None:
    """ssh_config asks by accept-new or no; an option of ours overrides it either way."""
    text = SAID.replace("stricthostkeychecking ask", f"stricthostkeychecking {checking}")
    assert settings(text, host_keys=wish).accept_new is accepts


def test_the_known_hosts_name_carries_a_port_other_than_22() -> None:
    """As OpenSSH writes it: [host]:port, or the bare host for port 22."""
    assert SshSettings(hostname="h", user="u", port=22).known_as == "h"
    assert SshSettings(hostname="h", user="u", port=23).known_as == "[h]:23"


def test_found_lines_keep_their_number_and_marker() -> None:
    """``ssh-keygen -F``'s comments give each key its line and tell revoked keys and authorities apart."""
    blob = base64.b64encode(b"key").decode()
    text = (
        f"# Host h found: line 3 \n|1|x|y ssh-ed25519 {blob} me@there\n"
        f"# Host h found: line 5 REVOKED\n@revoked * ssh-rsa {blob}\n"
        f"# Host h found: line 9 CA\n@cert-authority *.h ssh-rsa {blob}\n"
    )
    found = read_found(text, Path("/kh"))
    assert [(key.where, key.marker, key.key.type) for key in found] == [
        ("/kh:3", "", "ssh-ed25519"),
        ("/kh:5", "REVOKED", "ssh-rsa"),
        ("/kh:9", "CA", "ssh-rsa"),
    ]


@pytest.mark.parametrize(
    ("keys", "verdict"),
    [
        ([], "unknown"),
        ([line(ED)], "known"),
        ([line(OTHER_ED), line(ED)], "known"),
        ([line(OTHER_ED)], "changed"),
        ([line(RSA)], "changed"),
        ([line(ED, "CA")], "unknown"),
        ([line(ED), line(ED, "REVOKED")], "revoked"),
        ([line(OTHER_ED, "REVOKED")], "unknown"),
    ],
)
def test_a_host_key_is_judged_by_all_lines(keys: list[KnownKey], verdict: str) -> None:
    """Revoked beats known, known beats changed, and an authority's key is no host key."""
    assert judge(KnownKeys(keys=tuple(keys)), ED).kind == verdict


def test_a_key_under_the_name_without_port_may_vouch_but_not_accuse() -> None:
    """As in OpenSSH: the plain name's key is good for another port; a different one there proves nothing."""
    assert judge(KnownKeys(portless=(line(ED),)), ED).kind == "known"
    assert judge(KnownKeys(portless=(line(OTHER_ED),)), ED).kind == "unknown"


@pytest.mark.parametrize("keys", [(), (line(ED),), (line(OTHER_ED, "CA"),)])
def test_a_key_revoked_under_the_name_without_port_is_revoked(keys: tuple[KnownKey, ...]) -> None:
    """Whatever else is known of the host; another key's revocation says nothing of this one."""
    revoked = line(ED, "REVOKED")
    verdict = judge(KnownKeys(keys=keys, portless=(line(ED), revoked)), ED)
    assert (verdict.kind, verdict.line) == ("revoked", revoked)
    assert judge(KnownKeys(portless=(line(ED), line(OTHER_ED, "REVOKED"))), ED).kind == "known"


def test_known_key_types_are_negotiated_first() -> None:
    """A host known by its RSA key is asked for that one first; ssh_config's list is a limit."""
    assert preference(KnownKeys(keys=(line(RSA),)), (), SUPPORTED)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert preference(KnownKeys(), ("rsa-sha2-512",), SUPPORTED) == ("rsa-sha2-512",)
    assert preference(KnownKeys(), (), SUPPORTED) == SUPPORTED


def test_a_chosen_key_is_offered_before_the_usual_ones(tmp_path: Path) -> None:
    """The key that ssh_config names comes first, and files that don't exist are not offered."""
    usual, chosen = tmp_path / "id_rsa", tmp_path / "deploy"
    usual.touch()
    chosen.touch()
    identities = [
        KeyFile(path=usual, chosen=False),
        KeyFile(path=tmp_path / "missing", chosen=True),
        KeyFile(path=chosen, chosen=True),
    ]
    got = SshSettings(hostname="h", user="u", port=22, identities=tuple(identities))
    assert [offer.label for offer in offers(got, [], lambda path: path)] == [str(chosen), str(usual)]


def test_secrets_do_not_show_in_options() -> None:
    """A password in SshOptions stays out of its repr."""
    assert "hunter2" not in repr(SshOptions(password="hunter2", passphrase="hunter2"))


def test_the_command_to_type_reaches_the_same_host() -> None:
    """What we tell people to type carries -F, -i, the port and the user."""
    options = SshOptions(config_file=Path("/my cfg"), identities=(Path("/k"),))
    assert ssh_command(Target.parse("me@web:5"), options) == "ssh -F '/my cfg' -i /k -p 5 me@web"


@pytest.mark.parametrize(
    ("said", "interval", "count"),
    [
        ("", 15.0, 3),
        ("serveraliveinterval 0\nserveralivecountmax 3\n", 15.0, 3),
        ("serveraliveinterval 0\nserveralivecountmax 99\n", 15.0, 3),
        ("serveraliveinterval 60\nserveralivecountmax 5\n", 60.0, 5),
        ("serveraliveinterval 5\nserveralivecountmax 0\n", 5.0, 1),
    ],
)
def test_a_silent_host_is_given_up_as_ssh_config_says_or_soon(said: str, interval: float, count: int) -> None:
    """OpenSSH's own default is to wait for ever; here it is 45 seconds, unless ServerAliveInterval says otherwise."""
    found = settings(SAID + said)
    assert (found.alive_interval, found.alive_count) == (interval, count)

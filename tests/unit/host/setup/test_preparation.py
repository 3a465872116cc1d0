"""What setup and doctor decide of a host: the confinement it bears, who may log in, how long, and what nginx reads."""

from __future__ import annotations

import os
import pwd
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.diagnosis import exitstatus
from deployer.host.errors import HostError
from deployer.host.inspect import preparation
from deployer.host.proxy import directives, nginx
from deployer.host.proxy import install as proxy
from deployer.host.proxy.proof import listener, proof
from deployer.host.proxy.site import PROOF_SOCKET, site_of
from deployer.host.setup import prerequisites, unsupported
from deployer.host.setup.users import ageing, login
from deployer.host.setup.users.ageing import Shadow
from deployer.host.state.app import AppSettings
from deployer.host.state.paths import AppPaths
from deployer.host.system import runner
from deployer.host.units import confinement
from deployer.wire.site import ProxySite

# The confinement

LINES = tuple("abcdefghij")


@given(st.sets(st.sampled_from(LINES)), st.lists(st.sets(st.sampled_from(LINES), min_size=2), max_size=3))
def test_no_line_more_is_left_out_than_must_be(never: set[str], conflicts: list[set[str]]) -> None:
    """Whatever lines a host cannot do, alone or together: what is left works, and with any line more it would not."""

    def works(without: frozenset[str]) -> bool:
        has = set(LINES) - without
        return not has & never and not any(conflict <= has for conflict in conflicts)

    if works(frozenset()):
        return
    left_out = unsupported.search(LINES, works)
    assert works(frozenset(left_out))
    assert not any(works(frozenset(left_out) - {one}) for one in left_out)


def test_of_two_lines_that_do_not_go_together_the_less_valuable_one_is_left_out() -> None:
    """As in a Docker container: without PrivateUsers= the app still does not see other users' processes."""
    candidates = unsupported._candidates("web")
    assert candidates.index("ProtectProc") < candidates.index("PrivateUsers") == len(candidates) - 1

    def works(without: frozenset[str]) -> bool:
        return bool(without & {"PrivateUsers", "ProtectProc"})

    assert unsupported.search(candidates, works) == ("PrivateUsers",)


def test_one_line_is_left_out_rather_than_all_that_it_does_not_go_with() -> None:
    """A line of value that rules out two others goes, when that alone is enough."""

    def works(without: frozenset[str]) -> bool:
        return "a" in without or {"h", "i"} <= without

    assert unsupported.search(LINES, works) == ("a",)


def test_few_tries_are_enough() -> None:
    """Each try starts a unit: one bad line among thirty is found in about five."""
    tried = []

    def works(without: frozenset[str]) -> bool:
        tried.append(without)
        return "17" in without

    assert unsupported.search([str(number) for number in range(32)], works) == ("17",)
    assert len(tried) <= 7


@pytest.mark.parametrize("kind", confinement.KINDS)
def test_what_is_left_out_is_out_and_what_it_leaves_open_is_said(kind: str) -> None:
    """Each candidate takes its own line out of the units and no other, and has a sentence of its own."""
    every = confinement.lines(kind)
    assert unsupported._candidates(kind)
    for one in unsupported._candidates(kind):
        left = confinement.lines(kind, without=frozenset({one}))
        gone = [line for line in every if line not in left]
        assert gone and {name for name, _ in gone} == {one.partition("=")[0]}, one
        (note,) = unsupported.notes([one])
        assert note.endswith(unsupported.EXPOSED[one.partition("=")[0]])


def test_settings_of_another_version_are_read() -> None:
    """Apps of a host share the program and are set up one by one: what an older or newer one has written must boot."""
    old = {"deploy_user": "deploy", "socket_group": "www-data", "units": [], "proxy": "nginx"}
    assert AppSettings.parse(old) == AppSettings("deploy", "www-data", proxy="nginx")
    newer = {**old, "site": {"kind": "apache"}, "unsupported": ["PrivateUsers"], "more": 1}
    assert AppSettings.parse(newer) == AppSettings("deploy", "www-data", proxy="nginx", unsupported=("PrivateUsers",))
    full = AppSettings("deploy", "www-data", (), "nginx", SITE, ("PrivateUsers",))
    assert AppSettings.parse(full.as_json()) == full


def test_statuses_of_systemd_are_told_from_those_of_programs() -> None:
    """217/USER is the host's to mend, 205/LIMITS the unit's; 1 and 203's neighbours are the program's own."""
    host, unit = exitstatus.meaning(217), exitstatus.meaning(205)
    assert host is not None and host.by_host and "217/USER" in str(host)
    assert unit is not None and not unit.by_host
    assert [exitstatus.meaning(status) for status in (0, 1, 127, 199, 223, 234, 255)] == [None] * 7


# The host


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host as it should be: the directory that says that systemd runs, and what systemctl answers."""
    monkeypatch.setattr(prerequisites, "_BOOTED", tmp_path)
    monkeypatch.setattr(prerequisites, "_WRITTEN", (str(tmp_path),))
    monkeypatch.setattr(prerequisites, "_COMMANDS", {"sh": "dash"})
    monkeypatch.setattr("deployer.host.system.systemd.version", lambda: 252)
    monkeypatch.setattr("deployer.host.system.systemd.systemctl", lambda *_: runner.CommandResult(1, "degraded\n", ""))
    prerequisites.check()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("deployer.host.setup.prerequisites._BOOTED", Path("/nowhere"), "does not run systemd (its first process is "),
        ("deployer.host.system.systemd.version", lambda: 246, "this host has systemd 246; deployer needs 247"),
        ("deployer.host.system.systemd.version", lambda: 0, "of an unknown version"),
        (
            "deployer.host.system.systemd.systemctl",
            lambda *_: runner.CommandResult(1, "offline\n", ""),
            "does not answer",
        ),
        ("deployer.host.setup.prerequisites._COMMANDS", {"no-such": "some"}, "this host lacks no-such"),
        ("deployer.host.setup.prerequisites._WRITTEN", ("/proc/sys/kernel/random",), "is read-only"),
    ],
)
def test_a_host_on_which_no_app_can_run_is_refused_first(
    sound: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, told: str
) -> None:
    """Alpine, a container without an init, an old systemd, a missing command: nothing was touched, and why."""
    monkeypatch.setattr(name, value)
    if "_WRITTEN" in name:
        monkeypatch.setattr(prerequisites, "_COMMANDS", {})
        monkeypatch.setattr(prerequisites.os, "access", lambda *_: False)
    with pytest.raises(HostError) as caught:
        prerequisites.check()
    assert told in caught.value.message
    assert caught.value.state == "nothing was touched"
    assert caught.value.next


# Accounts

FINE = Shadow(password="*", changed=20_000, longest=None, inactive=None, expires=None)


@pytest.mark.parametrize(
    ("shadow", "problem", "is_over"),
    [
        (FINE, "", False),
        (replace(FINE, longest=99_999), "", False),
        (replace(FINE, longest=90, changed=20_000), "its password expires on 2025-01-02", False),
        (replace(FINE, longest=90, changed=19_900), "its password expired on 2024-09-24", True),
        (replace(FINE, changed=0), "its password must be changed at the next login", True),
        (replace(FINE, expires=20_050), "its account expired on 2024-11-23", True),
        (replace(FINE, expires=20_051), "its account expires on 2024-11-24", False),
        (replace(FINE, inactive=30), "", False),
    ],
)
def test_accounts_that_age_are_found(shadow: Shadow, problem: str, is_over: bool) -> None:
    """On day 20050: the end of a password or an account, past or to come, and nothing of those that have none."""
    assert shadow.problem(20_050) == problem
    assert shadow.is_over(20_050) is is_over


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("deploy:!:20000:0:90:7:::", Shadow("!", 20_000, 90, None, None)),
        ("deploy:*:20000:0:-1:7:-1:-1:", FINE),
        ("deploy:$y$x:0:0:99999:7:30:1:", Shadow("$y$x", 0, 99_999, 30, 1)),
        ("other:*:20000:0:90:7:::", None),
        ("", None),
        ("deploy", None),
    ],
)
def test_shadow_is_read(monkeypatch: pytest.MonkeyPatch, line: str, found: Shadow | None) -> None:
    """Empty fields and -1 say nothing; an account that is kept elsewhere has no line."""
    monkeypatch.setattr("deployer.host.system.runner.run", lambda _: runner.CommandResult(0, f"{line}\n", ""))
    assert ageing.shadow("deploy") == found


# Logins

PERSON = pwd.struct_passwd(("deploy", "x", 1000, 1000, "deploys by deployer", "/home/deploy", "/bin/sh"))


@pytest.mark.cause("sshd-allowusers")
@pytest.mark.cause("sshd-denyusers")
@pytest.mark.cause("sshd-allowgroups")
@pytest.mark.cause("sshd-denygroups")
@pytest.mark.cause("sshd-pubkeyauthentication")
@pytest.mark.cause("sshd-authenticationmethods")
@pytest.mark.cause("sshd-forcecommand")
@pytest.mark.cause("sshd-chrootdirectory")
@pytest.mark.parametrize(
    ("told", "keyword"),
    [
        ({}, ""),
        ({"allowusers": ["deploy"]}, ""),
        ({"allowusers": ["root", "dep*@10.0.0.0/8"]}, ""),
        ({"allowusers": ["root", "!deploy", "*"]}, "AllowUsers"),
        ({"allowusers": ["root"]}, "AllowUsers"),
        ({"denyusers": ["d?ploy"]}, "DenyUsers"),
        ({"allowgroups": ["ssh-users"]}, "AllowGroups"),
        ({"allowgroups": ["shop"]}, ""),
        ({"denygroups": ["sh*"]}, "DenyGroups"),
        ({"pubkeyauthentication": ["no"]}, "PubkeyAuthentication"),
        ({"authenticationmethods": ["publickey,keyboard-interactive"]}, "AuthenticationMethods"),
        ({"authenticationmethods": ["any"]}, ""),
        ({"forcecommand": ["/bin/false"]}, "ForceCommand"),
        ({"chrootdirectory": ["/srv/sftp"]}, "ChrootDirectory"),
    ],
)
def test_rules_of_sshd_that_keep_a_user_out_are_named(told: dict[str, list[str]], keyword: str) -> None:
    """Each rule by which sshd refuses the user, or lets no command run, and no other."""
    found = login.refusals("deploy", ["deploy", "shop"], told)
    assert [text.split()[1] for text, _ in found] == ([keyword] if keyword else [])


@pytest.mark.parametrize(
    ("patterns", "file"),
    [
        (None, "/home/deploy/.ssh/authorized_keys"),
        ([".ssh/other", ".ssh/authorized_keys"], "/home/deploy/.ssh/authorized_keys"),
        (["/etc/ssh/keys/%u"], "/etc/ssh/keys/deploy"),
        (["%h/keys", "x"], "/home/deploy/keys"),
        (["/k/100%%"], "/k/100%"),
    ],
)
def test_keys_go_where_sshd_looks_for_them(patterns: list[str] | None, file: str) -> None:
    """The usual file where it is among them, else the first."""
    assert str(login.key_file(PERSON, {"authorizedkeysfile": patterns} if patterns else {})) == file


@pytest.mark.cause("keys-in-no-file")
def test_where_sshd_reads_no_file_setup_says_so() -> None:
    """AuthorizedKeysFile none."""
    with pytest.raises(HostError, match="reads keys from no file"):
        login.key_file(PERSON, {"authorizedkeysfile": ["none"]})


# The site

SITE = ProxySite(domains=("shop.example.com",))
SHOP = AppPaths("shop")


def _text(site: ProxySite, *, ipv6: bool) -> str:
    return nginx.render(site_of(site, SHOP), ipv6=ipv6)


def test_a_port_alone_is_both_families_where_the_host_has_them() -> None:
    """nginx's own ``listen 80`` is IPv4 alone; a site without a name is the default one of its addresses."""
    text = _text(SITE, ipv6=True)
    assert "    listen 80;\n    listen [::]:80;\n" in text
    assert "[::]" not in _text(SITE, ipv6=False)
    nameless = replace(SITE, domains=(), listen=("80", "[::]:80", "127.0.0.1:8080"))
    lines = [line.strip() for line in _text(nameless, ipv6=True).splitlines() if "listen" in line]
    assert lines == [f"listen {one} default_server;" for one in ("80", "[::]:80", "127.0.0.1:8080")]


def test_only_a_trusted_front_is_believed() -> None:
    """Without one the scheme is the connection's; with one it is what the front says, and the front alone."""
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in _text(SITE, ipv6=False)
    assert "real_ip" not in _text(SITE, ipv6=False)
    text = _text(replace(SITE, trusted=("10.0.0.0/8", "fd00::/8")), ipv6=False)
    assert "set_real_ip_from 10.0.0.0/8;" in text
    assert "    fd00::/8 1;" in text
    assert "proxy_set_header X-Forwarded-Proto $deployer_shop_proto;" in text


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "unix:", "any", "10.0.0.0/8; }"])
def test_everybody_is_no_front(network: str) -> None:
    """What would have any client believed, or is no network, is refused."""
    with pytest.raises(ValueError, match=r"site\.trusted"):
        ProxySite.parse({**SITE.as_json(), "trusted": [network]})


DUMP = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;  # not this: listen 80 default_server;
http {
    log_format x '$remote_addr "{;}" $status';
    include /etc/nginx/sites-enabled/*;
}

# configuration file /etc/nginx/sites-enabled/default:
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    server_name _;
    set $x "${host}{";
}

# configuration file /etc/nginx/conf.d/own.conf:
upstream shop { server unix:/srv/shop/current/run/web.sock; }
upstream kept {
    server unix:/srv/shop/current/run/web.sock;
    keepalive 32;
}
upstream other { server unix:/srv/shop-two/current/run/web.sock; keepalive 8; }
server { listen 8080 default; location / { proxy_pass http://kept; } }
"""


def test_nginx_files_are_read_with_their_lines() -> None:
    """Quotes, comments, variables and several blocks on a line are no hindrance; each directive knows its place."""
    found = list(directives.parse_dump(DUMP))
    assert [one.words for one in found if one.file.endswith("default")][:3] == [
        ("server",),
        ("listen", "80", "default_server"),
        ("listen", "[::]:80", "default_server"),
    ]
    (name,) = [one for one in found if one.words == ("server_name", "_")]
    assert (name.where, name.blocks) == ("/etc/nginx/sites-enabled/default:4", (("server",),))


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("80", ["/etc/nginx/sites-enabled/default:2"]),
        ("0.0.0.0:80", ["/etc/nginx/sites-enabled/default:2"]),
        ("[::]:80", ["/etc/nginx/sites-enabled/default:3"]),
        ("8080", ["/etc/nginx/conf.d/own.conf:7"]),
        ("127.0.0.1:80", []),
        ("81", []),
    ],
)
def test_default_sites_are_found_by_their_address(address: str, where: list[str]) -> None:
    """Only one at the very same address is in the way of another."""
    assert [one.where for one in directives.default_sites(directives.parse_dump(DUMP), [address])] == where


def test_upstreams_that_keep_connections_are_found() -> None:
    """Those to this app alone; since nginx 1.29.7 also one that does not say."""
    found = list(directives.parse_dump(DUMP))
    assert [one.line for one in directives.pooling_upstreams(found, "shop", (1, 22, 1))] == [4]
    assert [one.line for one in directives.pooling_upstreams(found, "shop", (1, 30, 6))] == [1, 4]
    assert [one.line for one in directives.pooling_upstreams(found, "shop-two", (1, 22, 1))] == [6]


@pytest.mark.parametrize(
    ("text", "pools"),
    [
        (":80 {\n\treverse_proxy unix//srv/shop/current/run/web.sock\n}\n", True),
        (":80 {\n\treverse_proxy unix//srv/shop/current/run/web.sock {\n\t\tlb_policy first\n\t}\n}\n", True),
        (
            ":80 {\n reverse_proxy unix//srv/shop/x.sock {\n  transport http {\n   keepalive off\n  }\n }\n}\n",
            False,
        ),
        (":80 {\n\treverse_proxy unix//srv/shop-two/current/run/web.sock\n}\n", False),
    ],
)
def test_a_caddyfile_that_keeps_connections_is_found(text: str, pools: bool) -> None:
    """Caddy pools unless the very block says otherwise."""
    assert preparation._caddy_pools(text, "shop") is pools


@pytest.mark.cause("caddy-keeps-connections")
def test_a_caddyfile_is_looked_at_where_there_is_no_nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be asked keeps nothing else from being asked."""

    def lacks() -> None:
        raise HostError("the host lacks the command nginx")

    (tmp_path / "Caddyfile").write_text(":80 {\n\treverse_proxy unix//srv/shop/current/run/web.sock\n}\n")
    monkeypatch.setattr(preparation, "_CADDY", tmp_path)
    monkeypatch.setattr(directives, "read_directives", lacks)
    for look in ("_accounts", "_login", "_confinement", "_site", "_media", "_certificates"):
        monkeypatch.setattr(preparation, look, lambda _: iter(()))
    (found,) = preparation.findings(Mock(app="shop"))
    assert found["what"] == str(tmp_path / "Caddyfile")


def test_a_site_that_nginx_could_not_judge_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next set-up would take it for one that was checked and loaded."""

    def hangs(*_: object, **__: object) -> runner.CommandResult:
        raise HostError("nginx -t did not end within 90 s")

    monkeypatch.setattr(runner, "run", hangs)
    new, old, default = tmp_path / "new", tmp_path / "old", tmp_path / "default"
    old.write_text("before")
    default.symlink_to("elsewhere")
    for path in (new, old):
        with pytest.raises(HostError):
            proxy.install("nginx", {path: "server {}"}, print, unlink=default)
    assert (new.exists(), old.read_text(), str(default.readlink())) == (False, "before", "elsewhere")


HTTP = proof.Endpoint("http", "shop.test", "80")
HTTPS = proof.Endpoint("https", "shop.test", "[::]:443")
LEADS = proof.Endpoint("http", "shop.test", "80", leads=True)
WELL = {"x-forwarded-for": "127.0.0.1", "connection": "close"}


@pytest.mark.cause("certificate-refused")
@pytest.mark.cause("proxy-silent")
@pytest.mark.cause("nginx-cannot-reach-app")
@pytest.mark.cause("other-site-answers")
@pytest.mark.cause("proxy-believes-visitors")
@pytest.mark.cause("proxy-keeps-connections")
@pytest.mark.parametrize(
    ("visit", "told"),
    [
        (proof.Visit(HTTP, 200, headers=WELL), ""),
        (proof.Visit(HTTP, fault="Connection refused"), "nothing answers"),
        (proof.Visit(HTTP, 200), "another site answers"),
        (proof.Visit(HTTP, 404, ours=True), "cannot reach the app"),
        (proof.Visit(HTTP, 502), "cannot reach the app"),
        (proof.Visit(HTTP, 200, headers={**WELL, "x-forwarded-for": "192.0.2.66"}), "believes"),
        (proof.Visit(HTTP, 200, headers={**WELL, "connection": "keep-alive"}), "keeps its connections"),
        (proof.Visit(HTTP, 200, headers={"x-forwarded-for": "127.0.0.1"}), "keeps its connections"),
        (proof.Visit(HTTPS, 200, headers=WELL), ""),
        (proof.Visit(HTTPS, 200, headers=WELL, refused="certificate has expired", code=10), "has expired"),
        (proof.Visit(HTTPS, 200, headers=WELL, refused="self-signed certificate", code=18), "self-signed"),
        (proof.Visit(LEADS, 308, location="https://shop.test/"), ""),
        (proof.Visit(LEADS, 308, location="http://other.test/"), "another site answers"),
        (proof.Visit(HTTP, 308, location="https://shop.test/"), "another site answers"),
    ],
)
def test_a_visit_is_judged_by_what_arrived(visit: proof.Visit, told: str) -> None:
    """Not by the status alone: another site answers 200, too."""
    assert [told in text for text, _ in proof.judge(visit, "nginx")] == ([True] if told else [])


@pytest.mark.cause("caddy-cannot-reach-app")
@pytest.mark.parametrize(
    ("kind", "log"), [("nginx", "tail /var/log/nginx/error.log"), ("caddy", "journalctl -u caddy")]
)
def test_a_proxy_that_cannot_reach_the_app_has_a_log_that_says_why(kind: str, log: str) -> None:
    """Each its own; and both must be restarted after they have come into the app's group."""
    ((_, repair),) = proof.judge(proof.Visit(HTTP, 502), kind)
    assert log in repair and f"systemctl restart {kind}" in repair


def test_two_who_look_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither takes the other's socket away, and one that never ends is not waited for without end."""
    ctx = Mock(app="root")
    ctx.paths.private = tmp_path
    ctx.paths.socket.return_value = tmp_path / "web.sock"
    ctx.settings.socket_group = "root"
    monkeypatch.setattr(os, "chown", lambda *_: None)
    entered = threading.Event()

    def look() -> None:
        with listener.listening(ctx, 1):
            entered.set()

    with listener.listening(ctx, 1):
        mine = (tmp_path / PROOF_SOCKET).stat().st_ino
        with pytest.raises(TimeoutError, match="another check"), listener.listening(ctx, 1, turn=0.0):
            pass
        other = threading.Thread(target=look)
        other.start()
        assert (tmp_path / PROOF_SOCKET).stat().st_ino == mine and not entered.is_set()
    other.join(30)
    assert entered.is_set() and not (tmp_path / PROOF_SOCKET).exists()

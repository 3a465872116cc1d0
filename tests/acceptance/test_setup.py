"""``fab setup`` on real hosts: what it makes, what it refuses, what it leaves alone."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import deployer
from deployer.sandbox import SandboxHost, up
from deployer.wire.protocol import PROGRAM, PROTOCOL
from tests.support.site import Ended
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

LOOK = (
    "cat /etc/passwd /etc/group; ls -lad --time-style=full-iso /var/lib/*/; "
    "find /srv /etc/sudoers.d /etc/deployer /etc/systemd/system /etc/nginx /usr/local /root /home /tmp "
    "/var/lib/deployer /run/deployer* ! -path /tmp -printf '%p %i %T@ %C@ %m %U:%G %l\\n' 2>/dev/null"
)
"""Everything a set-up could touch: a file that is written again has another inode, or another time. Of /tmp itself the
time changes whenever a unit has a private one, as those have by which the confinement is tried."""


@pytest.fixture(scope="module")
def untouched() -> Iterator[SandboxHost]:
    """A host that no set-up has ever succeeded on."""
    with up() as host:
        yield host


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TinySite, Ended]]:
    """A host that has been set up, and what the first set-up said."""
    with up() as host:
        site = make_tiny(host, tmp_path_factory.mktemp("setup") / "mini")
        yield site, site.expect(0, "setup", "--json", user="root")


@pytest.fixture
def mini(prepared: tuple[TinySite, Ended], tmp_path: Path) -> TinySite:
    """A fresh project for the prepared host."""
    return make_tiny(prepared[0].host, tmp_path / "mini")


def look(host: SandboxHost) -> list[str]:
    return host.run(LOOK, check=False).stdout.splitlines()


def setup(site: TinySite, *arguments: str, expect: int = 0, user: str = "root") -> Ended:
    return site.expect(expect, "setup", "--json", *arguments, user=user)


def changes(ended: Ended) -> dict[str, str]:
    """What a set-up says it changed, by step."""
    done = [event for event in ended.events if event["event"] == "phase.done"]
    return {event["phase"]: event["detail"] for event in done if event["detail"] != "unchanged"}


# What it makes


def test_it_says_what_it_changed(prepared: tuple[TinySite, Ended]) -> None:
    """The first set-up names all that it made, step by step, and counts it."""
    told = changes(prepared[1])
    assert told["users"] == "user mini, user deploy, deploy in group mini, www-data in group mini, 1 key for deploy"
    assert "/srv/mini, /srv/mini/releases" in told["directories"]
    assert told["sudo"] == "/etc/sudoers.d/deployer-mini"
    assert "mini.service starts at boot" in told["handle"]
    assert told["tools"].startswith("uv ")
    assert "nginx started" in told["proxy"]
    count = sum(len(detail.split(", ")) for detail in told.values())
    assert prepared[1].event("finished")["summary"] == f"mini is set up: {count} changes"


def test_a_second_set_up_changes_nothing(mini: TinySite) -> None:
    """Twice is as good as once: no file is written again, whatever its content, and no user is touched."""
    before = look(mini.host)
    ended = setup(mini)
    assert changes(ended) == {}
    assert ended.event("finished")["summary"] == "mini was set up already: no changes"
    assert look(mini.host) == before


OWNERS = """\
/etc/deployer 755 root:root
/etc/deployer/mini.json 644 root:root
/etc/nginx/sites-enabled/deployer-mini.conf 644 root:root
/etc/sudoers.d/deployer-mini 440 root:root
/etc/systemd/system/mini.service 644 root:root
/home/deploy/.ssh 700 deploy:deploy
/home/deploy/.ssh/authorized_keys 600 deploy:deploy
/srv/mini 750 root:mini
/srv/mini/releases 755 root:root
/srv/mini/trees 755 root:root
/srv/mini/venvs 755 root:root
/usr/local/lib/deployer 755 root:root
/usr/local/lib/deployer/deployer-host 755 root:root
/var/lib/deployer 700 root:root
/var/lib/deployer/mini 700 root:root
/var/lib/deployer/mini/incoming 700 root:root
/var/lib/deployer/mini/jobs 700 root:root
/var/lib/mini 700 mini:mini
"""


def test_owners_and_modes_are_as_designed(mini: TinySite) -> None:
    """Every path has the owner and the mode that the boundary rests on; nobody but root can write the program."""
    paths = " ".join(line.split()[0] for line in OWNERS.splitlines())
    assert mini.host.run(f"stat -c '%n %a %U:%G' {paths}").stdout == OWNERS
    writable = "find /usr/local/lib/deployer ! -type l '(' ! -user root -o -perm /022 ')'"
    assert mini.host.run(writable).stdout == ""


def test_the_users_are_those_of_a_service(mini: TinySite) -> None:
    """The app's own user cannot log in, has no password and no group but its own; the deploy user has no password."""
    host = mini.host
    name, _, uid, _, comment, home, shell = host.run("getent passwd mini").stdout.strip().split(":")
    assert (name, comment, home, shell) == ("mini", "deployer app mini", "/var/lib/mini", "/dev/null")
    assert int(uid) < 1000
    assert host.run("id -nG mini; id -nG deploy").stdout.split("\n")[:2] == ["mini", "deploy mini"]
    for user, password in (("mini", "!"), ("deploy", "*")):  # "!" would lock the account where sshd does not use PAM
        assert host.run(f"getent shadow {user}").stdout.split(":")[1].startswith(password)


PLANT = """
usermod --shell /usr/sbin/nologin mini
mkdir -p /var/lib/mini/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/planted
cp /root/planted.pub /var/lib/mini/.ssh/authorized_keys; chown -R mini: /var/lib/mini/.ssh; chmod 700 /var/lib/mini/.ssh
"""
KNOCK = """
address=$(sshd -T | sed -n 's/^listenaddress \\(.*\\):[0-9]*$/\\1/p' | head -1)
timeout 20 ssh -i /root/planted -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \\
    -o IdentitiesOnly=yes mini@$address true; echo $?
"""


def test_the_app_lets_nobody_in(mini: TinySite) -> None:
    """A broken-into app can write keys into its home: sshd takes none, also of an app that an older version set up."""
    host = mini.host
    host.run(PLANT)
    try:
        assert "not available" in host.run(KNOCK).stdout, "before: the key opens a session, whose shell says no"
        setup(mini)
        assert host.run("getent passwd mini").stdout.strip().endswith(":/dev/null")
        knocked = host.run(KNOCK)
        assert (knocked.stdout.strip(), "Permission denied" in knocked.stderr) == ("255", True)
    finally:
        host.run("rm -rf /root/planted* /var/lib/mini/.ssh; usermod --shell /dev/null mini")


@pytest.mark.parametrize(
    ("damage", "step", "told"),
    [
        ("chmod 777 /srv/mini", "directories", "/srv/mini"),
        ("chown deploy /var/lib/deployer/mini", "directories", "/var/lib/deployer/mini"),
        ("rm /etc/sudoers.d/deployer-mini", "sudo", "/etc/sudoers.d/deployer-mini"),
        (
            "echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deployer-mini",
            "sudo",
            "/etc/sudoers.d/deployer-mini",
        ),
        ("systemctl disable mini.service", "handle", "mini.service starts at boot"),
        ("gpasswd -d deploy mini", "users", "deploy in group mini"),
        ("rm /etc/nginx/sites-enabled/deployer-mini.conf", "proxy", "/etc/nginx/sites-enabled/deployer-mini.conf"),
        ("echo '{' > /etc/deployer/mini.json", "settings", "/etc/deployer/mini.json"),
        (f"rm {PROGRAM}", "program", PROGRAM),
        ("truncate -s 0 /usr/local/lib/deployer/????*/deployer/host/job/main.py", "program", "version"),
    ],
)
def test_it_mends_what_has_changed_and_only_that(mini: TinySite, damage: str, step: str, told: str) -> None:
    """What somebody bent is put right and named; nothing else counts as changed."""
    mini.host.run(damage)
    found = changes(setup(mini))
    assert list(found) == [step]
    assert found[step].startswith(told)


# sudo


def test_the_sudoers_file_is_minimal_and_valid(mini: TinySite) -> None:
    """One rule: one program, as root, with exactly these arguments, and what it needs; sudo accepts its files."""
    text = mini.host.run("cat /etc/sudoers.d/deployer-mini").stdout
    rules = [line for line in text.splitlines() if not line.startswith("#")]
    assert rules == [
        f"Defaults!{PROGRAM} !requiretty, !noexec, !log_input, !log_output, !command_timeout",
        f"deploy ALL=(root) NOPASSWD: {PROGRAM} session mini",
    ]
    assert mini.host.run("visudo -c").returncode == 0


FORBIDDEN = [
    f"{PROGRAM}",
    f"{PROGRAM} session",
    f"{PROGRAM} session other",
    f"{PROGRAM} session mini x",
    f"{PROGRAM} session mini session",
    f"{PROGRAM} job mini x",
    f"{PROGRAM} start mini",
    f"{PROGRAM} stop mini",
    f"{PROGRAM} reload mini",
    f"{PROGRAM} setup x",
    f"-u mini {PROGRAM} session mini",
    f"-g root {PROGRAM} session mini",
    f"PYTHONPATH=/tmp {PROGRAM} session mini",
    f"LD_PRELOAD=/tmp/x.so {PROGRAM} session mini",
    f"-E {PROGRAM} session mini",
    "/usr/bin/python3 -I " + PROGRAM + " session mini",
    "-s",
    "-i",
    "/bin/sh",
    "id",
    "-e /etc/passwd",
    "systemctl status mini",
]


@pytest.mark.parametrize("arguments", FORBIDDEN)
def test_sudo_lets_the_deploy_user_do_nothing_else(mini: TinySite, arguments: str) -> None:
    """Any other command, other arguments, another user, an environment, a shell: sudo itself refuses."""
    done = mini.ssh(f"sudo -n {arguments}", input=b'{"op":"ask"}\n')
    assert done.returncode == 1
    assert done.stdout == b""
    assert re.search(rb"password is required|not allowed|not permitted", done.stderr)


@pytest.mark.parametrize("arguments", ['"session mini"', "session mini ''", "'session  mini'"])
def test_words_that_sudo_glues_together_are_told_apart(mini: TinySite, arguments: str) -> None:
    """sudo compares arguments joined by blanks; the program compares words, and says what it takes."""
    done = mini.ssh(f"sudo -n {PROGRAM} {arguments}", input=b'{"op":"ask"}\n')
    assert done.returncode in (1, 2)
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_other_rules_that_give_root_are_pointed_out(mini: TinySite) -> None:
    """A deploy user who may become root anyway makes the boundary worthless: the set-up says so, and goes on."""
    mini.host.run("echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-other")
    try:
        assert "could a stolen deploy key" in setup(mini).event("warn")["text"]
    finally:
        mini.host.run("rm /etc/sudoers.d/zz-other")
    assert [event for event in setup(mini).events if event["event"] == "warn"] == []


def test_sudo_that_reads_no_directory_is_found(mini: TinySite) -> None:
    """Where /etc/sudoers includes no sudoers.d the rule would do nothing: that is said, with what to add."""
    mini.host.run("sed -i.kept 's/^@includedir/#@includedir/' /etc/sudoers")
    try:
        failed = setup(mini, expect=2).event("failed")
    finally:
        mini.host.run("mv /etc/sudoers.kept /etc/sudoers")
    assert "sudo does not read" in failed["message"]
    assert "@includedir" in failed["next"]


# What it refuses

TAKEN = {
    "ssh": "a ssh.service",
    "nginx": "a nginx.service",
    "www-data": "a user 'www-data'",
    "staff": "a group 'staff'",
    "dpkg": "a /var/lib/dpkg",
    "bob": "a user 'bob'",
    "backup-job": "a backup-job.service",
    "linked": "a /srv/linked",
    "deployer-shop": "needs that name for itself",
}


@pytest.mark.cause("name-taken")
@pytest.mark.cause("no-directory")
@pytest.mark.cause("directory-taken")
def test_names_of_others_are_refused_and_nothing_stays(untouched: SandboxHost, tmp_path: Path) -> None:
    """An app may not take what belongs to a user, a service or a directory of this host; not even the program stays."""
    untouched.run(
        "useradd -m -c 'deployer app of bob' bob; "
        "ln -s /var/lib/dpkg /srv/linked; "
        "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/backup-job.service"
    )
    site = make_tiny(untouched, tmp_path / "mini")
    before = look(untouched)
    for name, reason in TAKEN.items():
        site.app = name
        site.configure()
        failed = setup(site, expect=2).event("failed")
        assert reason in failed["message"], name
        assert failed["state"] == "nothing was touched"
    assert look(untouched) == before


@pytest.mark.cause("user-is-root")
@pytest.mark.cause("user-without-shell")
@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("toor", "root by another name"),
        ("www-data", "cannot log in"),
        ("mini", "the user the app runs as"),
        ("svc", "cannot log in"),
    ],
)
def test_deploy_users_that_make_no_sense_are_refused(
    untouched: SandboxHost, tmp_path: Path, user: str, reason: str
) -> None:
    """Root under another name, a user who cannot log in, an app's own user: refused before anything is made."""
    untouched.run("getent passwd toor || useradd -o -u 0 -g 0 toor; getent passwd svc || useradd -s /bin/false svc")
    site = make_tiny(untouched, tmp_path / "mini", user=user)
    before = look(untouched)
    assert reason in setup(site, expect=2).event("failed")["message"]
    assert look(untouched) == before


def test_root_as_deploy_user_is_refused_here(untouched: SandboxHost, tmp_path: Path) -> None:
    """deploy_user = "root" is refused before anything is connected."""
    site = make_tiny(untouched, tmp_path / "mini", user="root")
    ended = site.expect(2, "setup", user="root")
    assert "deploy_user" in ended.text
    assert "connect" not in ended.text


def test_a_host_that_was_not_set_up_is_told_how(untouched: SandboxHost, mini: TinySite, tmp_path: Path) -> None:
    """Without a set-up, a deploy ends with exit 2 and the very command: for root, and for another app's deploy user."""
    fresh = make_tiny(untouched, tmp_path / "fresh")
    failed = fresh.expect(2, "deploy", "--json", user="root").event("failed")
    assert failed["next"].startswith(f"fab setup -H root@{untouched.name} ")
    for user in ("root", "deploy"):
        mini.app = "other"
        mini.configure()
        failed = mini.expect(2, "deploy", "--json", user=user).event("failed")
        assert failed["next"].startswith(f"fab setup -H root@{mini.host.name} ")


# Who sets up


def test_an_admin_with_passwordless_sudo_sets_up(mini: TinySite) -> None:
    """Whoever sudo lets be root without a password need not log in as root."""
    _make_user(mini, "admin")
    mini.host.run("echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-admin")
    try:
        assert changes(setup(mini, user="admin")) == {}
    finally:
        mini.host.run("rm /etc/sudoers.d/zz-admin")


def test_anybody_else_is_told_who_can(mini: TinySite) -> None:
    """A user who cannot become root: exit 2, what sudo said, and as whom to log in."""
    _make_user(mini, "guest")
    before = look(mini.host)
    failed = setup(mini, expect=2, user="guest").event("failed")
    assert failed["message"].startswith("guest cannot set up")
    assert any("password is required" in line for line in failed["logs"])
    assert failed["next"].startswith(f"fab setup -H root@{mini.host.name} ")
    assert look(mini.host) == before


def test_a_host_without_sudo_is_told_to_an_admin(mini: TinySite) -> None:
    """An admin on a host that has no sudo learns what to install."""
    _make_user(mini, "guest")
    mini.host.run("mv /usr/bin/sudo /usr/bin/sudo.away")
    try:
        failed = setup(mini, expect=2, user="guest").event("failed")
    finally:
        mini.host.run("mv /usr/bin/sudo.away /usr/bin/sudo")
    assert "lacks sudo" in failed["message"]
    assert "apt-get install sudo" in failed["next"]


def _make_user(site: TinySite, name: str) -> None:
    key = site.host.identity.with_suffix(".pub").read_text().strip()
    site.host.run(
        f"id {name} 2>/dev/null || (useradd -m -s /bin/bash {name} && mkdir -m 700 /home/{name}/.ssh && "
        f"echo '{key}' > /home/{name}/.ssh/authorized_keys && chown -R {name} /home/{name}/.ssh)"
    )


def test_the_deploy_user_needs_neither_password_nor_root(mini: TinySite) -> None:
    """After the set-up both the deploy user and root can deploy, and the releases form one history."""
    mini.expect(0, "deploy")
    mini.project.change(files={"more.txt": "x"})
    mini.expect(0, "deploy", user="root")
    assert mini.get("/")["release"] == "v2"
    rows = json.loads(mini.expect(0, "releases", "--json").out)["releases"]
    assert [row["state"] for row in rows] == ["current", "standby"]


def test_a_new_deploy_user_replaces_the_old_one(mini: TinySite) -> None:
    """The former deploy user can neither deploy the app nor read its code any more."""
    mini.user = "deploy2"
    mini.configure()
    told = changes(setup(mini))
    assert "user deploy2" in told["users"]
    assert "deploy no longer in group mini" in told["users"]
    assert mini.session(b'{"op":"ask"}\n').last["event"] == "answer"
    assert mini.ssh(f"sudo -n {PROGRAM} session mini", user="deploy").returncode == 1
    assert "Permission denied" in mini.sh("ls /srv/mini", user="deploy")
    mini.user = "deploy"
    mini.configure()
    setup(mini)


# Keys


def test_only_missing_keys_are_added(mini: TinySite, tmp_path: Path) -> None:
    """A key that is there under another comment, or with options, is left; a new one goes on a line of its own."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "new one", "-f", str(tmp_path / "new")], check=True
    )
    kind, blob = mini.host.identity.with_suffix(".pub").read_text().split()[:2]
    file = "/home/deploy/.ssh/authorized_keys"
    mini.host.run(f"printf 'from=\"127.0.0.0/8\" {kind} {blob} mine' > {file}")
    keys = ("--key", str(mini.host.identity.with_suffix(".pub")), "--key", str(tmp_path / "new.pub"))
    assert changes(setup(mini, *keys)) == {"users": "1 key for deploy"}
    assert mini.host.run(f"cat {file}").stdout.splitlines() == [
        f'from="127.0.0.0/8" {kind} {blob} mine',
        (tmp_path / "new.pub").read_text().strip(),
    ]
    assert changes(setup(mini, *keys)) == {}
    assert mini.host.run(f"stat -c '%a %U' {file}").stdout.split() == ["600", "deploy"]


def test_private_keys_never_leave_this_machine(mini: TinySite) -> None:
    """``--key`` with a private key is refused here: nothing is connected, and its content is not shown."""
    ended = mini.expect(2, "setup", "--key", str(mini.host.identity), user="root")
    assert "not a public key" in ended.text
    assert "BEGIN" not in ended.text
    assert "connect" not in ended.text


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "hello world", 'command="id" ssh-ed25519 AAAA x', "a\nb"])
def test_what_is_no_public_key_is_refused(mini: TinySite, tmp_path: Path, text: str) -> None:
    """Neither here nor on the host does anything but one plain public key pass."""
    (tmp_path / "key.pub").write_text(text)
    before = mini.host.run("cat /home/deploy/.ssh/authorized_keys").stdout
    setup(mini, "--key", str(tmp_path / "key.pub"), expect=2)
    assert mini.host.run("cat /home/deploy/.ssh/authorized_keys").stdout == before


def test_a_swapped_key_directory_does_not_lead_root(mini: TinySite, tmp_path: Path) -> None:
    """A deploy user who puts a link to root's keys in the place of its own gets no key into them."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "new")], check=True)
    before = mini.host.run("cat /root/.ssh/authorized_keys").stdout
    mini.sh("mv ~/.ssh ~/.ssh.kept; ln -s /root/.ssh ~/.ssh")
    try:
        failed = setup(mini, "--key", str(tmp_path / "new.pub"), expect=2).event("failed")
    finally:
        mini.host.run("rm /home/deploy/.ssh; mv /home/deploy/.ssh.kept /home/deploy/.ssh")
    assert "keys of deploy could not be written" in failed["message"]
    assert mini.host.run("cat /root/.ssh/authorized_keys").stdout == before


# The proxy


def test_a_site_that_nginx_refuses_is_put_back(mini: TinySite) -> None:
    """When nginx does not accept its files the former site is back, nginx serves on, and its words are told."""
    path = "/etc/nginx/sites-enabled/deployer-mini.conf"
    mini.expect(0, "deploy")
    before = mini.host.run(f"cat {path}").stdout
    mini.host.run("echo 'nonsense;' > /etc/nginx/conf.d/broken.conf")
    mini.configure(proxy='client_max_body_size = "33m"')
    try:
        failed = setup(mini, expect=2).event("failed")
        assert "nginx refuses the site" in failed["message"]
        assert any("broken.conf" in line for line in failed["logs"])
        assert mini.host.run(f"cat {path}").stdout == before
        assert _static(mini) == "hello from the proxy\n"
    finally:
        mini.host.run("rm /etc/nginx/conf.d/broken.conf")
    assert changes(setup(mini)) == {"proxy": path, "settings": "/etc/deployer/mini.json"}
    assert "client_max_body_size 33m;" in mini.host.run(f"cat {path}").stdout


def test_a_first_site_that_nginx_refuses_is_taken_away(mini: TinySite) -> None:
    """An app that had no site before has none after a failed set-up: the next nginx restart is not spoilt."""
    mini.app, mini.port = "second", 8099
    mini.configure()
    mini.host.run("echo 'nonsense;' > /etc/nginx/conf.d/broken.conf")
    try:
        setup(mini, expect=2)
        assert "second" not in mini.host.run("ls /etc/nginx/sites-enabled").stdout
    finally:
        mini.host.run("rm /etc/nginx/conf.d/broken.conf; nginx -t")


def test_a_port_that_is_taken_is_told(untouched: SandboxHost, tmp_path: Path) -> None:
    """Another server has the port of the site: exit 2, its name, and the way out; nothing was touched."""
    site = make_tiny(untouched, tmp_path / "porty", app="porty")
    untouched.run(
        "systemd-run --quiet --unit=squatter /usr/bin/python3 -m http.server "
        f"--bind {untouched.address} --directory /srv {site.port}"
    )
    try:
        failed = setup(site, expect=2).event("failed")
    finally:
        untouched.run("systemctl stop squatter")
    assert (
        failed["message"]
        == f"python3 has {site.url.removeprefix('http://')} of this host: nginx could not listen there"
    )
    assert "listen" in failed["next"] and failed["state"] == "nothing was touched"


def test_the_upstream_is_not_kept_alive(mini: TinySite) -> None:
    """Each request reaches the app on a connection of its own, which is told to close: none outlives a handover."""
    mini.expect(0, "deploy")
    assert mini.get("/headers")["Connection"] == "close"
    assert "keepalive" not in mini.host.run("cat /etc/nginx/sites-enabled/deployer-mini.conf").stdout


def test_websockets_pass_through(mini: TinySite) -> None:
    """An upgraded connection carries bytes both ways."""
    mini.expect(0, "deploy")
    with socket.create_connection((mini.host.address, mini.port), timeout=10) as raw:
        raw.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        stream = raw.makefile("rwb")
        assert b" 101 " in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        for word in (b"hello\n", b"again\n"):
            stream.write(word)
            stream.flush()
            assert stream.readline() == word.upper()


def test_static_files_come_from_the_release_that_serves(mini: TinySite) -> None:
    """nginx serves them itself, and those of the new release after a deploy."""
    mini.expect(0, "deploy")
    assert _static(mini) == "hello from the proxy\n"
    mini.project.change(files={"static/hello.txt": "changed\n"})
    mini.expect(0, "deploy")
    assert _static(mini) == "changed\n"


def _static(site: TinySite) -> str:
    with urllib.request.urlopen(site.url + "/static/hello.txt", timeout=10) as answer:
        assert answer.headers["Server"].startswith("nginx")
        return str(answer.read().decode())


# The program


def test_an_upgrade_replaces_the_program_and_removes_old_ones(mini: TinySite, tmp_path: Path) -> None:
    """Another version of deployer installs its own host program; the last three stay, and deploys go on."""
    versions = "ls /usr/local/lib/deployer | grep -E '^[0-9a-f]{64}$'"
    setup(mini)
    first = mini.host.run(versions).stdout.split()
    for number in range(4):
        shutil.copytree(Path(deployer.__file__).parent, tmp_path / f"{number}/deployer")
        with (tmp_path / f"{number}/deployer/host/state/paths.py").open("a") as file:
            file.write(f"# version {number}\n")
        ended = mini.fab("setup", "--json", user="root", env={"PYTHONPATH": str(tmp_path / str(number))})
        assert ended.exit == 0, ended.text
        assert list(changes(ended)) == ["program"]
    left = mini.host.run(versions).stdout.split()
    assert len(left) == 3
    assert not set(left) & set(first)
    mini.expect(0, "deploy")
    assert "program" in changes(setup(mini))


@pytest.mark.parametrize(
    ("theirs", "next"), [(PROTOCOL - 1, "fab setup -H root@"), (PROTOCOL + 1, "upgrade deployer on this machine")]
)
def test_another_protocol_is_told(mini: TinySite, theirs: int, next: str) -> None:
    """A host program that speaks otherwise: exit 2, which side is older, and how to bring it up to date."""
    setup(mini)  # whatever a test before this one has set
    directory = mini.host.run(f"sed -n \"s/^sys.path.insert(0, '\\(.*\\)')/\\1/p\" {PROGRAM}").stdout.strip()
    source = f"{directory}/deployer/wire/protocol.py"
    mini.host.run(f"sed -i 's/^PROTOCOL = .*/PROTOCOL = {theirs}/' {source}")
    mini.host.run(f"touch -d '1 hour ago' {source}")  # or its bytecode, of the same second and size, would be run
    failed = mini.expect(2, "status", "--json").event("failed")
    assert next in failed["next"]
    assert list(changes(setup(mini))) == ["program"]
    mini.expect(0, "status")


def test_the_launcher_runs_with_nothing_of_the_caller(mini: TinySite) -> None:
    """The program is started isolated from environment and working directory, by the system's own Python."""
    assert mini.host.run(f"head -1 {PROGRAM}").stdout == "#!/usr/bin/python3 -IXutf8\n"
    assert sys.version_info >= (3, 9)


# Accounts and logins


@pytest.fixture
def kept(mini: TinySite) -> Iterator[TinySite]:
    """The prepared host; whatever a test does to its accounts, sshd and sudo is undone."""
    files = "/etc/passwd /etc/shadow /etc/group /etc/login.defs /etc/default/useradd /etc/sudoers.d"
    mini.host.run(f"tar -C / -cf /root/kept.tar {files.replace(' /', ' ').lstrip('/')} home/deploy")
    yield mini
    mini.host.run(
        "rm -rf /etc/nologin /etc/ssh/keys /etc/ssh/sshd_config.d/zz.conf /etc/sudoers.d/* /home/deploy; "
        "tar -C / -xf /root/kept.tar; systemctl reload ssh"
    )
    assert changes(setup(mini)) == {}


def test_accounts_do_not_age_whatever_the_host_says_of_accounts(kept: TinySite) -> None:
    """With CIS's PASS_MAX_DAYS, and defaults of useradd that expire: neither the app nor the deploy user has an end."""
    kept.host.run(
        "sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 90/' /etc/login.defs; "
        "printf 'INACTIVE=30\nEXPIRE=2027-01-01\n' >> /etc/default/useradd; userdel -r deploy; useradd -m control"
    )
    assert kept.host.run("getent shadow control").stdout.split(":")[4] == "90"  # what would have become of it
    setup(kept)
    for user in ("mini", "deploy"):
        fields = kept.host.run(f"getent shadow {user}").stdout.strip().split(":")
        assert [text for text in fields[4:8] if text not in ("", "-1", "7")] == [], fields
    kept.host.run("userdel -r control")


@pytest.mark.parametrize("damage", ["chage -M 90 -d 2020-01-01 deploy", "chage -E 1 deploy", "chage -d 0 deploy"])
def test_an_account_that_has_an_end_is_found_and_mended(kept: TinySite, damage: str) -> None:
    """It keeps the deploy user out; doctor, as root, names the account and why, and a set-up mends it."""
    kept.host.run(damage)
    assert kept.ssh("true").returncode != 0
    (found,) = json.loads(kept.fab("doctor", "--json", user="root").out)["findings"]
    assert (found["kind"], found["what"]) == ("account", "deploy")
    assert "fab setup" in found["repair"]
    assert "deploy does not expire any more" in changes(setup(kept))["users"]
    assert kept.ssh("true").returncode == 0


@pytest.mark.cause("account-expired")
def test_a_persons_account_is_left_to_that_person(kept: TinySite) -> None:
    """Somebody's own account, with a password, keeps its end; one that is over is refused, with what to type."""
    kept.host.run("usermod -c Ada -p '$y$j9T$x$y' deploy; chage -M 90 deploy")
    assert changes(setup(kept)) == {}
    kept.host.run("chage -d 2020-01-01 deploy")
    failed = setup(kept, expect=2).event("failed")
    assert "its password expired on 2020-03-31" in failed["message"]
    assert "chage -M -1" in json.dumps(failed["next"])


MENDED = {
    "chmod g+w /home/deploy": ("users", "mode of /home/deploy"),
    "chmod 666 /home/deploy/.ssh/authorized_keys": ("users", "mode of /home/deploy/.ssh/authorized_keys"),
    "rm -rf /home/deploy": ("users", "/home/deploy, 1 key for deploy"),
    "usermod -p '!' deploy": ("users", "deploy is not locked any more"),
    "install -d /etc/ssh/keys; "
    "printf 'Match User deploy\\n AuthorizedKeysFile /etc/ssh/keys/%%u\\n' > /etc/ssh/sshd_config.d/zz.conf": (
        "users",
        "1 key for deploy",
    ),
    "printf 'Defaults requiretty, noexec, log_input, command_timeout=1\\n' > /etc/sudoers.d/zz; "
    "rm /etc/sudoers.d/deployer-mini": ("sudo", "/etc/sudoers.d/deployer-mini"),
    "echo 'UsePAM no' > /etc/ssh/sshd_config.d/zz.conf; usermod -p '!!' deploy": ("users", "deploy is not locked"),
}


@pytest.mark.parametrize("damage", MENDED)
def test_what_keeps_the_deploy_user_out_is_mended(kept: TinySite, damage: str) -> None:
    """Modes that sshd does not like, a home that is gone, keys elsewhere, odd rules of sudo: then a deploy works."""
    kept.host.run(f"{damage}; systemctl reload ssh")
    step, told = MENDED[damage]
    found = changes(setup(kept))
    assert list(found) == [step]
    assert told in found[step]
    kept.project.change(files={"more.txt": damage})
    kept.expect(0, "deploy")


REFUSED = {
    "echo 'AllowUsers root' > /etc/ssh/sshd_config.d/zz.conf": "AllowUsers root: deploy is not among them",
    "echo 'DenyGroups mini' > /etc/ssh/sshd_config.d/zz.conf": "DenyGroups mini: deploy is in one of them",
    "printf 'Match User deploy\\n ForceCommand /bin/false\\n' > /etc/ssh/sshd_config.d/zz.conf": "ForceCommand",
    "echo 'AuthorizedKeysFile none' > /etc/ssh/sshd_config.d/zz.conf": "AuthorizedKeysFile none",
    "echo 'AuthorizedKeysFile /etc/ssh/keys/%u' > /etc/ssh/sshd_config.d/zz.conf": "not a directory of root's alone",
    "echo 'UsePAM no' > /etc/ssh/sshd_config.d/zz.conf; usermod -p '!$6$x$y' deploy": "is locked, and sshd",
    "touch /etc/nologin": "/etc/nologin keeps everybody but root out",
    "usermod -s /bin/fish deploy": "its shell is /bin/fish",
    "chown nobody /home/deploy": "belongs to another user",
    "echo 'Defaults:deploy runchroot=/nowhere' > /etc/sudoers.d/zz": "cannot start the host program by sudo",
}


@pytest.mark.parametrize("damage", REFUSED)
def test_what_keeps_the_deploy_user_out_is_named(kept: TinySite, damage: str) -> None:
    """What is somebody's decision is not undone: the set-up is refused, naming what keeps the deploy user out."""
    kept.host.run(damage)
    failed = setup(kept, expect=2).event("failed")
    assert REFUSED[damage] in failed["message"]
    assert failed["next"]


# Odd hosts

ODD = {
    "mount --bind /etc /etc; mount -o remount,bind,ro /etc": ("umount /etc", "/etc is read-only on this host"),
    "mv /usr/sbin/useradd /root": ("mv /root/useradd /usr/sbin", "this host lacks useradd"),
    "mv /usr/sbin/visudo /root": ("mv /root/visudo /usr/sbin", "the packages sudo are installed"),
    "mv /usr/bin/python3 /root": ("mv /root/python3 /usr/bin", "lacks python3"),
    "mv /usr/local/lib/deployer/tools /root; mount -t tmpfs -o size=20m x /usr/local": (
        "umount /usr/local; mv /root/tools /usr/local/lib/deployer",
        "the disk of /usr/local is full: 20 MiB are free",
    ),
}


@pytest.mark.parametrize("damage", ODD)
def test_a_host_that_cannot_be_prepared_is_refused_in_words(mini: TinySite, damage: str) -> None:
    """Read-only, full, or without what setup needs: exit 2, what it is, what to do about it, and no traceback."""
    mend, told = ODD[damage]
    mini.host.run(damage)
    try:
        failed = setup(mini, expect=2).event("failed")
    finally:
        mini.host.run(mend)
    assert told in failed["message"]
    assert failed["next"]
    assert "Traceback" not in json.dumps(failed)


def test_an_austere_host_is_prepared_and_deployed_to(kept: TinySite) -> None:
    """A umask of 077 for root, /tmp without exec, /run without set-uid, bytes of another alphabet in passwd and nginx's
    files: everything is made as it should be, and a deploy works."""
    kept.host.run(
        "mount -t tmpfs -o noexec,nosuid,mode=1777 tmpfs /tmp; mount -o remount,nosuid,noexec /run; "
        "sed -i '1i umask 077' /root/.bashrc; printf '#\\344\\n' >> /etc/nginx/nginx.conf; "
        "printf 'hans:x:4242:4242:Hans M\\374ller:/home/hans:/bin/sh\\n' >> /etc/passwd; "
        "rm -rf /etc/deployer /usr/local/lib/deployer /etc/sudoers.d/deployer-mini"
    )
    try:
        assert kept.host.run("umask").stdout.strip() == "0077"
        setup(kept)
        paths = " ".join(line.split()[0] for line in OWNERS.splitlines())
        assert kept.host.run(f"stat -c '%n %a %U:%G' {paths}").stdout == OWNERS
        kept.project.change(files={"more.txt": "austere"})
        kept.expect(0, "deploy")
    finally:
        kept.host.run("umount /tmp; sed -i 1d /root/.bashrc; sed -i '$d' /etc/nginx/nginx.conf")

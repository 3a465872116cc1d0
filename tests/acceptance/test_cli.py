"""What a person meets at the command line: every exit code, every message, and what to type next."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.delayproxy import DelayProxy
from tests.support.site import FAB, Ended, wait_until
from tests.support.terminal import Terminal
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

SLOW_BUILD = ["until [ -e $HOME/go ]; do sleep 0.1; done"]
"""Runs until somebody says go."""


def run(site: TinySite, *argv: str, cwd: Path | None = None, **env: str) -> Ended:
    """A command line as it is, in the project."""
    done = subprocess.run(
        argv,
        cwd=cwd or site.project.path,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
    return Ended(done.returncode, done.stdout, done.stderr, events)


def here(site: TinySite) -> str:
    """How the host was named on the command line."""
    return f"{site.user}@{site.host.name}"


# Naming a host


def test_without_a_host_nothing_happens(mini: TinySite) -> None:
    """No -H and no hosts: exit 2, and both ways to name one."""
    ended = run(mini, FAB, "deploy")
    assert ended.exit == 2
    assert "no host was named" in ended.err
    assert "-H deploy@HOST" in ended.err
    assert "hosts =" in ended.err


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch /tmp/x", "a b", "deploy@", "web1:99999", "x;id", "$(id)", "[::1"]
)
def test_what_is_no_host_is_refused(mini: TinySite, host: str) -> None:
    """Text that can be no host, options first of all, is refused with how to write one."""
    ended = run(mini, FAB, "status", f"--hosts={host}")
    assert ended.exit == 2
    assert "is not a host to connect to" in ended.err
    assert "[user@]host[:port]" in ended.err


def test_hosts_come_from_the_configuration_too(mini: TinySite) -> None:
    """Without -H the file's hosts count, and the advice then names none either."""
    mini.configure(top=f'hosts = ["{here(mini)}"]')
    ended = run(mini, FAB, "-S", str(mini.host.ssh_config), "-i", str(mini.host.identity), "phase.build")
    assert ended.exit == 2
    assert "next: fab phase.upload\n" in ended.err


def test_a_host_has_its_own_settings_and_name(mini: TinySite) -> None:
    """A host that deploy.toml gives an address is deployed to by its name there, with the variables it has there."""
    mini.configure(top=f'hosts.blue = {{ address = "{here(mini)}", env = {{ TEST_COLOUR = "blue" }} }}')
    options = ("-S", str(mini.host.ssh_config), "-i", str(mini.host.identity))
    ended = run(mini, FAB, *options, "deploy", "--json")
    assert (ended.exit, ended.event("finished")["host"]) == (0, "blue"), ended.text
    assert mini.get("/env?key=TEST_COLOUR")["value"] == "blue"
    mini.configure(top=f'hosts.blue = {{ address = "{here(mini)}" }}')
    assert run(mini, FAB, *options, "-H", "blue", "reload").exit == 0
    assert mini.get("/env?key=TEST_COLOUR")["value"] == "green"


# The configuration file

TYPOS = [
    ('app = "mini"\n', 'appp = "mini"\n', ["deploy.toml", "appp", "app"]),
    ("[web]\n", "[wep]\n", ["wep", "web"]),
    ("command =", "comand =", ["web.comand", "command"]),
    ('path = "/healthz"', 'paht = "/healthz"', ["web.health.paht", "path"]),
    ('path = "/healthz"', 'path = "/a b"', ["web.health.path"]),
    ("watch = 0", "wach = 0", ["release.wach", "watch"]),
    ("watch = 0", 'watch = "long"', ["release.watch"]),
    ("drain = 1", "drain = 0", ["release.drain"]),
    ("build = []", 'build = "make"', ["release.build"]),
    ("build = []", 'build = ["echo \'open"]', ["release.build", "quot"]),
    ('kind = "nginx"', 'kind = "nginks"', ["proxy.kind", "nginx"]),
    ("listen =", "lisen =", ["proxy.lisen", "listen"]),
    ('"/static/" =', '"static" =', ["proxy.static", "/static/"]),
    ("TEST_COLOUR =", "LD_PRELOAD =", ["env.LD_PRELOAD"]),
    ("TEST_COLOUR =", '"A B" =', ["env", "A B"]),
    ('app = "mini"', 'app = "../mini"', ["app"]),
    ('app = "mini"', 'app = "Mini Shop"', ["app"]),
    ('app = "mini"', 'app = "$(id)"', ["app"]),
    ('deploy_user = "deploy"', 'deploy_user = "root"', ["deploy_user", "root"]),
    ("[env]", "[env", ["not TOML", "column"]),
]


@pytest.mark.parametrize(("old", "new", "told"), TYPOS, ids=[new.strip() for _, new, _ in TYPOS])
def test_a_typo_is_found_before_anything_is_connected(mini: TinySite, old: str, new: str, told: list[str]) -> None:
    """Each wrong key or value: exit 2, the file, the key, the nearest right one; no connection is tried."""
    text = (mini.project.path / "deploy.toml").read_text()
    assert old in text
    mini.project.write("deploy.toml", text.replace(old, new, 1))
    ended = run(mini, FAB, "deploy", "-H", "deploy@nowhere.invalid")
    assert ended.exit == 2
    assert "deploy.toml" in ended.err
    for word in told:
        assert word in ended.err
    assert "nowhere.invalid" not in ended.err
    assert "Traceback" not in ended.err


def test_an_environment_that_does_not_exist_is_named(mini: TinySite) -> None:
    """--env with a typo: exit 2 with those that exist; the advice keeps the --env that is right."""
    mini.configure(proxy="[environments.staging]\nhosts = []")
    text = mini.project.path / "deploy.toml"
    ended = run(mini, FAB, "status", "-H", here(mini), "--env", "stagin")
    assert ended.exit == 2
    assert "staging" in ended.err
    ended = mini.fab("phase.build", "--env", "staging")
    assert f"next: fab phase.upload -H {here(mini)} --env staging\n" in ended.err, text.read_text()


def test_no_configuration_is_told(mini: TinySite, tmp_path: Path) -> None:
    """A directory without deploy.toml: exit 2 and the command that writes one."""
    (tmp_path / "empty").mkdir()
    for name in ("fabfile.py", "fabric.yaml"):
        shutil.copy(mini.project.path / name, tmp_path / "empty" / name)
    ended = run(mini, FAB, "deploy", "-H", "deploy@web1", cwd=tmp_path / "empty")
    assert ended.exit == 2
    assert "deploy.toml not found" in ended.err
    assert "deployer init" in ended.err


def test_it_works_from_a_directory_below(mini: TinySite) -> None:
    """In a subdirectory of the project the same file and the same code are used."""
    ended = run(mini, *mini.argv("status"), cwd=mini.project.path / "static")
    assert ended.exit == 0
    assert "serves" in ended.out


# Reaching the host


@pytest.fixture
def config(mini: TinySite, tmp_path: Path) -> SshConfig:
    return SshConfig(tmp_path / "ssh", mini)


class SshConfig:
    """An ssh_config of the test's own, with its own known_hosts."""

    def __init__(self, directory: Path, site: TinySite) -> None:
        directory.mkdir()
        self.site = site
        self.path = directory / "config"
        self.known = directory / "known_hosts"
        self.write()

    def write(self, *lines: str, host: str = "box") -> None:
        """One host block; the lines come before its defaults, and win."""
        defaults = (
            f"HostName {self.site.host.address}",
            "User deploy",
            f"IdentityFile {self.site.host.identity}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known}",
            "GlobalKnownHostsFile none",
            "StrictHostKeyChecking yes",
        )
        given = {line.split()[0] for line in lines}
        kept = [line for line in defaults if line.split()[0] not in given]
        self.path.write_text("\n".join([f"Host {host}", *(f"  {line}" for line in (*lines, *kept)), ""]))

    def trust(self, name: str = "", key: str = "") -> None:
        words = self.site.host.known_hosts.read_text()
        theirs = next(line for line in words.splitlines() if line.startswith(self.site.host.address))
        with self.known.open("a") as file:
            file.write(f"{name or self.site.host.address} {key or theirs.split(' ', 1)[1]}\n")

    def fab(self, *arguments: str, host: str = "box") -> Ended:
        return run(self.site, FAB, "-S", str(self.path), *arguments, "-H", host)


def test_an_unknown_host_key_is_refused_with_what_mends_it(config: SshConfig) -> None:
    """Exit 3, the fingerprint, and a command that, typed as it is, makes the next try work."""
    ended = config.fab("status", "--json")
    assert ended.exit == 3
    failed = ended.event("failed")
    assert "host key that is not known" in failed["message"]
    assert "SHA256:" in failed["message"]
    assert failed["state"] == "nothing was touched"
    (command,) = failed["commands"]
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=30)
    assert config.fab("status").exit == 0


def test_the_mending_command_makes_the_directory_it_needs(config: SshConfig) -> None:
    """On a machine that has no ~/.ssh yet the command works all the same."""
    config.known = config.known.parent / "not there yet/known_hosts"
    config.write(f'UserKnownHostsFile "{config.known}"')
    (command,) = config.fab("status", "--json").event("failed")["commands"]
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=30)
    assert config.fab("status").exit == 0


def test_a_changed_host_key_is_refused_with_what_mends_it(config: SshConfig, tmp_path: Path) -> None:
    """Exit 3, both keys and the line of the old one; --accept-new does not help; the commands do."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    config.trust(key=" ".join((tmp_path / "other.pub").read_text().split()[:2]))
    for arguments in (["status", "--json"], ["status", "--json", "--accept-new"]):
        ended = config.fab(*arguments)
        assert ended.exit == 3
    failed = ended.event("failed")
    assert "another host key than before" in failed["message"]
    assert f"{config.known}:1" in failed["message"]
    commands = failed["commands"]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(command, shell=True, check=True, capture_output=True, timeout=30)
    assert config.fab("status").exit == 0


def test_accept_new_records_a_key_once(config: SshConfig) -> None:
    """With --accept-new an unknown key is recorded, and said; from then on it is known without."""
    ended = config.fab("deploy", "--accept-new", "--json")
    assert ended.exit == 0
    assert "is trusted from now on" in ended.event("warn")["text"]
    assert len(config.known.read_text().splitlines()) == 1
    ended = config.fab("status", "--json")
    assert (ended.exit, [event for event in ended.events if event["event"] == "warn"]) == (0, [])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["HostName 127.0.10.254"], "nothing listens at 127.0.10.254 port 22"),
        (["Port 1"], "port 1"),
        (["HostName nowhere.invalid"], "nowhere.invalid has no address"),
        (["User nobody-there"], "did not let nobody-there log in"),
        (["IdentityFile none"], "did not let deploy log in"),
    ],
    ids=["down", "refused", "DNS", "user", "key"],
)
def test_a_host_that_cannot_be_reached_is_told(config: SshConfig, lines: list[str], told: str) -> None:
    """Exit 3, what was tried and how it failed, that nothing was touched, and what to look at."""
    config.write(*lines)
    config.trust()
    ended = config.fab("deploy", "--json")
    assert ended.exit == 3
    failed = ended.event("failed")
    assert told in failed["message"]
    assert failed["state"] == "nothing was touched"
    assert failed["next"]


def test_an_alias_is_all_it_takes(config: SshConfig) -> None:
    """HostName, Port, User, IdentityFile and ProxyJump come from ssh_config, as OpenSSH would have it.

    The name behind the jump host can be resolved only there, and only that sshd listens on that port.
    """
    host = config.site.host
    host.run(
        f"grep -q inner /etc/hosts || echo '{host.address} inner.example' >> /etc/hosts; "
        f"/usr/sbin/sshd -o ListenAddress={host.address}:2222 -o PidFile=/run/second-sshd.pid"
    )
    try:
        config.write("HostName inner.example", "Port 2222", "ProxyJump jump", host="prod")
        behind = config.path.read_text()
        config.write("User root", host="jump")
        config.path.write_text(behind + config.path.read_text())
        config.trust()
        config.trust(name="[inner.example]:2222")
        ended = config.fab("releases", "--json", host="prod")
        assert ended.exit == 0, ended.text
        assert json.loads(ended.out)["host"] == "prod"
    finally:
        host.run("kill $(cat /run/second-sshd.pid)")


# Which release a rollback takes


def test_a_damaged_release_is_passed_by(mini: TinySite) -> None:
    """The doctor has found it; a rollback takes the one before, says which was left out and why."""
    older = mini.serving
    mini.project.change(files={"which.txt": "damaged"})
    mini.deploy()
    damaged = mini.serving
    mini.project.change(files={"which.txt": "newest"})
    mini.deploy()
    mini.host.run(f"cd /srv/mini/releases/{damaged}/code/ && rm which.txt && echo else > which.txt")
    assert damaged in mini.expect(7, "doctor").out
    assert f"units of {older}" in mini.expect(0, "rollback", "--dry").out
    ended = mini.expect(0, "rollback", "--json")
    assert f"{damaged} is passed by: its code is damaged" in ended.event("warn")["text"]
    assert "which.txt" in ended.event("warn")["text"]
    assert mini.host.run("cat /srv/mini/current/code/which.txt", check=False).stdout != "damaged"
    assert row(mini)["of"] == older


# Which code ships


def row(site: TinySite) -> dict[str, Any]:
    """The newest release, as ``fab releases --json`` tells it."""
    return dict(json.loads(site.expect(0, "releases", "--json").out)["releases"][0])


def test_a_dirty_tree_is_refused_unless_asked_for(mini: TinySite) -> None:
    """Changed files: exit 2 naming them; --dirty ships them, and the record says so."""
    mini.project.write("static/hello.txt", "from my desk\n")
    ended = mini.expect(2, "deploy")
    assert "static/hello.txt" in ended.err
    assert "--dirty" in ended.err
    mini.expect(0, "deploy", "--dirty")
    found = row(mini)
    assert (found["dirty"], found["commit"]) == (True, mini.project.sha)
    assert "local changes" in mini.expect(0, "releases").out
    served = mini.host.run(f"curl -s {mini.url}/static/hello.txt").stdout
    assert served == "from my desk\n"


def test_any_name_of_a_commit_ships_that_commit(mini: TinySite) -> None:
    """A tag, a branch and a short sha are shipped as named; HEAD and the working tree play no part."""
    first = mini.project.change(files={"which.txt": "first"})
    mini.project.git("tag", "v1.0")
    mini.project.git("branch", "old/branch")
    mini.project.change(files={"which.txt": "second"})
    mini.project.write("which.txt", "third")
    for ref in ("v1.0", "old/branch", first[:9]):
        mini.expect(0, "deploy", "--ref", ref)
        found = row(mini)
        assert (found["commit"], found["ref"], found["dirty"]) == (first, ref, False)
        assert mini.host.run("cat /srv/mini/current/code/which.txt").stdout == "first"


@pytest.mark.parametrize(
    "ref",
    ["nope", "--output=/tmp/evil", "$(touch /tmp/evil)", "; id", "../..", "HEAD; id", "a\nb", "-h", " ", "HEAD:app.py"],
)
def test_a_name_of_no_commit_is_refused(mini: TinySite, ref: str) -> None:
    """What names no commit is refused here: nothing is executed, nothing is sent."""
    before = row(mini)
    ended = mini.expect(2, "deploy", f"--ref={ref}", "--json")
    assert "is not a commit, branch or tag" in ended.event("failed")["message"]
    assert ended.event("failed")["state"] == "nothing was touched"
    assert not Path("/tmp/evil").exists()
    assert row(mini) == before


def test_files_under_include_ship_untracked(mini: TinySite) -> None:
    """What ``include`` names ships though git does not know it; a pattern that matches nothing is refused."""
    mini.project.write(".gitignore", "dist/\n")
    mini.configure(top='include = ["dist/**"]')
    ended = mini.expect(2, "deploy")
    assert "dist/**" in ended.err
    mini.project.write("dist/app.js", "built")
    mini.project.write("left.txt", "stays")
    ended = mini.expect(0, "deploy")
    assert "left.txt" in ended.err
    assert mini.host.run("cat /srv/mini/current/code/dist/app.js; ls /srv/mini/current/code").stdout.startswith("built")
    assert "left.txt" not in mini.host.run("ls /srv/mini/current/code").stdout


def test_without_git_only_dirty_ships(mini: TinySite) -> None:
    """A directory that is no repository: exit 2 with both ways out; --dirty ships it and warns."""
    shutil.rmtree(mini.project.path / ".git")
    ended = mini.expect(2, "deploy")
    assert "not in a git repository" in ended.err
    assert "--dirty" in ended.err
    ended = mini.expect(0, "deploy", "--dirty")
    assert "not in a git repository" in ended.err
    assert (row(mini)["commit"], row(mini)["dirty"]) == ("", True)


# Values

HARD = {
    "TEST_SPACES": "  two  spaces  ",
    "TEST_QUOTES": 'it\'s "quoted" `so`',
    "TEST_LINES": "one\ntwo\n\nfour",
    "TEST_SHELL": "$(touch /tmp/evil) ${HOME} $HOME $$ ; id & | > <",
    "TEST_PATH": "../../etc/passwd",
    "TEST_PERCENT": "100%% %h %n",
    "TEST_BACKSLASH": "a\\nb \\ \\\\ \\$",
    "TEST_HASH": "# not a comment = yes",
    "TEST_UNICODE": "žluťoučký 🐎",
    "TEST_EMPTY": "",
    "TEST_TAB": "a\tb",
}


def test_values_arrive_as_they_are(mini: TinySite) -> None:
    """Whatever an environment value holds: app, build and migration get exactly that, and nothing executes it."""
    script = (
        "import json, os, sys\n"
        "print('SEEN ' + json.dumps({k: v for k, v in os.environ.items() if k.startswith('TEST_')}, sort_keys=True))\n"
    )
    mini.project.write("seen.py", script)
    mini.configure(
        env="\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in HARD.items()),
        build=["python3 seen.py", 'printf "%s\\n" "SHELL ${TEST_SHELL}"'],
        release='migrate = "/usr/bin/python3 seen.py"',
    )
    ended = mini.expect(0, "deploy", "--json", "--verbose")
    for name, value in HARD.items():
        assert mini.get(f"/env?key={name}")["value"] == value, name
    lines = [event["line"] for event in ended.events if event["event"] == "output"]
    seen = [json.loads(line[5:]) for line in lines if line.startswith("SEEN ")]
    assert seen == [{**HARD, "TEST_COLOUR": "green"}] * 2
    assert f"SHELL {HARD['TEST_SHELL']}" in lines
    assert mini.host.run("ls /tmp/evil", check=False).returncode != 0


def test_arguments_arrive_as_they_are(mini: TinySite) -> None:
    """The words of a command reach the process one for one: no specifier, no variable, no shell."""
    words = [
        "two words",
        "%h",
        "$HOME",
        "${HOME}",
        "$(id)",
        "a;b",
        "it's",
        'say "x"',
        "back\\slash",
        "*",
        "~",
        "é",
        "--x=%%",
    ]
    mini.configure(arguments=shlex.join(words))
    mini.expect(0, "deploy")
    assert mini.get("/argv") == words


def test_build_commands_are_shell_lines(mini: TinySite) -> None:
    """A build command is read by the shell and by nothing else before it: its $$ and ${…} are the shell's own."""
    mini.configure(build=["X=1; echo \"pid $$ ${X:-unset} '%h' %n\"", "echo 'single ${HOME} $$'"])
    ended = mini.expect(0, "deploy", "--json")
    lines = [event["line"] for event in ended.events if event["event"] == "output"]
    assert re.fullmatch(r"pid \d+ 1 '%h' %n", lines[0])
    assert lines[1] == "single ${HOME} $$"


# Answers


def test_answers_are_all_there_is_on_stdout(mini: TinySite) -> None:
    """status, releases and logs print their answer on standard output and nothing else, on no other stream."""
    mini.expect(0, "deploy")
    release = mini.get("/")["release"]
    for command, told in (
        ("status", f"{release} serves"),
        ("releases", f"● {release}"),
        ("logs", " mini-web["),
    ):
        ended = mini.expect(0, command)
        assert told in ended.out
        assert ended.err == ""
        assert "\x1b" not in ended.out
    lines = mini.expect(0, "logs", "-n", "3").out.splitlines()
    assert len(lines) == 3
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines)


def test_what_goes_wrong_with_a_question_is_on_stderr(mini: TinySite) -> None:
    """A question that cannot be answered leaves standard output empty."""
    mini.app = "unknown"
    mini.configure()
    for command in ("status", "releases", "logs"):
        ended = mini.expect(2, command)
        assert ended.out == ""
        assert "fab setup -H root@" in ended.err


def test_json_is_json_line_by_line(mini: TinySite) -> None:
    """With --json every command prints one JSON object a line on standard output, and nothing on standard error."""
    mini.project.change(files={"json.txt": "x"})
    commands: list[tuple[int, list[str]]] = [
        (0, ["setup"]),
        (0, ["deploy"]),
        (0, ["status"]),
        (0, ["releases"]),
        (0, ["logs", "-n", "2"]),
        (0, ["attach"]),
        (2, ["phase.watch"]),
    ]
    for exit, command in commands:
        ended = mini.expect(exit, *command, "--json", user="root" if command == ["setup"] else "")
        assert ended.err == "", command
        values = [json.loads(line) for line in ended.out.splitlines()]
        assert values, command
        assert all(isinstance(value, dict) for value in values), command
        if exit:
            assert ended.event("failed")["exit"] == exit, command


def test_a_bad_release_is_told_as_bad_usage(mini: TinySite) -> None:
    """A release that was never, and a word that names none: exit 2, and where to look, for the host that was named."""
    for word, reason in (("v9999", "there is no release v9999"), ("latest", "not a release: 'latest'")):
        failed = mini.expect(2, "rollback", "--to", word, "--json").event("failed")
        assert reason in failed["message"]
        assert failed["next"] == f"fab releases -H {here(mini)}"


def test_our_own_command_advises_itself(mini: TinySite) -> None:
    """Who types ``deployer`` is told what to type next with ``deployer``; a wrong command line is exit 2 there."""
    program = str(Path(FAB).with_name("deployer"))
    connection = ["-S", str(mini.host.ssh_config), "-i", str(mini.host.identity), "-H", here(mini)]
    ended = run(mini, program, "rollback", "--to", "v9999", *connection)
    assert ended.exit == 2
    assert f"next: deployer releases -H {here(mini)}\n" in ended.err
    assert run(mini, program, "deploy", "--bogus").exit == 2
    assert run(mini, program, "status", *connection).exit == 0


# Exit codes of a release


def test_a_release_that_is_not_healthy_is_exit_5(mini: TinySite) -> None:
    """Refused before the switch: what was answered, that the old release serves on, and the last log lines."""
    before = mini.get("/")["release"]
    mini.configure(health='status = "500", settle = 0, timeout = 1')
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "GET /healthz answered 200" in failed["message"]
    assert f"{before} serves, uninterrupted" in failed["state"]
    assert mini.get("/")["release"] == before


def test_a_release_that_dies_after_the_switch_is_exit_6(mini: TinySite) -> None:
    """Rolled back: which release serves again, and the new one is recorded as such."""
    before = mini.get("/")["release"]
    mini.configure(watch=20, env='TEST_DIE_AFTER = "2.5"')
    failed = mini.expect(6, "deploy", "--json").event("failed")
    assert f"{before} serves again" in failed["state"]
    assert mini.get("/")["release"] == before
    assert row(mini)["state"] == "rolled back"


@pytest.fixture
def going(mini: TinySite) -> Iterator[subprocess.Popen[str]]:
    """A deploy that waits in its build until it is told to go."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # a tree that is built already would not be built again
    mini.configure(build=SLOW_BUILD)
    process = start(mini)
    try:
        read_until(process, "phase.started", phase="build")
        yield process
    finally:
        go(mini)
        process.kill()
        process.wait()
        wait_until(lambda: not busy(mini), "the deploy has ended")


def start(site: TinySite, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(argv or site.argv("deploy", "--json"))],
        cwd=site.project.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], name: str, **wanted: Any) -> dict[str, Any]:
    """The first event of that name that a running command tells."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name and all(event[key] == value for key, value in wanted.items()):
            return event
    raise AssertionError(f"no event {name}: {process.stderr.read() if process.stderr else ''}")


def go(site: TinySite) -> None:
    site.host.run("mkdir -p /var/cache/deployer-mini; touch /var/cache/deployer-mini/go")


def busy(site: TinySite) -> bool:
    return site.host.run("systemctl is-active deployer-mini.service", check=False).stdout.strip() in (
        "active",
        "activating",
        "deactivating",
    )


def test_a_second_deploy_is_told_who_is_at_it(mini: TinySite, going: subprocess.Popen[str]) -> None:
    """Exit 4: who, since when, at which phase, how to follow it; following it ends as it ends."""
    failed = mini.expect(4, "deploy", "--json").event("failed")
    assert re.search(r"a deploy by \S+@\S+ runs since \d\d:\d\d:\d\d.*, at build", failed["message"])
    assert failed["state"] == "nothing was touched"
    assert failed["next"].startswith(f"fab attach -H {here(mini)}")
    for command in ("reload", "rollback", "phase.build"):
        mini.expect(4, command)
    assert "busy" in mini.expect(0, "status").out
    follower = start(mini, *mini.argv("attach", "--json"))
    read_until(follower, "phase.started", phase="build")
    go(mini)
    assert read_until(follower, "finished")["exit"] == 0
    assert follower.wait(30) == 0
    assert going.wait(30) == 0


# Ctrl-C


def interrupted(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The one explanation that a command gave when it was interrupted."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    failures = [json.loads(line) for line in out.splitlines() if '"failed"' in line]
    assert len(failures) == 1
    return dict(failures[0])


def test_ctrl_c_during_a_build_leaves_the_host_to_finish(mini: TinySite, going: subprocess.Popen[str]) -> None:
    """Exit 130 and one explanation; the host goes on, can be followed again, and ends in a whole release."""
    before = mini.get("/")["release"]
    failed = interrupted(going)
    assert "the host finishes by itself" in failed["state"]
    assert failed["next"].startswith(f"fab attach -H {here(mini)}")
    assert mini.get("/")["release"] == before
    go(mini)
    ended = mini.expect(0, "attach", "--json")
    assert mini.get("/")["release"] == ended.event("finished")["serving"] != before


def test_ctrl_c_during_the_watch_keeps_the_new_release(mini: TinySite) -> None:
    """After the switch, too, the host ends by itself what it began."""
    mini.configure(watch=2)
    process = start(mini)
    read_until(process, "phase.started", phase="watch")
    serving = mini.get("/")["release"]
    interrupted(process)
    assert mini.expect(0, "attach", "--json").event("finished")["serving"] == serving
    assert row(mini)["state"] == "current"


def test_ctrl_c_during_an_upload_touches_nothing_and_goes_on_later(mini: TinySite, config: SshConfig) -> None:
    """Interrupted half-way: exit 130, nothing was touched, what arrived is kept, and the next deploy sends the rest."""
    before = mini.get("/")["release"]
    (mini.project.path / "big.bin").write_bytes(os.urandom(24 << 20))
    mini.project.commit("big")
    with DelayProxy(mini.host.address, 22, rtt_ms=2) as proxy:
        config.write(f"HostName {proxy.host}", f"Port {proxy.port}")
        config.trust(name=f"[{proxy.host}]:{proxy.port}")
        process = start(mini, FAB, "-S", str(config.path), "deploy", "--json", "-H", "box")
        while read_until(process, "progress", doing="sending")["done"] < 4 << 20:
            pass
        proxy.blackhole()
        failed = interrupted(process)
    assert failed["message"] == "interrupted during the upload"
    assert "nothing was touched" in failed["state"]
    assert failed["next"].startswith("fab deploy -H box")
    assert mini.get("/")["release"] == before
    wait_until(lambda: "session mini" not in mini.host.run("ps -eo args").stdout, "the host noticed")
    (partial,) = mini.session(b'{"op":"ask"}\n').last["partials"].values()
    assert 0 < partial < 24 << 20
    ended = mini.expect(0, "deploy", "--json")
    assert min(event["done"] for event in ended.events if event.get("doing") == "sending") > partial


def test_ctrl_c_while_connecting_ends_at_once(mini: TinySite, config: SshConfig) -> None:
    """A host that does not answer holds nobody up."""
    with DelayProxy(mini.host.address, 22) as proxy:
        proxy.blackhole()
        config.write(f"HostName {proxy.host}", f"Port {proxy.port}")
        process = start(mini, FAB, "-S", str(config.path), "deploy", "--json", "-H", "box")
        read_until(process, "connecting")
        began = proxy.connections
        interrupted(process)
        assert began <= 1


def test_following_logs_ends_with_ctrl_c_and_leaves_nothing(mini: TinySite) -> None:
    """``fab logs -f`` prints new lines as they come; Ctrl-C ends it without a word, here and on the host."""
    process = start(mini, *mini.argv("logs", "-f", "-n", "1"))
    assert process.stdout is not None
    process.stdout.readline()
    mini.host.run("systemctl restart mini")
    while "Started mini-web" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    wait_until(lambda: "journalctl --no-pager" not in mini.host.run("ps -eo args").stdout, "journalctl has gone")


def test_ctrl_c_in_a_terminal_restores_it(mini: TinySite) -> None:
    """Pressed by a person who leaves then: exit 130, one explanation; cursor and settings are as before."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=SLOW_BUILD)
    terminal = Terminal(mini.argv("deploy"), mini.project.path)
    try:
        terminal.wait_for(b"build")
        terminal.wait_for(b"\x1b[?25l")
        wait_until(lambda: busy(mini), "the host is at work")
        terminal.type("\x03")
        terminal.wait_for(b"Stop watching, abort, or keep following?")
        terminal.type("\n")
        terminal.wait_for(b"next:")
        settings = termios.tcgetattr(terminal.descriptor)
        assert terminal.end() == 130
    finally:
        go(mini)
    seen = terminal.text
    assert settings == terminal.before
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert seen.count("the host finishes by itself") == 1
    assert "Traceback" not in seen
    mini.expect(0, "attach")


def test_no_color_means_no_colour(mini: TinySite) -> None:
    """In a terminal there is colour, unless NO_COLOR says not."""
    colour = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal(mini.argv("releases"), mini.project.path, **env)
        assert terminal.end() == 0
        styles = {code for code in colour.findall(terminal.text) if re.search(r"[349]\d", code)}
        assert bool(styles) == coloured


# Phases one by one


def test_phases_one_by_one_make_a_release(mini: TinySite) -> None:
    """upload … watch, each typed alone, in the end serve; up to the switch the release before does."""
    mini.configure(release='migrate = "true"', build=["true"])
    before = mini.get("/")["release"]
    phases = ("upload", "build", "install", "start", "migrate", "check", "switch", "drain", "watch")
    for phase in phases:
        ended = mini.expect(0, f"phase.{phase}", "--json")
        assert ended.event("phase.done", phase=phase)
        if phase in phases[: phases.index("switch")]:
            assert mini.get("/")["release"] == before
    release = ended.event("finished")["release"]
    assert mini.get("/")["release"] == release != before
    assert (row(mini)["number"], row(mini)["state"]) == (release, "current")


def test_a_phase_out_of_order_says_which_comes_first(mini: TinySite) -> None:
    """Refused with exit 2 and the phase to run, for the host that was named; that one can then be run."""
    mini.expect(0, "phase.upload")
    for phase in ("start", "watch"):
        failed = mini.expect(2, f"phase.{phase}", "--json").event("failed")
        assert re.match(rf"fab phase\.\w+ -H {re.escape(here(mini))}", failed["next"])
    mini.expect(0, "phase.build")


def test_phases_without_a_release_say_how_to_begin(mini: TinySite) -> None:
    """Nothing is under way: exit 2 and the first phase."""
    mini.expect(0, "deploy")
    failed = mini.expect(2, "phase.build", "--json").event("failed")
    assert failed["next"] == f"fab phase.upload -H {here(mini)}"
    failed = mini.expect(2, "phase.switch", "--release", mini.get("/")["release"], "--json").event("failed")
    assert "phases are over" in failed["message"]

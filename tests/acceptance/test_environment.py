"""``fab env`` and what it sets: on a real host, through real units, at a real terminal, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deployer.config.environment.dotenv import parse, written
from deployer.sandbox import SandboxHost
from deployer.wire.environment import value_problem
from tests.support.failures import running
from tests.support.hunt import Hunt
from tests.support.screen import ANSI
from tests.support.site import Ended
from tests.support.terminal import Terminal
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

STORE = "/var/lib/deployer/vars/environment.json"
PEM = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQ+/abc=\n" * 300 + "-----END PRIVATE KEY-----"
HARD = {
    "EMPTY": "",
    "SPACES": "  a  b  ",
    "QUOTES": """it's "quoted" `so`""",
    "LINES": "one\ntwo\n\nfour\n",
    "DOLLARS": "$HOME ${PATH} $$ $(id)",
    "PERCENT": "%n %% %i %h 100%",
    "BACKSLASHES": "a\\b \\n \\\\ \\",
    "HASH": "#no comment # either",
    "TABS": "\ta\tb\t",
    "EQUALS": "=a=b=",
    "UNICODE": "h\u00e9llo \u4e16\u754c \U0001f511 \u2028 \u00a0",
    "JSON": '{"a": ["b", 1], "c": null}',
    "BIG": "x$'\\\"\n%" * 17_000,
    "PEM": PEM,
    "URL": "postgres://u:p%40ss@db/x?a=b&c=d",
    "GLOB": "* ? [a-z] ~ ~root !! {a,b}",
    "LAST": "\\",
}
"""What one reader or another of environment files, shells or units is known to stumble over; BIG has 119 KB."""
VALUES = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t'\"\\\\$%#`"), max_size=200
).filter(lambda text: not value_problem("A", text))


@pytest.fixture(scope="module")
def vars_host(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> SandboxHost:
    """An app of this file's own is set up there."""
    make_tiny(bookworm, tmp_path_factory.mktemp("vars") / "vars", app="vars").expect(0, "setup", user="root")
    return bookworm


@pytest.fixture
def bare(vars_host: SandboxHost, tmp_path: Path) -> Iterator[TinySite]:
    """Nothing is deployed, nothing is kept."""
    site = make_tiny(vars_host, tmp_path / "vars", app="vars")
    site.wipe()
    yield site


@pytest.fixture
def app(bare: TinySite) -> TinySite:
    """A release serves, and nothing is kept."""
    bare.expect(0, "deploy")
    return bare


def piped(site: TinySite, text: str, *arguments: str, user: str = "") -> Ended:
    """``fab`` with something on its standard input."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    done = subprocess.run(
        [*site.argv(*arguments[:at], user=user), *arguments[at:]],
        cwd=site.project.path,
        capture_output=True,
        text=True,
        timeout=180,
        input=text,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def value(site: TinySite, name: str) -> Any:
    """What the app that serves has."""
    return site.get(f"/env?key={name}")["value"]


def rows(site: TinySite) -> dict[str, dict[str, Any]]:
    found = json.loads(site.expect(0, "env", "--json").out)
    return {row["name"]: row for row in found["variables"]}


def store(site: TinySite) -> dict[str, str]:
    text = site.host.run(f"cat {STORE} 2>/dev/null || echo '{{\"variables\": {{}}}}'").stdout
    return {name: one["value"] for name, one in json.loads(text)["variables"].items()}


def test_from_the_first_variable_to_a_rollback(bare: TinySite) -> None:
    """Before the first deploy it is only kept; from then on each change is a release, and says what it changes; a
    rollback has its own values, and says which differ."""
    told = bare.expect(0, "env.set", "A=1", "B=of the host")
    assert "nothing is deployed yet" in told.err
    assert rows(bare)["A"]["state"] == "staged"
    bare.configure(env='B = "of the file"')
    plan = bare.expect(0, "plan")
    assert "B: the one set on the host wins over that of [env]" in plan.out
    bare.expect(0, "deploy")
    first = bare.serving
    assert (value(bare, "A"), value(bare, "B"), value(bare, "TEST_COLOUR")) == ("1", "of the host", "green")
    assert rows(bare)["B"]["from"] == ["host", "env"]
    told = bare.expect(0, "env.set", "A=2", "C=3")
    assert "sets C; changes A" in told.err
    second = bare.serving
    assert (second != first, value(bare, "A"), value(bare, "C")) == (True, "2", "3")
    told = bare.expect(0, "env.set", "A=2")
    assert ("no change" in told.err, bare.serving) == (True, second)
    told = bare.expect(0, "env.unset", "B")
    assert (bare.serving != second, value(bare, "B")) == (True, "of the file")
    told = bare.expect(0, "rollback", "--to", first)
    assert f"{first} has its own values, which differ from those set on this host: A, B, C" in told.err
    assert (value(bare, "A"), value(bare, "B"), value(bare, "C")) == ("1", "of the host", None)
    assert store(bare) == {"A": "2", "C": "3"}
    assert {name: row["state"] for name, row in rows(bare).items()} == {
        "A": "changed", "B": "removed", "C": "staged", "TEST_COLOUR": "",
    }  # fmt: skip
    bare.expect(0, "reload")
    assert (value(bare, "A"), value(bare, "B"), value(bare, "C")) == ("2", "of the file", "3")


def test_every_value_arrives_as_it_was_set(app: TinySite) -> None:
    """Through a file, the channel, the store, a systemd unit, and back: hard values, and any others."""

    @given(st.lists(VALUES, min_size=100, max_size=100))
    @settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def all_of(found: list[str]) -> None:
        values = {**HARD, **{f"V{number}": text for number, text in enumerate(found)}}
        app.project.write("values.env", written(values))
        app.expect(0, "env.push", "values.env", "--yes")
        wrong = [name for name, text in values.items() if value(app, name) != text]
        assert wrong == []
        pulled = app.expect(0, "env.pull").out
        assert {name: one.reveal() for name, one in parse(pulled, "pulled").items()} == values
        assert app.fab("env.diff", "values.env").exit == 0

    all_of()
    ended = piped(app, f"{PEM}\n", "env.set", "PEM2")
    assert ended.exit == 0, ended.text
    assert value(app, "PEM2") == PEM
    assert app.expect(0, "env.get", "PEM2").out == f"{PEM}\n"


def test_a_change_that_fails_is_nowhere(app: TinySite) -> None:
    """The new release dies of it: what serves and what is kept is what it was, and the value can be set right."""
    app.expect(0, "env.set", "A=1")
    serving = app.serving
    with app.under_load("/"):
        refused = app.expect(5, "env.set", "TEST_DIE_AFTER=0", "A=2")
        assert f"{serving} serves, uninterrupted" in refused.err
    assert (app.serving, value(app, "A"), store(app)) == (serving, "1", {"A": "1"})


def test_what_cannot_be_is_refused_before_anything_is_touched(app: TinySite) -> None:
    """With the name of what is wrong, what to type next, and no value."""
    before = app.serving
    for exit, told, arguments in (
        (2, "'A-B' is not a name", ["env.set", "A-B=hunter2"]),
        (2, "'PATH' is set by systemd or by deployer", ["env.set", "PATH=hunter2"]),
        (2, "A was named twice", ["env.set", "A=hunter2", "A=2"]),
        (2, "A was given no value", ["env.set", "A"]),
        (2, "no variable was named", ["env.set"]),
        (2, "the file that was named does not exist", ["env.set", "--file", "nowhere.env"]),
        (2, "TEST_COLOUR is not set on the hosts; what serves has it from [env]", ["env.unset", "TEST_COLOUR"]),
        (2, "NONE is not set", ["env.get", "NONE"]),
        (2, "no file was named", ["env.push"]),
        (2, "an editor needs a terminal", ["env.edit"]),
    ):
        ended = app.expect(exit, *arguments)
        assert told in ended.err, ended.err
        assert "nothing was touched" in ended.err
        assert "hunter2" not in ended.text
    lost = [*app.argv("env.set", "A=hunter2")[:-1], "deploy-vars@127.0.0.1:1"]
    done = subprocess.run(lost, cwd=app.project.path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, "hunter2" in done.stdout + done.stderr) == (3, False)
    assert (app.serving, store(app)) == (before, {})


def test_while_a_deploy_runs_nothing_is_changed(app: TinySite) -> None:
    """Neither by a release nor without one: exit code 4, and who is at work. What is there can be looked at."""
    app.host.run("rm -f /var/cache/deployer-vars/go")
    app.project.change(files={"new.txt": "slow"})
    app.configure(build=["until [ -e $HOME/go ]; do sleep 0.1; done"])
    with running(app, "deploy", "--json") as deploying:
        deploying.until("phase.started", phase="build")
        for words in (["env.set", "A=1"], ["env.set", "A=1", "--stage"]):
            assert "busy: a deploy by" in app.expect(4, *words).err
        assert "A" not in rows(app)
        app.host.run("mkdir -p /var/cache/deployer-vars; touch /var/cache/deployer-vars/go")
        assert deploying.end().exit == 0
    assert store(app) == {}


def test_a_command_prints_secrets_and_what_is_required_is_found_before_anything_is_sent(bare: TinySite) -> None:
    """One order: [env], env_file, env_command, the host. What the app lacks is named with its host; a vault that fails
    says why; neither touches the host."""
    bare.project.write(".gitignore", ".env.*\nvault.json\n")
    bare.project.write(".env.vault", "FILE=1\nBOTH=file\nKEY=\n")
    bare.configure(
        top='env_file = ".env.vault"\nenv_command = "cat vault.json"\n', env='required = ["KEY", "MORE"]\nBOTH = "env"'
    )
    (bare.project.path / "vault.json").unlink(missing_ok=True)
    failed = bare.expect(2, "deploy")
    assert "env_command: 'cat' failed (exit status 1)" in failed.err
    assert "vault.json: No such file" in failed.err
    bare.project.write("vault.json", json.dumps({"VAULT": "2", "BOTH": "vault"}))
    missing = bare.expect(2, "deploy")
    assert f"not set, or are empty: KEY, MORE on deploy-vars@{bare.host.name}" in missing.err
    assert "fab env.set" in missing.err
    shown = bare.fab("plan")
    assert (shown.exit, "required, and not set: KEY, MORE" in shown.out) == (2, True)
    bare.expect(0, "env.set", "KEY=k", "MORE=m", "BOTH=host")
    bare.expect(0, "deploy")
    got = {name: value(bare, name) for name in ("FILE", "VAULT", "BOTH", "KEY")}
    assert got == {"FILE": "1", "VAULT": "2", "BOTH": "host", "KEY": "k"}
    assert rows(bare)["BOTH"]["from"] == ["host", "env_command", "env_file", "env"]
    refused = bare.expect(2, "env.unset", "MORE")
    assert "MORE on" in refused.err
    assert store(bare)["MORE"] == "m"


def test_a_person_is_asked_for_a_value_that_is_not_shown(app: TinySite) -> None:
    """At a terminal, without echo; what is set is what was typed."""
    terminal = Terminal(app.argv("env.set", "KEY"), app.project.path)
    terminal.wait_for(b"value of KEY: ")
    terminal.type("typed $ecret 'x'\n")
    assert terminal.end() == 0
    assert "typed" not in terminal.text
    assert value(app, "KEY") == "typed $ecret 'x'"
    refused = Terminal(app.argv("env.pull"), app.project.path)
    assert refused.end() == 2
    assert "typed" not in refused.text
    assert "--yes" in refused.text
    app.project.write("other.env", "KEY=other\n")
    push = Terminal(app.argv("env.push", "other.env"), app.project.path)
    push.wait_for(b"make it so? [y/N]")
    push.type("n\n")
    assert push.end() == 130
    assert "not confirmed" in push.text and "nothing was touched" in push.text
    assert store(app) == {"KEY": "typed $ecret 'x'"}


EDITOR = """\
#!/bin/sh
ls -ld "$(dirname "$1")" "$1" | cut -c1-10 > {place}/modes
echo "$1" > {place}/path
cp "$1" "$1~"
{does}
"""


def edited(site: TinySite, does: str) -> Terminal:
    place = site.project.path.parent
    script = place / "editor"
    script.write_text(EDITOR.format(place=place, does=does))
    script.chmod(0o755)
    return Terminal(site.argv("env.edit"), site.project.path, VISUAL=str(script), TMPDIR=str(place))


def words(terminal: Terminal) -> str:
    """What it has drawn, however its lines are broken."""
    return " ".join(ANSI.sub(" ", terminal.text).split())


def test_an_editor_gets_a_private_file_that_is_gone_afterwards(app: TinySite) -> None:
    """With all that the editor left beside it. Two who edit at a time: who is late loses no text."""
    app.expect(0, "env.set", "A=1", "B=2")
    place = app.project.path.parent
    session = edited(app, """sed -i "s/^A=.*/A='its new'/; /^B=/d" "$1"; echo C=3 >> "$1" """)
    assert session.end() == 0, session.text
    assert "sets C; changes A; removes B" in words(session)
    assert store(app) == {"A": "its new", "C": "3"}
    assert (place / "modes").read_text().split() == ["drwx------", "-rw-------"]
    assert not Path((place / "path").read_text().strip()).parent.exists()
    unchanged = edited(app, "true")
    assert (unchanged.end(), "nothing was changed" in words(unchanged)) == (0, True)
    broken = edited(app, "exit 3")
    assert (broken.end(), "ended with exit status 3: nothing is taken over" in words(broken)) == (2, True)
    unreadable = edited(app, """echo "A='open" > "$1" """)
    unreadable.wait_for(b"edit it again? [Y/n]")
    assert "line 1: not a line such as NAME=value, or a quote is left open" in words(unreadable)
    unreadable.type("n\n")
    assert unreadable.end() == 130
    assert not Path((place / "path").read_text().strip()).parent.exists()
    other = " ".join(map(str, app.argv("env.set", "A=theirs", "--stage")))
    late = edited(app, f"""sed -i "s/^A=.*/A=mine/" "$1"; {other} </dev/null >/dev/null 2>&1""")
    assert late.end() == 2
    assert "somebody else has changed A on" in words(late)
    kept = Path((place / "path").read_text().strip())
    assert "your text is kept in" in words(late)
    assert "A=mine" in kept.read_text()
    assert [oct(path.stat().st_mode & 0o777) for path in (kept.parent, kept)] == ["0o700", "0o600"]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert store(app)["A"] == "theirs"


def test_a_planted_secret_is_found_nowhere(app: TinySite) -> None:
    """After every command, its failures included: not in arguments, in other users' environments, in the journal, logs,
    events, history, core dumps, temporary files, unit files, nor in any file that others can read."""
    unique = token_hex(4)  # the arguments and environments of all processes of this machine are looked at
    secrets = [f"Pl4nted-{one}-{unique}-$ecret" for one in ("store", "file", "vault")]

    def ids() -> frozenset[int]:
        return frozenset(map(int, app.host.run("id -u vars; id -u deploy-vars").stdout.split()))

    hunt = Hunt(app.host, secrets, ids())
    app.project.write(".gitignore", ".env.*\n")
    app.project.write(".env.hunt", f"FROM_FILE='{secrets[1]}'\n")
    app.project.write("vault", f"FROM_VAULT='{secrets[2]}'\n")
    vault = app.project.path.parent / "vault"
    (app.project.path / "vault").rename(vault)
    app.configure(top=f'env_file = ".env.hunt"\nenv_command = "cat {vault}"\n', build=["test -n \"$FROM_FILE\""],
                  release='migrate = "env"')  # fmt: skip
    name = "PLANTED"

    def run(*arguments: str, exit: int = 0, text: str = "", prints: bool = False, user: str = "") -> None:
        ended = piped(app, text, *arguments, user=user)
        assert ended.exit == exit, ended.text
        if not prints:
            hunt.hear(" ".join(arguments), ended.text)
        hunt.search(" ".join(arguments))

    def typed(terminal: Terminal, *lines: tuple[bytes, str], prints: bool = False) -> None:
        for prompt, line in lines:
            terminal.wait_for(prompt)
            terminal.type(line)
        assert terminal.end() == 0, terminal.text
        if not prints:
            hunt.hear("the terminal", terminal.text)
        hunt.search("a terminal")

    with hunt.watching():
        run("setup", user="root")
        run("env.set", name, text=secrets[0])
        run("deploy", "--verbose")
        run("env", "--json")
        run("env.get", name, prints=True)
        run("env.set", "--file", "-", "--json", text=f"OTHER='{secrets[0]}'\n")
        run("env.set", "TEST_DIE_AFTER=0", exit=5)
        run("env.pull", ".env.pulled")
        run("env.diff", ".env.pulled")
        run("env.unset", "OTHER", "--stage")
        run("env.push", ".env.pulled", "--yes")
        run("reload", "--json")
        run("rollback")
        run("restart")
        run("prune")
        run("lock", "--message", "for a while")
        run("env.set", "A=1", exit=4)
        run("unlock")
        run("plan")
        run("run", "--", "env")
        run("status", "--json")
        run("logs", "-n", "1000")
        run("releases", "--all")
        run("attach", "--json")
        run("doctor")
        run("maintenance", "on", "--stop-workers")
        run("reload", "--hold")
        run("promote")
        run("maintenance", "off")
        run("stop")
        run("start")
        run("timer", "list")
        run("run", "--", "cat", text="".join(f"{one}\n" for one in secrets))
        typed(Terminal(app.argv("env.set", "TYPED"), app.project.path), (b"value of TYPED: ", f"{secrets[0]}\n"))
        typed(edited(app, 'echo "EDITED=$PLANTED" >> "$1"'))
        shell = Terminal(app.argv("shell"), app.project.path)
        typed(
            shell,
            (b"code $ ", f"true '{secrets[0]}'; echo $FROM_VAULT.\r"),
            (b"****.", "exit 0\r"),
            prints=True,
        )
        run("destroy", "--data", "--yes", "vars", user="root")
        assert hunt.everywhere() == []
        run("setup", user="root")
        hunt.may_have |= ids()
        run("deploy")
    assert hunt.found == set()
    assert value(app, "FROM_VAULT") == secrets[2]
    assert oct((app.project.path / ".env.pulled").stat().st_mode & 0o777) == "0o600"


def test_the_hunt_finds_what_is_there_to_be_found(app: TinySite) -> None:
    """Else the test above could not fail: a secret is planted in each kind of place."""
    hunt = Hunt(app.host, ["Pl4nted-everywhere"], frozenset())
    places = [
        "/var/log/x.log",
        "/etc/systemd/system/x.service",
        "/home/deploy-vars/.bash_history",
        "/srv/x.txt",
        "/tmp/x",
    ]
    try:
        app.host.run("".join(f"echo Pl4nted-everywhere > {place};" for place in places) + "logger Pl4nted-everywhere")
        hunt.search("planting")
        assert {place for place in places if any(place in line for line in hunt.found)} == set(places)
        assert any(".journal" in line for line in hunt.found)
    finally:
        app.host.run(f"rm -f {' '.join(places)}")
    with hunt.watching():
        subprocess.run(["sleep", "0.5"], env={**os.environ, "X": "Pl4nted-everywhere"}, check=True)
        subprocess.run(["sh", "-c", "sleep 0.5; : Pl4nted-everywhere"], check=True)
    assert {line.split()[0] for line in hunt.found} >= {"after", "arguments", "environment"}


def test_what_is_kept_is_out_of_reach_of_everybody_but_root(app: TinySite) -> None:
    """The deploy user reaches it through the program alone; another app's deploy user, and the app itself, never."""
    app.expect(0, "env.set", "KEY=hunter2")
    release = f"/srv/vars/releases/{app.serving}"
    files = f"{STORE} {release}/env {release}/env.json {release}/sources.json"
    listed = app.host.run(f"stat -c '%U %a' {files} /var/lib/deployer/vars").stdout.split("\n")
    assert set(listed[:4]) == {"root 600"}
    assert "Permission denied" in app.sh(f"cat {STORE}")
    told = piped(app, "", "run", "--", "cat", STORE)
    assert (told.exit, "hunter2" in told.text) == (1, False)

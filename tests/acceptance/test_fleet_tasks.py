"""The tasks that make no release, on two hosts at once: each answers for itself, and one that can't stops no other."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployer.sandbox import SandboxHost, up
from deployer.wire.protocol import PHASES
from tests.support.failures import Running
from tests.support.site import FAB, Ended, wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

CONFIG = """\
app = "duo"
deploy_user = "deploy-duo"
[web]
command = "/usr/bin/python3 server.py"
health = {{ path = "/healthz", settle = 0, timeout = 10 }}
[release]
watch = 0
drain = 1
build = {build}
"""
NOBODY = "deploy-duo@127.0.0.1:1"
"""Nothing listens there."""


@dataclass
class Duo:
    """A tiny app on two hosts."""

    first: TinySite
    second: TinySite

    @property
    def path(self) -> Path:
        return self.first.project.path

    def names(self, user: str = "deploy-duo") -> list[str]:
        return [f"{user}@{site.host.name}" for site in (self.first, self.second)]

    def configure(self, build: Sequence[str] = ()) -> None:
        self.first.project.write("deploy.toml", CONFIG.format(build=json.dumps(list(build))))
        self.first.project.write("new.txt", str(time.time()))  # what is built already is not built again
        self.first.project.commit("configure")

    def argv(self, task: str, *options: str, user: str = "deploy-duo", also: Sequence[str] = ()) -> list[str]:
        host = self.first.host
        hosts = ",".join([*self.names(user), *also])
        return [FAB, "-S", str(host.ssh_config), "-i", str(host.identity), "-H", hosts, task, *options]

    def fab(self, task: str, *options: str, user: str = "deploy-duo", also: Sequence[str] = ()) -> Ended:
        argv = self.argv(task, *options, user=user, also=also)
        done = subprocess.run(
            argv, cwd=self.path, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
        return Ended(done.returncode, done.stdout, done.stderr, events)


@pytest.fixture(scope="module")
def duo(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duo]:
    """Two hosts that were set up by one command, each with a release of its own."""
    with up(distribution="bookworm") as other:
        path = tmp_path_factory.mktemp("duo") / "duo"
        first = make_tiny(bookworm, path, app="duo")
        made = Duo(first, TinySite(other, first.project, app="duo"))
        made.configure()
        ended = made.fab("setup", user="root")
        assert ended.exit == 0, ended.text
        for site in (made.first, made.second):
            site.expect(0, "deploy")
        made.second.expect(0, "reload")  # they differ
        yield made


def answers(ended: Ended) -> list[dict[str, Any]]:
    """What the one object on standard output that is no event says of each host."""
    (answer,) = (json.loads(line) for line in ended.out.splitlines() if not line.startswith('{"event"'))
    return list(answer["hosts"])


def short(names: Sequence[str]) -> list[str]:
    """As they are shown: without the user that is the same for all."""
    return [name.rpartition("@")[2] for name in names]


def test_setup_prepares_all_hosts(duo: Duo) -> None:
    """Again it changes nothing, on either host; the output names both."""
    ended = duo.fab("setup", user="root")
    assert ended.exit == 0
    for name in short(duo.names("root")):
        assert name in ended.err
    assert "unchanged" in ended.err


def test_a_status_of_both(duo: Duo) -> None:
    """Each host's own answer, in their order; that they differ is no failure."""
    ended = duo.fab("status", "--json")
    assert ended.exit == 0
    assert [(one["host"], one["current"]) for one in answers(ended)] == list(
        zip(duo.names(), ["v1", "v2"], strict=True)
    )
    shown = duo.fab("status")
    assert shown.exit == 0
    first, second = short(duo.names())
    assert f"{first} serves v1, {second} v2" in shown.out or f"{second} serves v2" in shown.out, shown.out


def test_a_host_that_is_not_there_is_named_and_the_others_answer(duo: Duo) -> None:
    """Exit 3; every host's end is told."""
    ended = duo.fab("status", "--json", also=[NOBODY])
    assert ended.exit == 3
    told = answers(ended)
    assert [one["host"] for one in told] == [*duo.names(), NOBODY]
    assert [one.get("current") for one in told[:2]] == ["v1", "v2"]
    assert (told[2]["result"], told[2]["exit"]) == ("unreachable", 3)
    assert "nothing listens" in told[2]["detail"]
    shown = duo.fab("releases", also=[NOBODY])
    assert shown.exit == 3
    assert {"v1", "v2"} <= set(shown.out.split())
    assert "nothing listens" in shown.out + shown.err


def test_logs_of_both_name_their_hosts(duo: Duo) -> None:
    """Each line says whose it is."""
    for site in (duo.first, duo.second):
        site.host.run(
            f"logger --journald <<'EOF'\nMESSAGE=from {site.host.name}\nOBJECT_SYSTEMD_UNIT=duo-web@v1.service\nEOF"
        )
    ended = duo.fab("logs", "-n", "5")
    assert ended.exit == 0
    assert {line.split(":")[0] for line in ended.out.splitlines()} == set(short(duo.names()))


def test_logs_of_both_are_followed_until_ctrl_c(duo: Duo) -> None:
    """Lines come from both hosts as they are written; Ctrl-C ends it at once, with 130 and without a word."""
    argv = duo.argv("logs", "-f", "-n", "1")
    with subprocess.Popen(
        argv, cwd=duo.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            seen: set[str] = set()
            lines = iter(process.stdout.readline, "")
            wait_until(lambda: seen.add(next(lines).split(":")[0]) or len(seen) == 2, "both have spoken")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert seen == set(short(duo.names()))


def test_a_command_on_both(duo: Duo) -> None:
    """Lines name their host; the exit code is the highest, and who is not well is told."""
    ended = duo.fab("run", "--", "sh", "-c", "echo $DEPLOYER_RELEASE; test $DEPLOYER_RELEASE = v1 || exit 9")
    assert ended.exit == 9
    first, second = short(duo.names())
    lines = {line.replace(" ", "") for line in ended.out.splitlines()}  # names are as wide as the longest
    assert lines == {f"{first}:v1", f"{second}:v2"}
    assert second in ended.err and "exit status 9" in ended.err


def test_input_goes_to_each_host(duo: Duo) -> None:
    """All of it, once to each, also where another host of the command cannot be reached; each line names its host."""
    data = "".join(f"line {number}\n" for number in range(100_000))
    argv = duo.argv("run", "--", "sh", "-c", "cksum; echo beside >&2", also=[NOBODY])
    done = subprocess.run(argv, cwd=duo.path, capture_output=True, text=True, timeout=180, input=data)
    sizes = sorted(line.split()[-1] for line in done.stdout.splitlines())
    assert sizes == [str(len(data))] * 2, done.stdout
    assert sum("beside" in line for line in done.stderr.splitlines()) == 2
    assert all(any(name in line for name in short(duo.names())) for line in done.stdout.splitlines())
    assert done.returncode == 3


def commands_of(site: TinySite) -> str:
    return site.host.run("systemctl list-units --all --plain --no-legend 'deployer-duo-run*'").stdout


def test_ctrl_c_ends_a_command_on_both(duo: Duo) -> None:
    """On each host nothing of it stays."""
    words = ["--json", "--", "sh", "-c", "echo begun; sleep 600"]
    with subprocess.Popen(
        duo.argv("run", *words),
        cwd=duo.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            commands = Running(process)
            hosts = {commands.until("output", line="begun")["host"] for _ in range(2)}
            assert hosts == set(duo.names())
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    wait_until(lambda: not any(commands_of(site) for site in (duo.first, duo.second)), "the commands have ended")


def test_doctor_finds_what_is_wrong_on_one(duo: Duo) -> None:
    """Exit 7, and which host; --fix puts it right there, and finds all well on the other."""
    assert duo.fab("doctor").exit == 0
    duo.second.host.run("systemctl stop duo-web@v2.service duo-web@v2.socket")
    ended = duo.fab("doctor", "--json")
    assert ended.exit == 7
    found = {one["host"]: bool(one["findings"]) for one in answers(ended)}
    assert found == dict(zip(duo.names(), [False, True], strict=True))
    fixed = duo.fab("doctor", "--fix")
    assert fixed.exit == 0, fixed.text
    assert duo.fab("doctor").exit == 0


def test_an_attach_follows_both(duo: Duo) -> None:
    """The last job of each host, to its end."""
    ended = duo.fab("attach", "--json")
    assert ended.exit == 0
    assert {event["host"] for event in ended.events if event["event"] == "finished"} == set(duo.names())


def test_an_abort_ends_what_runs_on_any(duo: Duo) -> None:
    """Nothing runs on either: 2. A deploy on one: it ends, the other host is passed by, and that is a success."""
    assert duo.fab("abort").exit == 2
    duo.configure(build=["until [ -e $HOME/go ]; do sleep 0.1; done"])
    argv = duo.first.argv("deploy", "--json")
    with subprocess.Popen(
        argv, cwd=duo.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deploying = Running(process)
            deploying.until("phase.started", phase="build")
            aborting = duo.fab("abort", "--json")
            assert deploying.end().exit == 5
        finally:
            process.kill()
    assert aborting.exit == 0, aborting.text
    ends = {event["host"]: event["summary"] for event in aborting.events if event["event"] == "finished"}
    assert ends == dict(zip(duo.names(), ["aborted: v1 serves", "nothing to abort"], strict=True))
    duo.configure()


def test_the_phases_of_a_release_on_both(duo: Duo) -> None:
    """Run one by one they make one release, of one number, on both hosts."""
    before = {one["current"] for one in answers(duo.fab("status", "--json"))}
    for phase in PHASES:
        ended = duo.fab(f"phase.{phase}", "--json")
        assert ended.exit == 0, ended.text
    after = {one["current"] for one in answers(duo.fab("status", "--json"))}
    assert len(after) == 1 and not after & before


def variables(site: TinySite) -> dict[str, str]:
    """What a host keeps of the environment."""
    found: dict[str, str] = json.loads(site.expect(0, "env.pull", "--json").out)["variables"]
    return found


def test_a_variable_is_set_on_both_or_on_neither(duo: Duo) -> None:
    """On one of them the new release dies: neither serves it, and neither keeps the change."""
    assert duo.fab("env.set", "A=1").exit == 0
    before = answers(duo.fab("status", "--json"))
    duo.second.expect(0, "env.set", "TEST_DIE_AFTER=0", "--stage")
    ended = duo.fab("env.set", "A=2", "B=2", "--json")
    assert ended.exit == 5, ended.text
    assert [one["current"] for one in answers(duo.fab("status", "--json"))] == [one["current"] for one in before]
    assert [variables(site) for site in (duo.first, duo.second)] == [{"A": "1"}, {"A": "1", "TEST_DIE_AFTER": "0"}]
    gone = duo.fab("env.set", "A=3", also=[NOBODY])
    assert gone.exit == 3
    assert variables(duo.first) == {"A": "1"}


def test_hosts_that_keep_different_variables_are_told_apart_and_made_the_same(duo: Duo) -> None:
    """No value is pulled that only one of them has; each is shown; a push makes both keep one file."""
    duo.second.expect(0, "env.set", "TEST_DIE_AFTER=", "ONLY=here", "--stage")
    pulled = duo.fab("env.pull")
    assert (pulled.exit, pulled.out) == (7, "")
    assert "the hosts do not keep the same: ONLY, TEST_DIE_AFTER" in pulled.err
    assert duo.fab("env.get", "ONLY").exit == 7
    shown = {one["host"]: {row["name"] for row in one["variables"]} for one in answers(duo.fab("env", "--json"))}
    assert [("ONLY" in names) for names in shown.values()] == [False, True]
    duo.first.project.write("both.env", "A=1\nONLY=everywhere\n")
    different = duo.fab("env.diff", "both.env")
    assert different.exit == 1
    first, second = (name.rpartition("@")[2] for name in duo.names())
    told = [line.rpartition("@")[2] for line in different.out.splitlines()]
    assert told == [f"{first}: + ONLY", f"{second}: ~ ONLY", f"{second}: - TEST_DIE_AFTER"]
    ended = duo.fab("env.push", "both.env", "--yes")
    assert ended.exit == 0, ended.text
    assert [variables(site) for site in (duo.first, duo.second)] == [{"A": "1", "ONLY": "everywhere"}] * 2
    assert duo.fab("env.get", "ONLY").out == "everywhere\n"
    assert duo.fab("env.diff", "both.env").exit == 0
